"""What stands before something goes wrong and must stand after it; and records for the ledger."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from governed_home import Home, refused

from governance.errors import GovernanceError
from governance.pipeline.consent import audience
from governance.pipeline.ledger import import_consent
from governance.pipeline.run import PassResult

CANARY = "Zqxv7Gh2KmWn9Rt4"
CUSTOMERS = "customer_profiles"


def leftovers(home: Home) -> list[str]:
    """Files below the dataset roots that look like half of something."""
    names = [p.name for p in (home.path / "datasets").rglob("*")]
    return [n for n in names if ".tmp" in n or ".trash" in n or "partial" in n]


def unreferenced(home: Home, dataset: str) -> set[str]:
    """Segments that no manifest of the dataset names."""
    root = home.root(dataset)
    present = {p.name for p in (root / "segments").glob("*")} if root.exists() else set()
    named: set[str] = set()
    for manifest in root.glob("versions/*/*.manifest.json"):
        payload = base64.b64decode(json.loads(manifest.read_bytes())["payload"])
        named |= {s["segment_id"] for s in json.loads(payload)["segments"]}
    return present - named


class Before:
    """What was released before something went wrong, and that it is still so afterwards."""

    def __init__(self, home: Home, dataset: str) -> None:
        self.home, self.dataset = home, dataset
        self.pointer = home.pointer(dataset)
        self.rows = home.rows(dataset)

    def is_untouched(self) -> None:
        assert self.home.pointer(self.dataset) == self.pointer
        assert self.home.rows(self.dataset).equals(self.rows)
        assert not leftovers(self.home)
        assert not unreferenced(self.home, self.dataset)

    def and_a_good_run_succeeds(self) -> PassResult:
        result = self.home.run(self.dataset)
        assert self.home.manifest(self.dataset).version == result.reference.version
        assert self.home.rows(self.dataset).num_rows == self.rows.num_rows
        return result


def logged_text(home: Home) -> str:
    return "\n".join((e.body or b"").decode("utf-8", "replace") for e in home.workspace().log.entries())


def refuse_run(home: Home, dataset: str, *codes: str, **changed: object) -> GovernanceError:
    """A run that fails with one of ``codes``; the previous version stays, and a good run follows."""
    before = Before(home, dataset)
    with refused(*codes, free_of=(CANARY,)) as caught:
        home.run(dataset, **changed)
    before.is_untouched()
    assert CANARY not in logged_text(home)
    before.and_a_good_run_succeeds()
    return caught[0]


def ledger_rows(subject: str, *records: tuple[str, str, datetime, datetime | None]) -> pa.Table:
    stamp = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "record_id": [f"{subject}-{i}-{action}" for i, (_, action, _, _) in enumerate(records)],
            "domain": ["customer"] * len(records),
            "subject_id": [subject] * len(records),
            "purpose": [purpose for purpose, _, _, _ in records],
            "action": [action for _, action, _, _ in records],
            "valid_from": pa.array([start for _, _, start, _ in records], stamp),
            "valid_to": pa.array([end for _, _, _, end in records], stamp),
            "collected_at": pa.array([start for _, _, start, _ in records], stamp),
        }
    )


def withdraw(home: Home, subject: str, tmp_path: Path, purpose: str = "model_training") -> None:
    file = tmp_path / f"withdrawal-{subject}.parquet"
    pq.write_table(ledger_rows(subject, (purpose, "withdraw", datetime.now(UTC), None)), file)
    import_consent(home.workspace(), file)


def german_subjects(home: Home) -> dict[str, int]:
    """Customers under the GDPR whose rows are in the release, with how many rows they have there."""
    table = pa_csv.read_csv(
        home.source(CUSTOMERS), convert_options=pa_csv.ConvertOptions(strings_can_be_null=True)
    )
    places = dict(zip(table["customer_id"].to_pylist(), table["jurisdiction"].to_pylist(), strict=True))
    vault = home.workspace().vault
    ids = [i for i, place in places.items() if i and place in ("DE", "FR", "ES", "GB")]
    ordinals = vault.resolve("customer", pa.array(ids), create=False)
    names = vault.pseudonyms("customer", audience("customer"), ordinals)
    counts: dict[str, int] = {}
    for value in home.rows(CUSTOMERS)["customer_pseudonym"].to_pylist():
        counts[value] = counts.get(value, 0) + 1
    return {
        i: counts[n.tobytes().hex()] for i, n in zip(ids, names, strict=True) if n.tobytes().hex() in counts
    }
