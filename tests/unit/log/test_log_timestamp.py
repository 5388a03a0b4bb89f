"""RFC 3161 timestamps of a real authority, and of one that lies."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_log_witness import LOG, ORIGIN
from test_log_witness_client import VKEY, Store, answering, raw
from timestamp_authority import TimestampAuthority

from governance.cli import cli
from governance.config import Settings
from governance.errors import LogError, SettingError
from governance.keys.providers.file import create_file_key
from governance.log import Checkpoint, NewEntry, verify_log
from governance.log.log import TIMESTAMP
from governance.log.note import checkpoint_text, read_checkpoint, sign_note
from governance.log.witnesses import timestamp as timestamps
from governance.log.witnesses.timestamp import Authority, Timestamp, ask, attested, keep, verify
from governance.log.witnesses.trust import FILE, Trust
from governance.pipeline.workspace import Workspace

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the test authority is made of `openssl ts`"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("tsa") / "other", "Other TSA")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.log.close()


def stamped(authority: TimestampAuthority, checkpoint: Checkpoint) -> Timestamp:
    with authority.served() as url:
        return ask(checkpoint, Authority(url, authority.root), 10)


def signed(size: int) -> Checkpoint:
    return read_checkpoint(sign_note(checkpoint_text(ORIGIN, size, bytes(32)), ORIGIN, LOG))


def test_a_checkpoint_is_timestamped_and_verified_offline(authority: TimestampAuthority) -> None:
    given = Timestamp.from_body(stamped(authority, signed(7)).to_body())
    said = verify(given, authority.root)
    assert (said.authority, said.checkpoint) == ("CN=Test TSA", signed(7))
    assert abs(said.at - datetime.now(UTC)) < timedelta(minutes=5)
    for pem in (authority.root + authority.certificate, authority.certificate + authority.root):
        assert verify(given, pem) == said


def test_the_token_is_a_leaf_that_verification_finds(store: Store, authority: TimestampAuthority) -> None:
    checkpoint = store.grow(4)
    index = keep(store.log, stamped(authority, checkpoint), "admin:cli")
    assert store.log.entry(index).envelope.media_type == TIMESTAMP
    store.log.checkpoint()
    trust = Trust.pinned([], None, [authority.root])
    report = verify_log(store.storage, VKEY, trust=trust)
    assert report.ok
    assert report.verdict.startswith("verified, timestamped by CN=Test TSA at 20")
    assert report.verdict.endswith("up to entry 4")
    assert [t["size"] for t in report.to_json()["timestamped"]] == [4]
    assert any("a witness that it is one" in line for line in report.unknown)
    assert verify_log(store.storage, VKEY).verdict == "verified, self-attested"


def test_an_authority_that_is_not_pinned_vouches_for_nothing(
    store: Store, authority: TimestampAuthority, other: TimestampAuthority
) -> None:
    keep(store.log, stamped(other, store.grow(2)), "admin:cli")
    store.log.checkpoint()
    report = verify_log(store.storage, VKEY, trust=Trust.pinned([], None, [authority.root]))
    assert report.verdict == "verified, self-attested"
    assert any("does not hold" in line for line in report.unknown)
    both = Trust.pinned([], None, [authority.root, other.root])
    assert "timestamped by CN=Other TSA" in verify_log(store.storage, VKEY, trust=both).verdict


def test_a_timestamp_over_another_note_is_refused(authority: TimestampAuthority) -> None:
    given = stamped(authority, signed(7))
    with pytest.raises(LogError, match="GOV-513"):
        verify(Timestamp(signed(8).note, given.response), authority.root)


def test_a_timestamp_of_a_tree_this_log_never_had_counts_for_nothing(
    store: Store, authority: TimestampAuthority
) -> None:
    store.grow(3)
    keep(store.log, stamped(authority, signed(3)), "admin:cli")
    store.log.checkpoint()
    report = verify_log(store.storage, VKEY, trust=Trust.pinned([], None, [authority.root]))
    assert report.verdict == "verified, self-attested"
    assert any("did not sign" in line for line in report.unknown)


def test_another_signer_of_the_same_root_is_refused_where_it_is_pinned(
    tmp_path: Path, authority: TimestampAuthority
) -> None:
    given = stamped(authority, signed(7))
    pinned = authority.root + authority.certificate
    assert verify(given, pinned)
    second = TimestampAuthority(tmp_path / "second")
    for name in ("ca.key", "ca.pem"):
        shutil.copy(authority.folder / name, second.folder / name)
    second.root = authority.root
    second.certify()
    newer = stamped(second, signed(7))
    assert verify(newer, authority.root)
    with pytest.raises(LogError, match="GOV-513"):
        verify(newer, pinned)


def test_altered_tokens_are_refused(authority: TimestampAuthority) -> None:
    given = stamped(authority, signed(7))
    for position in range(0, len(given.response), 23):
        altered = bytearray(given.response)
        altered[position] ^= 1
        try:
            said = verify(Timestamp(given.note, bytes(altered)), authority.root)
        except LogError as error:
            assert error.code == "GOV-513"
        else:
            # What no signature covers: the status text around the token.
            assert said == verify(given, authority.root)
    for cut in (b"", given.response[:-1], given.response[:100], given.response + b"\0", b"\x30\x80" * 50):
        with pytest.raises(LogError, match="GOV-513"):
            verify(Timestamp(given.note, cut), authority.root)


def test_an_authority_that_lies_gets_nothing_into_the_log(authority: TimestampAuthority) -> None:
    replayed = stamped(authority, signed(7)).response
    for change in (lambda _: replayed, lambda answer: answer[:-1], lambda _: b""):
        authority.change = change  # type: ignore[assignment]
        try:
            with pytest.raises(LogError, match="GOV-513"):
                stamped(authority, signed(7))
        finally:
            authority.change = lambda answer: answer


@pytest.mark.parametrize(
    "answer",
    [
        answering(200, b"x", "text/html"),
        answering(500, b"", "application/timestamp-reply"),
        answering(302, b"", "application/timestamp-reply"),
        lambda connection: connection.close(),
    ],
    ids=["another type", "an error", "a redirect", "it hangs up"],
)
def test_an_authority_that_fails_is_bounded(answer: object) -> None:
    with raw(answer) as url, pytest.raises(LogError, match="GOV-513"):  # type: ignore[arg-type]
        ask(signed(1), Authority(url, b""), 0.5)


def test_what_is_pinned_must_be_a_root(authority: TimestampAuthority) -> None:
    given = stamped(authority, signed(7))
    for pem in (b"", b"no certificate", authority.certificate):
        with pytest.raises(LogError, match="GOV-513"):
            verify(given, pem)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"3", b"\xff", b'{"v":1,"checkpoint":"x","response":""}']
)
def test_malformed_leaves_are_named(store: Store, authority: TimestampAuthority, body: bytes) -> None:
    with pytest.raises(LogError, match="GOV-513"):
        Timestamp.from_body(body)
    good, bad = attested([body], [authority.root])
    assert (good, len(bad)) == ([], 1)
    store.log.append([NewEntry(body, TIMESTAMP, "ingest:anyone")])
    store.log.checkpoint()
    assert verify_log(store.storage, VKEY, trust=Trust.pinned([], None, [authority.root])).ok


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    with pytest.raises(SettingError, match="GOV-902"):
        timestamps.ask(signed(1), Authority("http://127.0.0.1:1", b""), 1)


def test_the_command(tmp_path: Path, authority: TimestampAuthority) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)
    kek = f"file:{tmp_path / 'secrets' / 'kek.json'}"
    create_file_key(tmp_path / "secrets" / "kek.json")
    home = tmp_path / "home"
    pinned = Workspace.create(Settings.at(home, kek=kek), origin=ORIGIN).vkey
    runner = CliRunner(env={"GOVERNANCE_HOME": str(home), "GOVERNANCE_KEK": kek})
    (home / "tsa.pem").write_bytes(authority.root)
    with authority.served() as url:
        authorities = [f"{{url: '{at}', certificates: tsa.pem}}" for at in (url, "http://127.0.0.1:1")]
        (home / FILE).write_text(f"timestamps: [{', '.join(authorities[::-1])}]")
        half = runner.invoke(cli, ["log", "timestamp", "--json"])
        assert getattr(half.exception, "code", None) == "GOV-513"
        assert len(json.loads(half.stdout)["timestamps"]) == 1
        (home / FILE).write_text(f"timestamps: [{authorities[0]}]")
        made = json.loads(runner.invoke(cli, ["log", "timestamp", "--json"]).stdout)
    assert [(t["size"], t["authority"]) for t in made["timestamps"]] == [(2, "CN=Test TSA")]
    assert made["entries"] == [2]
    shown = json.loads(runner.invoke(cli, ["log", "timestamp", "--show", "--json"]).stdout)
    assert [t["size"] for t in shown["timestamps"]] == [1, 2]
    assert shown["timestamps"][1:] == made["timestamps"]
    down = runner.invoke(cli, ["log", "timestamp"])
    assert getattr(down.exception, "code", None) == "GOV-513"
    checked = runner.invoke(cli, ["log", "verify", "--key", pinned, "--tsa", str(home / "tsa.pem"), "--json"])
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["verdict"].startswith("verified, timestamped by CN=Test TSA at 20")
