"""Calendar periods of retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.contracts import load_policy
from governance.model.resources import schemas
from governance.model.retention import Period, Retention


@pytest.mark.parametrize(
    ("period", "instant", "before"),
    [
        ("P6Y", "2026-11-24T10:00:00+00:00", "2020-11-24T10:00:00+00:00"),
        ("P1Y", "2024-02-29T00:00:00+00:00", "2023-02-28T00:00:00+00:00"),
        ("P18M", "2026-03-31T00:00:00+00:00", "2024-09-30T00:00:00+00:00"),
        ("P90D", "2026-03-31T00:00:00+00:00", "2025-12-31T00:00:00+00:00"),
        ("P1Y1M1D", "2026-01-01T00:00:00+00:00", "2024-11-30T00:00:00+00:00"),
    ],
)
def test_a_period_is_taken_from_the_calendar(period: str, instant: str, before: str) -> None:
    found = Period.parse(period)
    assert found.before(datetime.fromisoformat(instant)) == datetime.fromisoformat(before)
    assert str(found) == period


@pytest.mark.parametrize(
    "text", ["", "P", "6Y", "P0Y", "P-1Y", "P6W", "PT6H", "P1.5Y", "p6y", "P6Y ", "P1D1Y", "P٦Y"]
)
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match="period"):
        Period.parse(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 999), st.datetimes(datetime(1990, 1, 1)))
def test_nothing_younger_than_a_period_is_before_it(
    years: int, months: int, days: int, instant: datetime
) -> None:
    before = Period(years, months, days).before(instant.replace(tzinfo=UTC, year=min(instant.year, 9000)))
    least = timedelta(days=years * 365 + months * 28 + days)
    assert instant.replace(tzinfo=UTC, year=min(instant.year, 9000)) - before >= least


def test_the_example_policy_says_how_long() -> None:
    policy = load_policy(schemas() / "examples" / "policy.yaml")
    assert policy.retention == (
        Retention("HIPAA", Period(years=6), None),
        Retention("GDPR", None, Period(years=10)),
    )
