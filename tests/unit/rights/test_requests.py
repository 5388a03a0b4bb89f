"""The register of requests: a fold of the log, and clocks that come from a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from governance.errors import AccessError, SettingError
from governance.model import clocks
from governance.model.canonical import canonical
from governance.model.clocks import load_clocks, statutory_clock
from governance.model.legal_hold import LegalHold
from governance.model.resources import schemas
from governance.rights.requests import (
    REQUEST,
    check_identity,
    confirm,
    decide,
    extend,
    open_request,
    read_requests,
    request_named,
    tell,
)

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Log:
    """Entries in a list: only reading and appending them is of interest here; the real log stands in
    tests/integration/test_subject_requests.py."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def entries(self, start: int = 0, stop: int | None = None) -> list[Any]:
        return self.kept[start:stop]

    def checkpoint(self) -> None: ...


class Office:
    """A workspace as far as the register needs one, with a clock that is set."""

    def __init__(self, *holds: LegalHold) -> None:
        self.log, self.now = Log(), START
        self.policy = SimpleNamespace(legal_holds=holds)

    def clock(self) -> datetime:
        return self.now

    def append_json(self, value: dict[str, Any], media_type: str) -> int:
        envelope = SimpleNamespace(media_type=media_type)
        index = len(self.log.kept)
        self.log.kept.append(SimpleNamespace(index=index, envelope=envelope, body=canonical(value)))
        return index

    def open(self, name: str = "DSR-1", kind: str = "access", regime: str = "GDPR") -> Any:
        return open_request(self, name, kind=kind, regime=regime, domain="customer", by="dpo")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("regime", "kind", "received", "due", "extended"),
    [
        ("GDPR", "access", "2026-01-31", "2026-02-28", "2026-04-28"),
        ("GDPR", "erasure", "2024-01-31", "2024-02-29", "2024-04-29"),
        ("GDPR", "objection", "2026-12-15", "2027-01-15", "2027-03-15"),
        ("HIPAA", "access", "2026-01-01", "2026-01-31", "2026-03-02"),
        ("HIPAA", "accounting", "2026-01-01", "2026-03-02", "2026-04-01"),
        ("CCPA", "erasure", "2026-01-01", "2026-02-15", "2026-04-01"),
        ("CCPA", "opt-out", "2026-01-02", "2026-01-23", "2026-01-23"),
    ],
)
def test_clocks_of_the_laws(regime: str, kind: str, received: str, due: str, extended: str) -> None:
    clock, start = statutory_clock(regime, kind), datetime.fromisoformat(f"{received}T09:00:00+00:00")
    for wanted, longer in ((due, False), (extended, True)):
        found = clock.due(start, verified_at=None, extended=longer)
        assert found is not None
        assert found.isoformat() == f"{wanted}T09:00:00+00:00"


def test_another_law_is_another_line_of_the_file(tmp_path: Path) -> None:
    text = (schemas() / clocks.FILE).read_text("utf-8")
    new = (
        "  - {regime: LGPD, kinds: [access], period: P15D, law: 'Art. 19 LGPD', pausedUntilVerified: true}\n"
    )
    path = tmp_path / "clocks.yaml"
    path.write_text(text + new)
    clock = load_clocks(path)["LGPD", "access"]
    assert clock.due(START, verified_at=None, extended=False) is None
    assert clock.due(START, verified_at=START + timedelta(days=2), extended=True) == START + timedelta(
        days=17
    )
    for number, damage in enumerate(("period: 15 days", "period: P0D", "regime: [", "kinds: access")):
        bad = tmp_path / f"bad-{number}.yaml"
        bad.write_text(text + new.replace(f"{damage.split(':')[0]}:", f"{damage} #", 1))
        with pytest.raises(SettingError, match="GOV-901"):
            load_clocks(bad)
    with pytest.raises(SettingError, match="GOV-901"):
        statutory_clock("LGPD", "access")


def test_from_receipt_to_decision() -> None:
    office = Office(
        LegalHold("HGB", "§ 257", (), ("customer",), None),
        LegalHold("HGB", "other people's", (), ("patient",), None),
        LegalHold("HGB", "over", (), (), START.date() - timedelta(days=1)),
    )
    office.open(kind="erasure")
    office.now += timedelta(days=20)
    assert check_identity(office, "DSR-1", "verified", method="portal login", by="dpo").identity == "verified"  # type: ignore[arg-type]
    extended = extend(office, "DSR-1", reason="many requests", by="dpo")  # type: ignore[arg-type]
    assert extended.due_at() == datetime(2026, 4, 28, 12, tzinfo=UTC)
    office.now += timedelta(days=30)
    done = decide(office, "DSR-1", "partly-granted", reason="tax records stay", evidence=["log:7"], by="dpo")  # type: ignore[arg-type]
    assert [hold["ground"] for hold in done.holds] == ["§ 257"]
    said = request_named(office.log, "DSR-1").to_json(office.now + timedelta(days=999))
    assert (said["overdue"], said["days_left"], said["evidence"]) == (False, None, ["log:7"])
    assert [step["step"] for step in done.steps] == ["opened", "identity", "extended", "decided"]
    assert read_requests(office.log) == read_requests(office.log)


