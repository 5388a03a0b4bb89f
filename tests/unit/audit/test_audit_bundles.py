"""Bundles: whatever is altered is found and named, and nothing crashes."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_story import full_world
from audit_world import ORIGIN, Key, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from governance.audit import MadeReport, Verdict, verify_bundle
from governance.audit.bundle import manifest, sign
from governance.audit.checking import container
from governance.errors import AuditError, LogError
from governance.log import vkey_of
from governance.model.canonical import canonical
from governance.model.resources import schemas

Members = dict[str, bytes]


@pytest.fixture(scope="session")
def bundle(accounting: MadeReport) -> Path:
    assert accounting.bundle is not None
    return accounting.bundle


@pytest.fixture
def members(bundle: Path) -> Members:
    return dict(container.read(bundle).members)


def check(tmp_path: Path, world: World, members: Members) -> Verdict:
    path = tmp_path / "altered.zip"
    path.write_bytes(container.pack(members))
    return verify_bundle(path, world.vkey)


def relisted(members: Members, signer: Key | None = None) -> Members:
    """As an attacker would leave it: the manifest fits again, the signature only with the key."""
    members = members | {"manifest.json": manifest(members)}
    return members if signer is None else members | {"signature.json": sign(members["manifest.json"], signer)}


def edited(members: Members, edit: Callable[[dict[str, Any]], None], name: str = "record.json") -> Members:
    record = json.loads(members[name])
    edit(record)
    return members | {name: canonical(record)}


def test_untouched_bundles_verify(world: World, art30: MadeReport, accounting: MadeReport) -> None:
    for made in (art30, accounting):
        assert made.bundle is not None
        verdict = verify_bundle(made.bundle, world.vkey)
        assert (verdict.ok, verdict.code, verdict.first_failure) == (True, None, None)
        assert verdict.self_attested and verdict.rows_checked == len(made.record["rows"])
        assert any(line.startswith("SELF-ATTESTED") for line in verdict.lines)


def test_without_a_pinned_key_nothing_is_green(bundle: Path) -> None:
    verdict = verify_bundle(bundle, None)
    assert not verdict.ok and not verdict.pinned and verdict.code == "GOV-803"
    assert verdict.first_failure is None and verdict.lines[0].startswith("NO KEY WAS PINNED")


def test_another_key_is_refused(bundle: Path) -> None:
    verdict = verify_bundle(bundle, vkey_of(ORIGIN, Key("another").public_key))
    assert not verdict.ok and verdict.first_failure and verdict.first_failure.startswith("key.txt")
    with pytest.raises(LogError) as refused:
        verify_bundle(bundle, "not a key")
    assert refused.value.code == "GOV-506"


def test_files_conform_to_their_schemas(members: Members) -> None:
    schema = json.loads((schemas() / "bundle.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for name in members:
        if name.startswith("entries/"):
            files = {n: json.loads(members[n]) for n in ("manifest.json", "signature.json", "proofs.json")}
            assert validator.is_valid(files | {"entries/N.json": json.loads(members[name])}), name


def test_any_zip_program_reads_it(bundle: Path, members: Members) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        assert {n: archive.read(n) for n in archive.namelist()} == members


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_in_a_file_is_located(
    tmp_path: Path, world: World, bundle: Path, members: Members, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(members)))
    offset = data.draw(st.integers(0, len(members[name]) - 1))
    raw = bytearray(bundle.read_bytes())
    start = raw.index(members[name])
    raw[start + offset] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.zip"
    path.write_bytes(raw)
    verdict = verify_bundle(path, world.vkey)
    assert not verdict.ok and verdict.code == "GOV-802"
    assert verdict.first_failure and verdict.first_failure.startswith(f"{name}: ")
    if name.startswith("entries/"):
        assert "row" in verdict.first_failure or "rests on it" in verdict.first_failure


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_found(
    tmp_path: Path, world: World, bundle: Path, data: st.DataObject
) -> None:
    raw = bytearray(bundle.read_bytes())
    headers = [i for i in range(len(raw) - 3) if raw[i : i + 2] == b"PK" and raw[i + 2] < 8]
    near = st.sampled_from(headers).flatmap(lambda h: st.integers(h, min(h + 60, len(raw) - 1)))
    offset = data.draw(st.one_of(near, st.integers(0, len(raw) - 1)))
    raw[offset] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.zip"
    path.write_bytes(raw)
    try:
        verdict = verify_bundle(path, world.vkey)
    except AuditError as refused:
        assert refused.code == "GOV-801" and "at byte" in refused.message
    else:
        assert not verdict.ok and verdict.first_failure


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 100_000), junk=st.binary(max_size=40))
def test_a_truncated_or_extended_bundle_is_refused(
    tmp_path: Path, world: World, bundle: Path, cut: int, junk: bytes
) -> None:
    raw = bundle.read_bytes()
    path = tmp_path / "cut.zip"
    for altered in (raw[: min(cut, len(raw) - 1)], raw + junk + b"!"):
        path.write_bytes(altered)
        with pytest.raises(AuditError) as refused:
            verify_bundle(path, world.vkey)
        assert refused.value.code == "GOV-801"


def test_a_changed_cell_names_its_row(tmp_path: Path, world: World, members: Members) -> None:
    def lie(record: dict[str, Any]) -> None:
        record["rows"][1]["cells"]["extent"]["value"]["rows"] = 4

    verdict = check(tmp_path, world, relisted(edited(members, lie)))
    assert verdict.first_failure == (
        "record.json: row 2 (Northlake Institute for Clinical Research, 2026-03-02), extent: is not what the "
        "entries give"
    )
    assert verdict.rows_checked == 1


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["exceptions"], [], "exceptions"),
        (["unknowns", 0, "text"], "nothing", "unknowns[0].text"),
        (["population", "examined", "excluded"], 0, "population.examined.excluded"),
        (["verdict", "exceptions"], 0, "verdict.exceptions"),
        (["statements"], [], "statements"),
        (["report", "title"], "Certificate of compliance", "report.title"),
        (["report", "template_version"], 99, "template version"),
        (["report", "kind"], "gdpr-art30", ""),
        (["as_of", "size"], 1, "as_of.size"),
        (["entries", 0, "principal"], "nobody", "entries[0].principal"),
        (["period", "to"], "2020-01-01T00:00:00.000000Z", "period.to"),
        (["rows"], None, "rows"),
        (["rows", 0, "cells"], "none", "row 1"),
        (["population", "whole_log"], 7, "whole_log"),
        (["report"], [], "records have"),
        (["columns"], {}, "columns"),
        (["surplus"], 1, "surplus"),
    ],
)
def test_every_member_of_the_record_is_bound(
    tmp_path: Path, world: World, members: Members, path: list[Any], value: Any, says: str
) -> None:
    def lie(record: Any) -> None:
        for step in path[:-1]:
            record = record[step]
        record[path[-1]] = value

    # Even the operator cannot sign a record that its own entries contradict.
    verdict = check(tmp_path, world, relisted(edited(members, lie), world.root))
    assert verdict.first_failure and verdict.first_failure.startswith("record.json: ")
    assert says in verdict.first_failure


def test_counts_over_the_whole_log_rest_on_the_signature(
    tmp_path: Path, world: World, members: Members
) -> None:
    def lie(record: dict[str, Any]) -> None:
        record["population"]["whole_log"]["disclosures"] = 2

    verdict = check(tmp_path, world, relisted(edited(members, lie)))
    assert verdict.first_failure and verdict.first_failure.startswith(("report.html", "signature.json"))


def test_a_disclosure_left_out_with_its_entry_is_found(
    tmp_path: Path, world: World, accounting: MadeReport, members: Members
) -> None:
    """The record fits the entries that are left, so only the signature tells."""
    from governance.audit.bundle import BundledEntry
    from governance.audit.record import make_record
    from governance.audit.registry import REPORTS
    from governance.audit.rendering import render
    from governance.audit.trail import read_trail
    from governance.log import parse_checkpoint

    entries = {
        e.index: e
        for e in (BundledEntry.from_bytes(d) for n, d in members.items() if n.startswith("entries/"))
    }
    left_out = accounting.record["rows"][1]["cells"]["date"]["cites"][0]
    del entries[left_out]
    checkpoint = parse_checkpoint(members["checkpoint.txt"].decode(), world.vkey)
    trail = read_trail((entries[i] for i in sorted(entries)), checkpoint.size)
    record = make_record(REPORTS["hipaa-528"], trail, checkpoint, entries.__getitem__)
    assert len(record["rows"]) == 1
    proofs = json.loads(members["proofs.json"])
    proofs["inclusion"] = [p for p in proofs["inclusion"] if p["index"] != left_out]
    forged = {n: d for n, d in members.items() if n != f"entries/{left_out}.json"} | {
        "record.json": canonical(record),
        "report.html": render(record).encode(),
        "proofs.json": canonical(proofs),
    }
    verdict = check(tmp_path, world, relisted(forged))
    assert not verdict.ok and verdict.first_failure and verdict.first_failure.startswith("signature.json: ")
    verdict = check(tmp_path, world, relisted(forged, Key("a thief")))
    assert verdict.first_failure == "signature.json: is not by the evidence key that the genesis names"


def _entry(members: Members, index: int, **changes: bytes) -> Members:
    def lie(entry: dict[str, Any]) -> None:
        entry.update({k: base64.b64encode(v).decode() for k, v in changes.items()})

    return edited(members, lie, f"entries/{index}.json")


def test_an_entry_with_another_body_salt_or_leaf_names_its_row(
    tmp_path: Path, world: World, members: Members, accounting: MadeReport
) -> None:
    index = accounting.record["rows"][0]["cells"]["date"]["cites"][0]
    entry = world.log.entry(index)
    assert entry.body and entry.salt
    for altered in (
        _entry(members, index, body=entry.body.replace(b"northlake", b"southlake")),
        _entry(members, index, salt=bytes(32)),
        _entry(members, index, leaf=entry.leaf.replace(b"evidence:pipeline", b"evidence:elsewhere")),
        _entry(members, index, leaf=b"{}"),
        _entry(members, index, leaf=b"\xff"),
    ):
        failure = check(tmp_path, world, relisted(altered, world.root)).first_failure
        assert failure and failure.startswith(f"entries/{index}.json: ") and "row 1 (Northlake" in failure


def test_entries_that_are_missing_or_exchanged(tmp_path: Path, world: World, members: Members) -> None:
    for gone in ("entries/0.json", "entries/82.json", "report.html", "proofs.json", "signature.json"):
        left = {n: d for n, d in members.items() if n != gone}
        failure = check(tmp_path, world, relisted(left)).first_failure
        assert failure and failure.startswith(f"{gone}: "), gone
    exchanged = members | {"entries/82.json": members["entries/84.json"]}
    failure = check(tmp_path, world, relisted(exchanged, world.root)).first_failure
    assert failure and failure.startswith("entries/82.json: it is another entry than its name says")
    for name in ("entries/00082.json", "entries/abc.json", "notes.txt", "other/1.json"):
        failure = check(tmp_path, world, relisted(members | {name: b"{}"}, world.root)).first_failure
        assert failure and failure.startswith(f"{name}: "), name


@pytest.mark.parametrize("name", ["record.json", "proofs.json", "entries/82.json", "signature.json"])
@pytest.mark.parametrize(
    "junk", [b"", b"{", b"[]", b"null", b'{"a":1}', b"[" * 5000, b'{"index":1e400}', b"\xff\xfe", b"NaN"]
)
def test_junk_in_a_file_is_named(
    tmp_path: Path, world: World, members: Members, name: str, junk: bytes
) -> None:
    failure = check(tmp_path, world, relisted(members | {name: junk}, world.root)).first_failure
    if name == "signature.json":
        verdict = check(tmp_path, world, members | {name: junk})
        failure = verdict.first_failure
    assert failure and failure.startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["HOWTO.txt", "report.html", "key.txt", "checkpoint.txt", "manifest.json"])
def test_changed_files_are_named_though_the_operator_signed_them(
    tmp_path: Path, world: World, members: Members, name: str
) -> None:
    changed = members | {name: members[name] + b"x"}
    if name == "manifest.json":
        changed |= {"signature.json": sign(changed[name], world.root)}
    else:
        changed = relisted(changed, world.root)
    failure = check(tmp_path, world, changed).first_failure
    assert failure and failure.startswith(f"{name}: ")


def test_a_proof_or_checkpoint_of_elsewhere_is_refused(
    tmp_path: Path, world: World, members: Members
) -> None:
    def swap(proofs: dict[str, Any]) -> None:
        one, two = proofs["inclusion"][1], proofs["inclusion"][2]
        one["hashes"], two["hashes"] = two["hashes"], one["hashes"]

    failure = check(tmp_path, world, relisted(edited(members, swap, "proofs.json"), world.root)).first_failure
    assert failure and failure.startswith("entries/") and "not under the root" in failure
    other = World(tmp_path / "other", start=world.start)
    note = other.log.checkpoint().note.encode()
    failure = check(tmp_path, world, relisted(members | {"checkpoint.txt": note}, world.root)).first_failure
    assert failure and "entries/0.json" in failure


def test_older_checkpoints(tmp_path: Path, world: World, bundle: Path, accounting: MadeReport) -> None:
    own = accounting.record["as_of"]["checkpoint"]
    for note in world.log.storage.checkpoints():
        assert verify_bundle(bundle, world.vkey, older_checkpoint=note).ok
    assert verify_bundle(bundle, world.vkey, older_checkpoint=own).ok

    fork = World(tmp_path / "fork", start=world.start)
    for number in range(1, 20):
        fork.batch(number, number)
        verdict = verify_bundle(bundle, world.vkey, older_checkpoint=fork.log.checkpoint().note)
        assert not verdict.ok and verdict.first_failure
        assert verdict.first_failure.startswith("the older checkpoint: ")
    for wrong in ("", "nothing", own.replace(f"\n{world.log.size()}\n", "\n1\n", 1)):
        verdict = verify_bundle(bundle, world.vkey, older_checkpoint=wrong)
        assert not verdict.ok and verdict.first_failure
    newer = full_world(tmp_path / "newer")
    newer.batch(3, 1)
    verdict = verify_bundle(bundle, world.vkey, older_checkpoint=newer.log.checkpoint().note)
    assert verdict.first_failure and "cannot be compared" in verdict.first_failure
