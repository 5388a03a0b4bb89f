"""A log, two keys, and the facts of every stage as the pipeline states them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from lineage_samples import CONTEXT, PRODUCER, MemoryLog, facts_of

from governance.lineage.recorder import OpenLineageRecorder
from governance.model.evidence import Evidence, Stage, StageRecord
from tests.signing_key import Key, new_key


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def root_key() -> Key:
    return new_key()


@pytest.fixture
def run_key() -> Key:
    return new_key()


@pytest.fixture
def clock() -> Callable[[], datetime]:
    seconds = iter(range(10_000))
    return lambda: datetime(2026, 11, 24, 10, tzinfo=UTC) + timedelta(seconds=next(seconds))


@pytest.fixture
def recorder(log: MemoryLog, clock: Callable[[], datetime]) -> OpenLineageRecorder:
    from governance.lineage import openlineage_run_id

    return OpenLineageRecorder(
        log,
        producer=PRODUCER,
        namespace="governance",
        job=lambda stage: f"clinical_encounters.{stage.value}",
        run_id=lambda stage: openlineage_run_id(
            namespace="governance",
            dataset="clinical_encounters",
            run_id="r1",
            map_index=-1,
            stage=stage.value,
            attempt="a1",
        ),
        lifecycle=True,
        clock=clock,
    )


@pytest.fixture
def evidence(run_key: Key) -> Callable[[Stage], StageRecord]:
    return lambda stage, **lineage: StageRecord(
        Evidence(stage, facts_of(stage, run_key.public_key)), CONTEXT, **lineage
    )
