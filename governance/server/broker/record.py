"""Grants in the log: every grant, release, signature, refusal and end is a leaf before its effect is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

from governance.keys.signing import Ed25519Signer
from governance.lineage.facets import GovernanceKeyGrantRunFacet
from governance.lineage.naming import as_sent, facet_key
from governance.lineage.signatures import sign, statement
from governance.lineage.transport import LogConfig, LogTransport
from governance.log import GroupCommit, NewEntry
from governance.model.canonical import timestamp
from governance.model.evidence import Stage
from governance.pipeline.workspace import PRODUCER

BROKER = "evidence:broker"
"""The principal of what the broker appends."""


class _Grouped:
    def __init__(self, group: GroupCommit) -> None:
        self._group = group

    def append(self, entries: Sequence[NewEntry]) -> list[int]:
        return self._group.submit(entries).result()


class GrantRecord:
    """Appends evidence of stage ``key_grant``, signed by the evidence key, on an event of the grant's own run."""

    def __init__(
        self,
        group: GroupCommit,
        signer: Callable[[], Ed25519Signer],
        namespace: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._transport = LogTransport(LogConfig(store="", principal=BROKER), _Grouped(group))
        self._signer = signer
        self._namespace = namespace
        self._clock = clock

    def append(self, run_id: str, context: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Return when it is durable.

        Args:
            run_id: the grant's id, a UUID; a refusal without a grant has one of its own.

        Raises:
            LogError: it was not durably appended.
        """
        stage = Stage.KEY_GRANT.value
        context, facts = as_sent(context), as_sent(facts)
        signed = statement(
            stage=stage, context=context, facts=facts, openlineage_run_id=run_id, inputs=[], outputs=[]
        )
        facet_class: Any = GovernanceKeyGrantRunFacet
        facet = facet_class(
            stage=stage,
            context=context,
            facts=facts,
            signature=sign(signed, self._signer()),
            producer=PRODUCER,
        )
        dataset = context.get("dataset")
        event = RunEvent(
            # A grant is over for lineage when it was made: nothing reports when its holder is done with it.
            eventType=RunState.COMPLETE if facts["state"] in ("granted", "refused") else RunState.OTHER,
            eventTime=timestamp(self._clock()),
            producer=PRODUCER,
            run=Run(run_id, facets={facet_key(Stage.KEY_GRANT): facet}),
            job=Job(self._namespace, f"{dataset}.keys" if dataset else "keys"),
            inputs=[],
            outputs=[],
        )
        self._transport.emit(event)
