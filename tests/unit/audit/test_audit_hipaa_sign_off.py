"""Sign-off: a record of its own, in the log by its digest alone, checked offline, and listed by the next review."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_hipaa_story import hipaa_world
from audit_world import Key, World
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.audit import make_report
from governance.audit.checking.sign_off_verification import verify_reviewed, verify_sign_off
from governance.audit.sign_off import SignedOff, read_sign_off, sign_off
from governance.audit.standalone import answering
from governance.audit.versions import signed
from governance.cli import cli
from governance.errors import AuditError
from governance.lineage.facets import nonconformities
from governance.model.canonical import canonical

MARCH, APRIL = "2026-03-01/2026-03-31", "2026-04-01/2026-04-30"
FINDINGS = "Ines looked up a subject without a reason: spoken to.\nNothing else."


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> World:
    return hipaa_world(tmp_path_factory.mktemp("signed"))


@pytest.fixture(scope="module")
def march(log: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_report(log, "hipaa-activity", tmp_path_factory.mktemp("march"), bundle=True, period=MARCH)
    assert made.bundle
    return made.bundle


def reviewed(log: World, report: Path, out: Path, **said: Any) -> SignedOff:
    stated = {"reviewer": "j.petersen", "findings": FINDINGS, "follow_up": "", **said}
    return sign_off(log, report, out, namespace="governance", producer="https://example.com", **stated)


@pytest.fixture(scope="module")
def signature(log: World, march: Path) -> SignedOff:
    return reviewed(log, march, march.parent)


def altered(path: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    file = json.loads(path.read_bytes())
    change(file)
    out.write_bytes(canonical(file))
    return out


def test_it_holds_alone_and_with_its_report(log: World, march: Path, signature: SignedOff) -> None:
    assert verify_sign_off(signature.path, log.vkey).ok
    for report in (march, march.with_suffix(".json")):
        verdict = verify_reviewed(report, log.vkey, [signature.path])
        assert verdict.ok and any("signed off by j.petersen" in line for line in verdict.lines)
    unpinned = verify_sign_off(signature.path, None)
    assert not unpinned.ok and unpinned.code == "GOV-803"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """The verifier that every bundle carries."""

    def check(*asked: object) -> tuple[int, dict[str, Any]]:
        code = answering.main([*map(str, asked), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return check


def test_the_single_file_verifier_reads_sign_offs(
    log: World,
    march: Path,
    signature: SignedOff,
    run: Callable[..., tuple[int, dict[str, Any]]],
    tmp_path: Path,
) -> None:
    key = ("--key", log.vkey)
    code, said = run(signature.path, *key)
    assert code == 0 and any("signed off by j.petersen" in line for line in said["lines"]), said
    code, said = run(march, "--sign-off", signature.path, *key)
    assert code == 0 and "The report given is the one that was signed off." in said["lines"]
    assert run(signature.path)[0] == 3, "no key was pinned"
    other = make_report(log, "hipaa-activity", tmp_path, bundle=True, period=APRIL).bundle
    code, said = run(other, "--sign-off", signature.path, *key)
    assert (code, said["first_failure"]) == (1, "record.json: is not the record that was signed off")
    code, said = run(march.with_suffix(".json"), *key)
    assert code == 1 and "is not that of a sign-off" in said["first_failure"]


def test_the_single_file_verifier_finds_what_was_altered_in_a_sign_off(
    log: World, signature: SignedOff, run: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    data, dice = signature.path.read_bytes(), random.Random(39)
    for place in dice.sample(range(len(data)), 60):
        flipped = bytearray(data)
        flipped[place] ^= 1 << dice.randrange(8)
        (tmp_path / "flipped.json").write_bytes(flipped)
        code, said = run(tmp_path / "flipped.json", "--key", log.vkey)
        assert code == 1 and said["first_failure"], place

    def swap(file: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(file["dsse"]["payload"]))
        statement["predicate"]["findings"] = "nothing"
        file["dsse"] = json.loads(signed(statement, log.root))

    code, said = run(altered(signature.path, tmp_path / "swapped.json", swap), "--key", log.vkey)
    assert (code, said["first_failure"]) == (1, "dsse: is not the statement that the log has the digest of")


def test_the_log_holds_no_word_of_the_findings(log: World, signature: SignedOff) -> None:
    bodies = b"".join(log.log.entry(index).body or b"" for index in range(log.log.size()))
    assert b"spoken to" not in bodies and b"j.petersen" in bodies
    event = json.loads(log.log.entry(signature.log_index).body or b"")
    facet = event["run"]["facets"]["governance_sign_off"]
    assert nonconformities(facet) == [] and facet["facts"]["decision"] == "accepted"
    _, said = read_sign_off(signature.path)
    assert said["predicate"]["findings"] == FINDINGS and len(said["predicate"]["nonce"]) == 32


def test_the_next_review_lists_it_and_no_longer_misses_it(
    log: World, signature: SignedOff, tmp_path: Path
) -> None:
    record = make_report(log, "hipaa-activity", tmp_path, bundle=True, period=APRIL).record
    assert "review-not-signed" not in {r["code"] for r in record["exceptions"]}
    [row] = [r for r in record["rows"] if r["id"] == "report_signed_off j.petersen"]
    assert row["cells"]["about"]["value"] == [
        {"what": "hipaa-activity, 2026-03-01 to 2026-03-31", "times": 1}
    ]
    assert row["cells"]["outcomes"]["value"] == {"accepted": 1}
    assert row["cells"]["who"]["basis"] == "observed" and "note" not in row["cells"]["who"]


def test_a_rejected_review_covers_nothing(tmp_path: Path) -> None:
    world = hipaa_world(tmp_path / "log")
    made = make_report(world, "hipaa-activity", tmp_path, period=MARCH)
    reviewed(world, made.json, tmp_path, decision="rejected")
    record = make_report(world, "hipaa-activity", tmp_path, period=APRIL).record
    assert "review-not-signed" in {r["code"] for r in record["exceptions"]}


def test_a_report_altered_after_its_sign_off_is_found(
    log: World, march: Path, signature: SignedOff, tmp_path: Path
) -> None:
    record = json.loads(march.with_suffix(".json").read_bytes())
    record["exceptions"] = []
    path = tmp_path / "altered.json"
    path.write_bytes(canonical(record))
    verdict = verify_reviewed(path, log.vkey, [signature.path])
    assert not verdict.ok and verdict.first_failure and "altered" in verdict.first_failure
    with pytest.raises(AuditError) as refused:
        reviewed(log, path, tmp_path)
    assert refused.value.code == "GOV-802"


def test_who_else_signs_is_found(log: World, signature: SignedOff, tmp_path: Path) -> None:
    _, said = read_sign_off(signature.path)
    foreign = json.loads(signed(said, Key("a thief")))
    verdict = verify_sign_off(
        altered(signature.path, tmp_path / "a.json", lambda f: f.update(dsse=foreign)), log.vkey
    )
    assert verdict.first_failure and "evidence key" in verdict.first_failure
    other = {**said, "predicate": {**said["predicate"], "findings": "All is well."}}
    forged = json.loads(signed(other, log.root))
    verdict = verify_sign_off(
        altered(signature.path, tmp_path / "b.json", lambda f: f.update(dsse=forged)), log.vkey
    )
    assert verdict.first_failure and "digest" in verdict.first_failure


def test_another_log_is_another_key(log: World, signature: SignedOff, tmp_path: Path) -> None:
    class Other(World):
        def __post_init__(self) -> None:
            self.root = Key("another root")
            super().__post_init__()

    other = Other(tmp_path / "other")
    made = make_report(other, "hipaa-activity", tmp_path)
    theirs = reviewed(other, made.json, tmp_path)
    assert verify_sign_off(theirs.path, other.vkey).ok
    # The same log's key, but its first entry names another evidence key: the entries do not fit the checkpoint.
    mine = json.loads(signature.path.read_bytes())
    mixed = altered(theirs.path, tmp_path / "mixed.json", lambda f: f.update(entries=mine["entries"]))
    assert not verify_sign_off(mixed, other.vkey).ok
    with pytest.raises(AuditError):
        reviewed(log, made.json, tmp_path)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(at=st.integers(0, 1 << 30), to=st.sampled_from(b'0aA"[{}]=,'))
def test_no_altered_byte_passes(log: World, signature: SignedOff, tmp_path: Path, at: int, to: int) -> None:
    data = bytearray(signature.path.read_bytes())
    place = at % len(data)
    if data[place] == to:
        return
    data[place] = to
    path = tmp_path / "altered.json"
    path.write_bytes(bytes(data))
    try:
        assert not verify_sign_off(path, log.vkey).ok
    except AuditError as fault:
        assert fault.code == "GOV-801"


@pytest.mark.parametrize(
    "said",
    [
        {"reviewer": " "},
        {"reviewer": "a\nb"},
        {"findings": " "},
        {"findings": "\x1b[2J"},
        {"decision": "fine"},
        {"decision": "follow-up"},
    ],
)
def test_unusable_words_are_refused(log: World, march: Path, tmp_path: Path, said: dict[str, Any]) -> None:
    size = log.log.size()
    with pytest.raises(AuditError) as refused:
        reviewed(log, march, tmp_path, **said)
    assert refused.value.code == "GOV-804" and log.log.size() == size


def test_what_is_no_sign_off_is_no_sign_off(tmp_path: Path, log: World) -> None:
    for number, data in enumerate((b"", b"{}", b"[" * 10_000, b'{"format":"governance-sign-off/1"}')):
        path = tmp_path / f"{number}.json"
        path.write_bytes(data)
        with pytest.raises(AuditError) as refused:
            verify_sign_off(path, log.vkey)
        assert refused.value.code == "GOV-801"


def test_the_commands_show_and_verify(log: World, march: Path, signature: SignedOff) -> None:
    shown = CliRunner().invoke(cli, ["report", "show", str(march)])
    assert "signed off by j.petersen" in shown.output and "spoken to" in shown.output
    checked = CliRunner().invoke(
        cli, ["verify", str(march), "--sign-off", str(signature.path), "--key", log.vkey]
    )
    assert checked.exit_code == 0, checked.output
    alone = CliRunner().invoke(cli, ["verify", str(signature.path), "--key", log.vkey, "--json"])
    assert alone.exit_code == 0 and json.loads(alone.output)["ok"] is True
    assert base64.b64decode(json.loads(signature.path.read_bytes())["dsse"]["payload"]).startswith(
        b'{"_type"'
    )
