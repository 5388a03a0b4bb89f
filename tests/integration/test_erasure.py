"""Erasure through the governed pass: at once, within the policy's days, and what is found afterwards."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest
from before_and_after import CUSTOMERS, german_subjects, leftovers
from governed_home import Home, edited, refused

from governance.access import disclose
from governance.lineage.facets import nonconformities
from governance.log import OPENLINEAGE_EVENT, NewEntry
from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.pointer import released_manifest
from governance.pipeline.workspace import Workspace
from governance.protect import open_version
from governance.rights import ErasurePlan, erasure_facts, erasure_status, finish, request_erasure
from governance.rights.holdings import sealed_batches

TO = {
    "recipient": "northlake-research",
    "purpose": "model_training",
    "description": "Profiles, to train with",
}


def erase(home: Home, request: str, *subjects: str, workspace: Workspace | None = None) -> ErasurePlan | None:
    opened = workspace or home.workspace()
    return request_erasure(
        opened,
        local_recorder(opened, "erasure", request),
        request=request,
        domain="customer",
        identifiers=pa.array(subjects, pa.string()),
        ground="objection",
        approve=lambda _: True,
    )


def command(home: Home, *arguments: str, given: str = "") -> tuple[int, str, str]:
    with mock.patch.object(sys, "stdin", io.StringIO(given)):
        return home.cli("erase", *arguments)


def facts(home: Home, request: str) -> dict[str, Any]:
    found = erasure_facts(home.workspace().log, request)
    assert found is not None
    return found


def pseudonyms(home: Home, *subjects: str) -> set[str]:
    vault = home.workspace().vault
    ordinals = vault.resolve("customer", pa.array(subjects), create=False)
    return {row.tobytes().hex() for row in vault.pseudonyms("customer", "released:customer", ordinals)}


def sealed_names(home: Home, dataset: str = CUSTOMERS) -> set[str]:
    """The pseudonyms that stand in the released files, whatever a governed reader is shown."""
    workspace = home.workspace()
    manifest = released_manifest(workspace, dataset)
    storage = workspace.dataset_storage(dataset)
    batches = open_version(storage, manifest, workspace.keyring.segment_key, ["customer_pseudonym"])
    return set(pa.Table.from_batches(batches)["customer_pseudonym"].to_pylist())


def test_from_the_plan_to_the_certificate(released: Home, tmp_path: Path) -> None:
    subject, rows = next(iter(german_subjects(released).items()))
    [name] = pseudonyms(released, subject)
    before, first = released.rows(CUSTOMERS).num_rows, released.manifest(CUSTOMERS)
    workspace = released.workspace()
    disclose(
        workspace,
        local_recorder(workspace, CUSTOMERS, "d"),
        dataset=CUSTOMERS,
        directory=tmp_path / "out",
        **TO,
    )
    named = {"eventTime": "2026-11-24T10:00:00Z", "job": {"namespace": "x", "name": subject}}
    [leak] = workspace.log.append([NewEntry(json.dumps(named).encode(), OPENLINEAGE_EVENT, "ingest:crm")])
    size = workspace.log.size()

    asked = ("-", "--domain", "customer")
    code, out, err = command(released, *asked, "--plan", "--json", given=f"{subject}\n")
    plan = json.loads(out)
    assert code == 0, err
    assert plan["subjects"] == 1
    touched = {each["dataset"]: each for each in plan["datasets"]}
    assert (touched[CUSTOMERS]["version"], touched[CUSTOMERS]["rows"]) == (first.version, rows)
    assert [told["recipient"] for told in plan["recipients"]] == ["northlake-research"]
    assert released.workspace().log.size() == size, "a plan changes nothing"

    filed = ("--request", "DSR-1", "--reason", "consent-withdrawn")
    for refusal in ((), ("--approved", "sha256:" + "0" * 64)):
        code, _, err = command(released, *asked, *filed, *refusal, given=subject)
        assert (code, "GOV-605" in err) == (1, True)
    shown = command(
        released,
        *asked,
        *filed,
        "--approved",
        plan["plan_digest"],
        "--notices",
        str(tmp_path / "notices"),
        given=subject,
    )
    assert shown[0] == 0, shown[2]
    notice = json.loads((tmp_path / "notices" / "northlake-research.json").read_bytes())
    assert (len(notice["erase"]), notice["disclosures"]) == (1, plan["recipients"])

    assert released.rows(CUSTOMERS).num_rows == before - rows
    assert released.workspace().log.entry(leak).body is None, "an event that named the subject was redacted"
    again = released.workspace()
    left = disclose(
        again, local_recorder(again, CUSTOMERS, "d2"), dataset=CUSTOMERS, directory=tmp_path / "2", **TO
    )
    assert left.facts["rows"] == before - rows
    import_consent(released.workspace(), released.path / "input" / "consent_ledger.parquet")
    vault = released.workspace().vault
    assert vault.resolve("customer", pa.array([subject]), create=True)[0] == -1
    assert facts(released, "DSR-1")["state"] == "suppressed"
    assert name in sealed_names(released)

    code, out, err = command(released, "--finish", "--json")
    assert code == 0, err
    second = released.manifest(CUSTOMERS)
    assert second.body["previous_version"] == first.version
    assert second.body["rows"] == first.body["rows"] - rows == released.rows(CUSTOMERS).num_rows + 0
    assert name not in sealed_names(released)
    workspace = released.workspace()
    storage = workspace.dataset_storage(CUSTOMERS)
    with refused("GOV-303", "GOV-723"):
        list(open_version(storage, first, workspace.keyring.segment_key))
    assert not {s.segment_id for s in first.segments} & {
        p.name for p in (released.root(CUSTOMERS) / "segments").iterdir()
    }
    assert not leftovers(released)
    assert not list((released.path / "erasure").glob("*.sealed"))

    certificate = facts(released, "DSR-1")
    assert certificate["state"] == "pending", "a file: key's backups are beyond its provider"
    assert certificate["tombstone_known"]
    assert certificate["searched"]["found"] == 0
    assert {step["dataset"] for step in certificate["rewritten"]} == touched.keys()
    rewritten = next(step for step in certificate["rewritten"] if step["dataset"] == CUSTOMERS)
    [piece] = rewritten["segments"]
    assert (piece["dropped"], rewritten["verified"], rewritten["version"]) == (rows, True, second.version)
    assert rewritten["released"]
    [destroyed] = certificate["destroyed"]
    assert destroyed["keys"] == destroyed["refused"] > 0
    facets = [
        parse(e.body)["run"]["facets"]["governance_erasure"]
        for e in released.workspace().log.entries()
        if e.body and b'"governance_erasure"' in e.body
    ]
    assert not [found for facet in facets if (found := nonconformities(facet))]
    assert released.cli("log", "verify", "--files")[0] == 3
    # What the command printed and what the log holds name nobody.
    assert subject not in "".join(map(str, shown)) + out
    bodies = b"".join(e.body or b"" for e in released.workspace().log.entries())
    assert subject.encode() not in bodies
    assert name.encode() not in bodies

    code, _, err = command(released, *asked, *filed, "--yes", given=subject)
    assert (code, "GOV-605" in err) == (1, True)
    code, out, _ = command(released, *asked, "--plan", "--json", given=subject)
    assert (json.loads(out)["subjects"], json.loads(out)["erased_before"]) == (0, 1)
    released.run(CUSTOMERS)
    assert released.rows(CUSTOMERS).num_rows == before - rows
    [consent] = [
        parse(e.body)["run"]["facets"]["governance_consent"]["facts"]
        for e in released.workspace().log.entries(certificate["evidence"][-1])
        if e.body and b'"governance_consent"' in e.body
    ]
    assert consent["by_reason"]["erased"] == rows
    _, out, _ = released.cli("report", "make", "gdpr-art30", "--out", str(tmp_path / "report"), "--json")
    assert "evidence-missing" not in (tmp_path / "report" / "gdpr-art30.json").read_text()


def test_who_is_unknown_is_told_so_and_nothing_is_kept(released: Home) -> None:
    size, vault = released.workspace().log.size(), released.workspace().vault.generation
    code, out, err = command(
        released,
        "-",
        "--domain",
        "customer",
        "--request",
        "R",
        "--reason",
        "objection",
        "--yes",
        given="C-NOBODY",
    )
    assert code == 0, err
    assert "1 unknown" in out
    assert "C-NOBODY" not in out + err
    assert facts(released, "R")["state"] == "nothing known"
    assert (released.workspace().vault.generation, released.workspace().log.size()) == (vault, size + 2)


def test_many_subjects_rewrite_each_segment_once_and_a_hold_keeps_its_own(
    released: Home, tmp_path: Path
) -> None:
    """Two datasets of one domain, of which one is held; the other is rewritten once for all."""
    copy = edited_copy(released, "customer_copies")
    released.run(CUSTOMERS, contract_path=copy)
    edited(
        released.path / "policy.yaml",
        lambda t: (
            t
            + "\nlegalHolds:\n  - {regime: GDPR, ground: 'Art. 17(3)(e): matter 2026-17', datasets: [customer_copies]}\n"
        ),
    )
    subjects = list(german_subjects(released))[:5]
    names = pseudonyms(released, *subjects)
    plan = erase(released, "BATCH", *subjects)
    assert plan is not None
    assert [(h["dataset"], h["regime"]) for h in plan.facts["holds"]] == [("customer_copies", "GDPR")]
    assert plan.facts["held"] == 5
    held = released.manifest("customer_copies")
    finish(released.workspace())
    assert not names & sealed_names(released)
    assert names <= sealed_names(released, "customer_copies")
    assert released.manifest("customer_copies").version == held.version
    shown = pa.Table.from_batches(read(released, "customer_copies"))
    assert not names & set(shown["customer_pseudonym"].to_pylist()), "held rows are restricted all the same"
    certificate = facts(released, "BATCH")
    assert (certificate["state"], certificate["held"]) == ("held", 5)
    rewritten = [step for step in certificate["rewritten"] if step["dataset"] == CUSTOMERS]
    assert [len(step["segments"]) for step in rewritten] == [1]
    # The hold ends: the same request goes on to its end.
    edited(
        released.path / "policy.yaml",
        lambda t: t.replace("datasets: [customer_copies]}", "until: '2020-01-01'}"),
    )
    finish(released.workspace())
    assert not names & sealed_names(released, "customer_copies")
    assert facts(released, "BATCH")["held"] == 0
    assert not released.workspace().vault.restricted("customer").size


def test_an_open_run_does_not_release_who_was_erased_meanwhile(validated: tuple[Home, Any]) -> None:
    from governance.pipeline.release import release

    home, context = validated
    subject, rows = next(iter(german_subjects(home).items()))
    [name] = pseudonyms(home, subject)
    before = home.manifest(CUSTOMERS).body["rows"]
    erase(home, "R", subject)
    release(context)
    assert home.manifest(CUSTOMERS).body["rows"] == before - rows
    assert name not in sealed_names(home)
    finish(home.workspace(), identifiers={"customer": pa.array([subject])})
    assert facts(home, "R")["searched"]["found"] == 0


def test_a_carried_segment_is_rewritten_without_who_was_erased(home: Home) -> None:
    edited(home.contract(CUSTOMERS), lambda t: t.replace("loadMode: full", "loadMode: append"))
    home.run(CUSTOMERS)
    subject, rows = next(iter(german_subjects(home).items()))
    [name] = pseudonyms(home, subject)
    before, first = home.rows(CUSTOMERS).num_rows, home.manifest(CUSTOMERS)
    erase(home, "R", subject)
    home.run(CUSTOMERS)
    assert home.rows(CUSTOMERS).num_rows == 2 * (before - rows) == home.manifest(CUSTOMERS).body["rows"]
    assert name not in sealed_names(home)
    # Without its manifest the earlier version's segment is found as one that nobody names.
    (home.root(CUSTOMERS) / f"versions/{first.version}/{first.body['run']['attempt']}.manifest.json").unlink()
    finish(home.workspace())
    certificate = facts(home, "R")
    assert certificate["searched"]["found"] == 0
    assert first.segments[0].segment_id in certificate["destroyed"][0]["doomed"]
    assert not (home.root(CUSTOMERS) / "segments" / first.segments[0].segment_id).exists()


def test_quarantined_source_rows_are_written_again_without_the_subject(home: Home) -> None:
    result = home.run(CUSTOMERS)
    stated = result.facts[Stage.PROTECT]["quarantine"]
    assert stated["rows"] > 1
    workspace = home.workspace()
    storage = workspace.dataset_storage(CUSTOMERS)
    rows = pa.Table.from_batches(sealed_batches(storage, workspace, f"quarantine/{stated['segment_id']}"))
    subject = next(name for name in rows["customer_id"].to_pylist() if name)
    erase(home, "R", subject)
    finish(home.workspace(), identifiers={"customer": pa.array([subject])})
    [piece] = [p for step in facts(home, "R")["rewritten"] for p in step["quarantine"]]
    assert (piece["from"], piece["rows"] + piece["dropped"]) == (stated["segment_id"], stated["rows"])
    after = home.workspace()
    left = pa.Table.from_batches(sealed_batches(storage, after, f"quarantine/{piece['to']}"))
    assert left.equals(rows.filter(pc.invert(pc.fill_null(pc.equal(rows["customer_id"], subject), False))))
    assert not storage.exists(f"quarantine/{stated['segment_id']}")


def test_when_everybody_is_erased_a_version_without_rows_is_released(home: Home) -> None:
    home.run(CUSTOMERS)
    column = pa_csv.read_csv(home.source(CUSTOMERS))["customer_id"].to_pylist()
    everybody = sorted({name for name in column if name})
    plan = erase(home, "ALL", *everybody)
    assert plan is not None
    assert plan.facts["subjects"] + plan.facts["unknown"] == len({name.strip() for name in everybody})
    assert home.rows(CUSTOMERS).num_rows == 0
    finish(home.workspace())
    manifest = home.manifest(CUSTOMERS)
    assert (manifest.segments, manifest.body["rows"]) == ((), 0)
    assert facts(home, "ALL")["searched"]["found"] == 0
    assert not list((home.root(CUSTOMERS) / "segments").iterdir())


def test_a_deadline_does_not_move_with_a_clock_that_jumps_back(released: Home) -> None:
    subject = next(iter(german_subjects(released)))
    past = Workspace.open(released.settings, clock=lambda: datetime.now(UTC) - timedelta(days=400))
    erase(released, "R", subject, workspace=past)
    [status] = erasure_status(released.workspace())
    assert 28 <= status["days_left"] <= 30
    late = Workspace.open(released.settings, clock=lambda: datetime.now(UTC) + timedelta(days=31))
    assert erasure_status(late)[0]["late"]
    finish(late)
    assert facts(released, "R")["late"]


def read(home: Home, dataset: str) -> Any:
    from governance.access import read_released

    return read_released(home.workspace(), dataset, purpose="model_training")


def edited_copy(home: Home, name: str) -> Path:
    path = home.path / "contracts" / f"{name}.odcs.yaml"
    path.write_text(
        home.contract(CUSTOMERS).read_text("utf-8").replace("- name: customer_profiles", f"- name: {name}")
    )
    return path


@pytest.mark.parametrize("what", ["", "R 1", "-x", "a" * 65])
def test_a_request_has_a_name_that_can_stand_in_the_log(what: str, released_once: Path) -> None:
    with refused("GOV-605"):
        erase(Home(released_once), what, "anybody")
