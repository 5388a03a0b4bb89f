"""Suspensions of an accounting: who may ask, for how long, and that none is overlooked."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from test_requests import START, Office

from governance.errors import AccessError
from governance.rights.requests import check_identity, decide, open_request, request_named
from governance.rights.suspensions import suspend_accounting, suspended_recipients

AGENCY = "state-oversight"


@pytest.fixture
def office() -> Any:
    office = Office()
    roles = {AGENCY: "health_oversight", "sheriff": "law_enforcement", "northlake": "research"}
    recipients = {name: SimpleNamespace(hipaa_role=role) for name, role in roles.items()}
    office.policy = SimpleNamespace(legal_holds=(), recipients=recipients)
    for name, kind in (("ACC-1", "accounting"), ("ACC-2", "accounting"), ("ACC-3", "access")):
        open_request(office, name, kind=kind, regime="HIPAA", domain="patient", by="clerk")  # type: ignore[arg-type]
    return office


def days(number: int) -> Any:
    return START + timedelta(days=number)


def test_it_holds_for_its_request_until_it_ends(office: Any) -> None:
    suspend_accounting(office, "ACC-1", AGENCY, until=days(90), written=True, by="clerk")
    suspend_accounting(office, "ACC-1", "sheriff", until=days(20), written=False, by="clerk")
    assert set(suspended_recipients(office.log, days(1), "ACC-1")) == {AGENCY, "sheriff"}
    assert set(suspended_recipients(office.log, days(21), "ACC-1")) == {AGENCY}
    assert suspended_recipients(office.log, days(91), "ACC-1") == {}
    assert suspended_recipients(office.log, days(1), "ACC-2") == {}
    assert request_named(office.log, "ACC-1").conflicting == 0


def test_no_accounting_is_made_past_one_that_may_be_about_it(office: Any) -> None:
    assert suspended_recipients(office.log, START, None) == {}
    suspend_accounting(office, "ACC-1", AGENCY, until=days(90), written=True, by="clerk")
    with pytest.raises(AccessError, match="no request is named") as refused:
        suspended_recipients(office.log, days(1), None)
    assert refused.value.code == "GOV-607"
    assert suspended_recipients(office.log, days(90), None) == {}


@pytest.mark.parametrize(
    ("request_name", "recipient", "until", "written", "says"),
    [
        ("ACC-3", AGENCY, 30, True, "no accounting"),
        ("ACC-9", AGENCY, 30, True, "no request"),
        ("ACC-1", "northlake", 30, True, "no health oversight"),
        ("ACC-1", "nobody", 30, True, "no health oversight"),
        ("ACC-1", AGENCY, 31, False, "30 days"),
        ("ACC-1", AGENCY, 0, True, "time ahead"),
    ],
)
def test_what_the_law_does_not_allow_is_refused(
    office: Any, request_name: str, recipient: str, until: int, written: bool, says: str
) -> None:
    with pytest.raises(AccessError, match=says) as refused:
        suspend_accounting(office, request_name, recipient, until=days(until), written=written, by="clerk")
    assert refused.value.code == "GOV-607"


def test_a_decided_request_is_not_suspended(office: Any) -> None:
    check_identity(office, "ACC-1", "verified", method="portal", by="clerk")
    decide(office, "ACC-1", "granted", reason="164.528", evidence=[], by="clerk")
    with pytest.raises(AccessError, match="is decided"):
        suspend_accounting(office, "ACC-1", AGENCY, until=days(9), written=True, by="clerk")


def test_the_clock_of_an_accounting_is_sixty_days(office: Any) -> None:
    assert request_named(office.log, "ACC-1").due_at() == days(60)
