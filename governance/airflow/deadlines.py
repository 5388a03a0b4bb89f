"""Statutory clocks as Airflow deadlines: a DAG that answers a request knows until when the law lets it.

    with DAG("subject_erasure", deadline=statutory_deadline("gdpr-request"), …):

A clock that runs out is stated in the log, whoever looks at Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """A period that a law sets. ``law`` names the provision, ``stated`` is the period in its words."""

    regime: str
    law: str
    stated: str
    period: timedelta


# A calendar month is 28 days at least (Regulation 1182/71, Art. 3(2)(c)); a fixed interval has to be the shortest.
CLOCKS: Mapping[str, Clock] = MappingProxyType(
    {
        "gdpr-request": Clock("GDPR", "Art. 12(3) GDPR", "one month of receipt", timedelta(days=28)),
        "gdpr-breach": Clock("GDPR", "Art. 33(1) GDPR", "72 hours of becoming aware", timedelta(hours=72)),
        "hipaa-access": Clock("HIPAA", "45 CFR 164.524(b)(2)", "30 days of receipt", timedelta(days=30)),
        "hipaa-accounting": Clock("HIPAA", "45 CFR 164.528(c)(1)", "60 days of receipt", timedelta(days=60)),
        "hipaa-breach": Clock("HIPAA", "45 CFR 164.404(b)", "60 days of discovery", timedelta(days=60)),
        "ccpa-request": Clock(
            "CCPA", "Cal. Civ. Code 1798.130(a)(2)", "45 days of receipt", timedelta(days=45)
        ),
    }
)
"""The clocks by name. Extensions that a law allows are for people to grant, and are not in them."""


def statutory_deadline(
    clock: str, *, received_at: datetime | None = None, before: timedelta = timedelta(0)
) -> DeadlineAlert:
    """A deadline for a DAG's run.

    Args:
        clock: a name of :data:`CLOCKS`.
        received_at: when the period began, aware; by default when the run was queued.
        before: warn so long before the period ends.

    Raises:
        SettingError: GOV-901 for an unknown clock, a time without a zone, or a warning before the period began.
    """
    from airflow.sdk.definitions.callback import SyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    if clock not in CLOCKS:
        raise SettingError(
            "GOV-901", f"there is no statutory clock {clock!r}", f"use one of {', '.join(sorted(CLOCKS))}"
        )
    interval = CLOCKS[clock].period - before
    if interval <= timedelta(0) or (received_at is not None and received_at.tzinfo is None):
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

    said = context or {}
    run, deadline = said.get("dag_run") or {}, said.get("deadline") or {}
    workspace = Workspace.open(airflow_settings())
    try:
        stated = {
            "clock": clock,
            "regime": CLOCKS[clock].regime,
            "law": CLOCKS[clock].law,
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