def test_what_is_late_is_overdue_and_cannot_be_extended_any_more() -> None:
    office = Office()
    office.open()
    office.now = datetime(2026, 2, 28, 12, tzinfo=UTC)
    assert not request_named(office.log, "DSR-1").overdue(office.now)
    office.now += timedelta(seconds=1)
    assert request_named(office.log, "DSR-1").overdue(office.now)
    with pytest.raises(AccessError, match="GOV-607"):
        extend(office, "DSR-1", reason="too late", by="dpo")  # type: ignore[arg-type]
    check_identity(office, "DSR-1", "verified", method="letter", by="dpo")  # type: ignore[arg-type]
    decide(office, "DSR-1", "granted", reason="late", evidence=[], by="dpo")  # type: ignore[arg-type]
    assert request_named(office.log, "DSR-1").to_json(office.now)["overdue"]


def test_steps_that_do_not_fit_are_refused_and_write_nothing() -> None:
    office = Office()
    office.open()
    office.open("DSR-2", "opt-out", "CCPA")
    before = len(office.log.kept)
    refused: list[Any] = [
        lambda: office.open(),
        lambda: office.open("DSR 3"),
        lambda: office.open("x" * 65),
        lambda: open_request(office, "F", kind="access", regime="GDPR", domain="c", by="d",
                             received_at=START + timedelta(days=1)),  # type: ignore[arg-type]
        lambda: decide(office, "DSR-1", "granted", reason="r", evidence=[], by="d"),  # type: ignore[arg-type]
        lambda: decide(office, "DSR-1", "perhaps", reason="r", evidence=[], by="d"),  # type: ignore[arg-type]
        lambda: decide(office, "DSR-1", "refused", reason=" ", evidence=[], by="d"),  # type: ignore[arg-type]
        lambda: decide(office, "DSR-1", "refused", reason="r", evidence=["a b"], by="d"),  # type: ignore[arg-type]
        lambda: extend(office, "DSR-2", reason="r", by="d"),  # type: ignore[arg-type]
        lambda: check_identity(office, "DSR-9", "verified", method="m", by="d"),  # type: ignore[arg-type]
        lambda: check_identity(office, "DSR-1", "verified", method="two\nlines", by="d"),  # type: ignore[arg-type]
    ]  # fmt: skip
    for each in refused:
        with pytest.raises(AccessError, match="GOV-607"):
            each()
    with pytest.raises(SettingError, match="GOV-901"):
        office.open("DSR-4", "access", "PIPL")
    assert len(office.log.kept) == before
    # An opt-out needs no check of who asks (Cal. Code Regs. tit. 11, 7060(b)).
    decide(office, "DSR-2", "granted", reason="opted out", evidence=[], by="d")  # type: ignore[arg-type]


def test_two_writers_at_once_leave_one_decision_and_a_conflict_that_shows() -> None:
    office = Office()
    office.open(kind="erasure")
    step = {"v": 1, "request": "DSR-1", "step": "decided", "at": "2026-02-01T00:00:00Z", "by": "x",
            "reason": "r", "evidence": [], "holds": []}  # fmt: skip
    for decision in ("refused", "granted"):
        office.append_json({**step, "decision": decision}, REQUEST)
    office.append_json({**step, "request": "nobody's", "decision": "granted"}, REQUEST)
    [found] = read_requests(office.log).values()
    assert (found.decision, found.conflicting) == ("refused", 1)


def test_receipt_is_confirmed_and_others_are_told_also_after_the_decision() -> None:
    office = Office()
    open_request(
        office, "CA-1", kind="erasure", regime="CCPA", domain="customer", by="dpo", manner="web form"
    )  # type: ignore[arg-type]
    assert statutory_clock("CCPA", "erasure").confirm_by(START) == datetime(2026, 2, 13, 12, tzinfo=UTC)
    assert statutory_clock("CCPA", "opt-out").confirm_by(START) is None
    assert confirm(office, "CA-1", by="dpo").confirmed_at == START  # type: ignore[arg-type]
    check_identity(office, "CA-1", "verified", method="letter", by="dpo")  # type: ignore[arg-type]
    decide(office, "CA-1", "granted", reason="1798.105(a)", evidence=[], by="dpo")  # type: ignore[arg-type]
    tell(office, "CA-1", "quayside-cloud", "service-provider", by="dpo")  # type: ignore[arg-type]
    done = tell(office, "CA-1", "adbroker", "third-party", impossible="it no longer exists", by="dpo")  # type: ignore[arg-type]
    assert (done.manner, done.conflicting, done.reason) == ("web form", 0, "1798.105(a)")
    assert [each["impossible"] for each in done.to_json(office.now)["told"]] == [None, "it no longer exists"]
    with pytest.raises(AccessError, match="GOV-607"):
        confirm(office, "CA-1", by="dpo")  # type: ignore[arg-type]
    with pytest.raises(AccessError, match="GOV-607"):
        tell(office, "CA-1", "x", "friend", by="dpo")  # type: ignore[arg-type]
