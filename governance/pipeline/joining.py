"""Puts a version onto what is released now, where another run released beside it since it was made."""

from __future__ import annotations

from datetime import datetime

from governance.model.evidence import Stage
from governance.pipeline.manifest import segments_of
from governance.pipeline.protect import protect
from governance.pipeline.standing import (
    DECIDED_ON,
    VALIDATED_ON,
    Settled,
    may_join,
    present,
    require_own_partitions,
    settled,
    stood_on,
)
from governance.pipeline.step import RunContext
from governance.pipeline.validate import validate

TURNS = 16
"""How often a release gives way to others before it is left to the task's next try."""


def join(context: RunContext) -> Settled | datetime | None:
    """Decide and read back again what the version now carries, as far as that was not done.

    Returns:
        when nobody in what is carried was denied: as :func:`settled`, or the run's opening where each row was decided
        by the run itself. ``None`` for a version that carries nothing or may stand on nothing else than its run did.

    Raises:
        StorageError: GOV-721 for a partition that another run wrote, GOV-741 before protect and validate ran.
        What these raise.
    """
    facts = context.facts(Stage.PROTECT)
    context.facts(Stage.VALIDATE)
    if not may_join(context):
        return None
    released = present(context)
    written = {tuple(sorted(s.partition.items())) for s in segments_of(facts["segments"])}
    require_own_partitions(context, released, written)
    if released is None:
        return context.run.opened_at
    found = settled(context, released)
    decided = stood_on(context, DECIDED_ON, released, facts.get("carried", ()))
    if not decided and (found is None or facts.get("carried")):
        facts = protect(context)
        decided = stood_on(context, DECIDED_ON, released, facts.get("carried", ()))
    # An earlier try may have been killed in between.
    newer = context.log_index(Stage.PROTECT) > context.log_index(Stage.VALIDATE)
    if newer or not stood_on(context, VALIDATED_ON, released):
        validate(context)
    return context.run.opened_at if decided else found
