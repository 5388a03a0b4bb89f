"""What a sceptic asks about where data went: tests 9, 10 and 11 of twelve.

9. A column hides behind SELECT *. 10. A breach. 11. A patient asks to whom records were disclosed.
"""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

from before_and_after import CUSTOMERS
from governed_home import Home
from sceptic_reports import record, remarks

from governance.log import OPENLINEAGE_EVENT, NewEntry

SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json"


def moved(
    job: str, reads: list[Any], writes: list[Any], columns: dict[str, list[Any]] | None = None
) -> NewEntry:
    """A job outside that read and wrote; ``columns`` are output columns with (dataset, column) they come from."""
    outputs: list[dict[str, Any]] = [{"namespace": ns, "name": name} for ns, name in writes]
    if columns is not None:
        fields = {
            out: {
                "inputFields": [
                    {"namespace": ns, "name": name, "field": column} for (ns, name), column in sources
                ]
            }
            for out, sources in columns.items()
        }
        schema = f"{SPEC}#/$defs/Facet"
        outputs[0]["facets"] = {
            "columnLineage": {"_producer": "https://example.com", "_schemaURL": schema, "fields": fields}
        }
    said = {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-24T10:00:00Z",
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, job))},
        "job": {"namespace": "airflow", "name": job},
        "inputs": [{"namespace": ns, "name": name} for ns, name in reads],
        "outputs": outputs,
        "producer": "https://example.com",
        "schemaURL": SPEC,
    }
    return NewEntry(json.dumps(said).encode(), OPENLINEAGE_EVENT, "ingest:airflow")


def test_9_a_classification_follows_renames_and_concatenation_and_what_is_unresolved_is_sensitive(
    released: Home,
) -> None:
    gov, mart, wide = ("gov", CUSTOMERS), ("mart", "people"), ("mart", "wide")
    who, where = (gov, "customer_pseudonym"), (gov, "country")
    released.workspace().log.append(
        [
            moved("rename", [gov], [mart], {"who": [who], "label": [who, where]}),
            moved("copy", [mart], [("mart", "late")], {"x": [(mart, "label")]}),
            moved("select_star", [mart], [wide]),
        ]
    )

    def explained(dataset: str) -> dict[str, Any]:
        code, out, err = released.cli("classification", "explain", dataset, "--json")
        assert code == 0, err
        return dict(json.loads(out))

    def held(dataset: str) -> dict[str, set[str]]:
        return {
            column["column"]: {c["classification"] for c in column["classifications"]}
            for column in explained(dataset)["columns"]
        }

    assert held("mart=people") == {"who": {"customer_id"}, "label": {"customer_id", "country"}}
    assert held("mart=late") == {"x": {"customer_id", "country"}}
    assert explained("mart=people")["unresolved"] is None
    hidden = explained("mart=wide")
    assert hidden["without_column_lineage"] == [{"namespace": "mart", "dataset": "people"}]
    assert hidden["unresolved"] == {"sensitivity": "restricted"}, "the policy's highest"
    assert "treated as restricted" in released.cli("classification", "explain", "mart=wide")[1]
    # A breach counts both as reached, whether or not anybody knows which columns they took.
    reached = {row["id"] for row in record(released, "breach", dataset=CUSTOMERS)["rows"]}
    assert {"dataset/mart/people", "dataset/mart/wide", "dataset/mart/late"} <= reached


def test_10_a_breach_reaches_what_a_recount_in_plain_python_does_and_counts_people_not_rows(
    released: Home,
) -> None:
    chance = random.Random(10)
    start = ("gov", CUSTOMERS)
    tables = [("mart", f"t{number}") for number in range(60)]
    jobs: dict[str, tuple[set[Any], set[Any]]] = {}
    entries = []
    for number in range(80):
        job = f"job_{chance.randrange(40)}"
        reads = chance.sample([start, *tables], 2)
        writes = chance.sample(tables, chance.randrange(2))
        entries.append(moved(job, reads, writes))
        own = jobs.setdefault(job, (set(), set()))
        own[0].update(reads)
        own[1].update(writes)
        del number
    released.workspace().log.append(entries)
    reached, grew = {start}, True
    while grew:
        more = {w for reads, writes in jobs.values() if reads & reached for w in writes} - reached
        reached |= more
        grew = bool(more)
    ends = {job for job, (reads, writes) in jobs.items() if reads & reached and not writes}

    said = record(released, "breach", dataset=CUSTOMERS)
    rows = {row["id"]: row["cells"] for row in said["rows"]}
    found = {tuple(name.split("/")[1:]) for name in rows if name.startswith("dataset/")}
    assert found == reached - {start} and len(found) > 10
    assert {name.rpartition("/")[2] for name in rows if name.startswith("job/")} >= ends
    examined = said["population"]["examined"]
    assert (examined["datasets_reached"], examined["jobs_at_the_end"]) == (len(reached), len(ends))
    assert remarks(said, "reached-outside")[0]["basis"] == "unknown"

    version = released.manifest(CUSTOMERS)
    [own] = [cells for name, cells in rows.items() if version.version in name]
    assert "sealed" in json.dumps(own["exposure"]), "its keys are safe"
    at_risk = rows["incident"]
    assert at_risk["records"]["value"] in (0, None) or at_risk["records"]["basis"] == "unknown"
    # Somebody has a key of it: now its people count, each once.
    key = sorted(version.segments[0].key_ids.values())[0]
    lost = {row["id"]: row["cells"] for row in record(released, "breach", key=key)["rows"]}
    [own] = [cells for name, cells in lost.items() if version.version in name]
    people = set(released.rows(CUSTOMERS)["customer_pseudonym"].to_pylist())
    assert own["records"]["value"] == version.body["rows"]
    assert own["subjects"]["value"]["at_least"] <= len(people) <= own["subjects"]["value"]["at_most"]
    assert own["subjects"]["value"]["at_most"] != own["records"]["value"]
    assert "exposed" in json.dumps(own["exposure"])
