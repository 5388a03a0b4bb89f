"""Statutory clocks as Airflow deadlines: a DAG that answers a request knows until when the law lets it.

    with DAG("subject_erasure", deadline=statutory_deadline("gdpr-request"), …):

A clock that runs out is stated in the log, whoever looks at Airflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from governance.errors import SettingError

if TYPE_CHECKING:
    from airflow.sdk.definitions.deadline import DeadlineAlert

CLOCK = "application/vnd.governance.clock+json"
"""The log's media type of a clock that ran out."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A period that a law sets. ``law`` names the provision, ``due`` tells from when it began when it ends."""

    regime: str
    law: str
    due: Callable[[datetime], datetime]

    @property
    def shortest(self) -> timedelta:
        """The least that it lasts, whenever it begins: a calendar month is 28 days at least."""
        year = datetime(2025, 1, 1, tzinfo=UTC)
        days = [year + timedelta(days=day) for day in range(365)]
        return min(self.due(day) - day for day in days)


REQUESTS: Mapping[str, str] = MappingProxyType({"gdpr-request": "gdpr-access", "ccpa-request": "ccpa-access"})
"""Requests of which all kinds have one clock, by the kind that stands for them."""

BREACHES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"gdpr-breach": ("GDPR", "GDPR Art. 33(1)"), "hipaa-breach": ("HIPAA", "45 CFR 164.404(b)")}
)
"""Regime and provision of the clocks of a breach."""


def clock_named(name: str) -> Clock:
    """A clock of a breach, or ``REGIME-KIND`` of a request, as ``statutory-clocks.yaml`` has it, without extensions:
    those are for people to grant.

    Raises:
        SettingError: GOV-901 for an unknown one.
    """
    if name in BREACHES:
        from governance.audit.breach.law import CLOCKS

        regime, provision = BREACHES[name]
        [period] = [lasts for law, _, _, lasts in CLOCKS if law == provision and lasts is not None]
        return Clock(regime, provision, lambda began: began + period)
    from governance.model.clocks import statutory_clock

    regime, _, kind = REQUESTS.get(name, name).partition("-")
    found = statutory_clock(regime.upper(), kind)

    def due(began: datetime) -> datetime:
        ends = found.due(began, verified_at=began, extended=False)
        assert ends is not None  # noqa: S101 - it waits for nobody who is verified
        return ends

    return Clock(found.regime, found.law, due)


def statutory_deadline(
    clock: str, *, received_at: datetime | None = None, before: timedelta = timedelta(0)
) -> DeadlineAlert:
    """A deadline for a DAG's run.

    Args:
        clock: as :func:`clock_named`.
        received_at: when the period began, aware; by default when the run was queued.
        before: warn so long before the period ends.

    Raises:
        SettingError: GOV-901 for an unknown clock, a time without a zone, or a warning before the period began.
    """
    from airflow.sdk.definitions.callback import SyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    known = clock_named(clock)
    aware = received_at is None or received_at.tzinfo is not None
    ends_after = known.due(received_at) - received_at if received_at and aware else known.shortest
    interval = ends_after - before
    if interval <= timedelta(0) or not aware:
        raise SettingError(
            "GOV-901",
            "a deadline ends after it began, and says in which zone that was",
            "give an aware `received_at`, and a `before` shorter than the period",
        )
    began = (
        DeadlineReference.DAGRUN_QUEUED_AT
        if received_at is None
        else DeadlineReference.FIXED_DATETIME(received_at)
    )
    callback = SyncCallback("governance.airflow.deadlines.ran_out", {"clock": clock})
    return DeadlineAlert(began, interval, callback, name=clock)


def ran_out(clock: str, context: Any = None) -> None:
    """State in the log that a clock ran out: which, by what law, for which DAG run."""
    from governance.airflow.connections import airflow_settings
    from governance.model.canonical import timestamp
    from governance.pipeline.workspace import PIPELINE, Workspace

    said, known = context or {}, clock_named(clock)
    run, deadline = said.get("dag_run") or {}, said.get("deadline") or {}
    workspace = Workspace.open(airflow_settings())
    try:
        stated = {
            "clock": clock,
            "regime": known.regime,
            "law": known.law,
            "dag_id": _of(run, "dag_id"),
            "run_id": _of(run, "run_id") or _of(run, "dag_run_id"),
            "deadline": _of(deadline, "deadline_time"),
            "noted_at": timestamp(workspace.clock()),
        }
        workspace.append_json(stated, CLOCK, PIPELINE)
        workspace.log.checkpoint()
    finally:
        workspace.close()


def _of(given: Any, name: str) -> str | None:
    found = given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
    if isinstance(found, datetime):
        return found.astimezone(UTC).isoformat()
    return None if found is None else str(found)
