"""A pass in one process keeps things from stage to stage; what comes out is what separate processes give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from governed_home import DATASETS, Home

from governance.errors import SourceError
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.manifest import draft_manifest
from governance.pipeline.memory import KeptSource, PassMemory, ResolvedSubjects, digest_of
from governance.pipeline.protect import protect
from governance.pipeline.step import RunContext
from governance.protect import open_version

_OF_ONE_ATTEMPT = {"segments", "quarantine", "instant"}


def _taken(context: RunContext) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    facts = [step(context) for step in (classify, consent, protect)]
    keys = context.workspace.keyring
    rows = pa.Table.from_batches(open_version(context.storage, draft_manifest(context), keys.segment_key))
    return [{k: v for k, v in each.items() if k not in _OF_ONE_ATTEMPT} for each in facts], rows.to_pylist()


@pytest.mark.parametrize("dataset", DATASETS)
def test_with_and_without_memory_the_facts_and_the_rows_are_the_same(released: Home, dataset: str) -> None:
    apart, together = released.open(dataset), replace(released.open(dataset), memory=PassMemory())
    assert _taken(together) == _taken(apart)


def test_a_small_source_is_read_once_and_let_go_of(home: Home) -> None:
    context = replace(home.open("customer_profiles"), memory=PassMemory())
    classify(context)
    source = home.source("customer_profiles")
    source.rename(source.with_suffix(".gone"))
    consent(context)
    protect(context)
    assert context.memory is not None
    assert context.memory.source.kept(None) is None
    with pytest.raises(SourceError):
        next(iter(context.read_source("again")))


def _batches() -> Iterator[pa.RecordBatch]:
    for start in range(3):
        yield pa.RecordBatch.from_pydict({"a": np.arange(start, start + 100), "b": ["x"] * 100})


def test_a_source_is_kept_whole_or_not_at_all() -> None:
    source = KeptSource()
    assert source.kept(None) is None
    reading = source.keeping(_batches())
    next(reading)
    reading.close()
    assert source.kept(None) is None
    assert list(source.keeping(_batches())) == list(_batches())
    kept = source.kept(["b"])
    assert kept is not None
    assert [b.schema.names for b in kept] == [["b"]] * 3
    small = KeptSource(limit=2_000)
    assert list(small.keeping(_batches())) == list(_batches())
    assert small.kept(None) is None


def test_subjects_are_found_again_by_their_values_alone() -> None:
    resolved = ResolvedSubjects(limit=5)
    values = pa.array(["ä", None, "bc"])
    digest = digest_of(values)
    assert digest is not None
    resolved.keep(7, digest, np.array([3, -1, 8]))
    found = resolved.of(7, digest)
    assert found is not None
    assert found.tolist() == [3, -1, 8]
    assert digest_of(pa.array(["x", "ä", None, "bc"]).slice(1)) == digest
    others = (["ä", "", "bc"], ["äb", None, "c"], ["bc", None, "ä"], ["ä", None, "bc", None])
    assert digest not in [digest_of(pa.array(each)) for each in others]
    assert digest != digest_of(values.cast(pa.large_string()))
    assert resolved.of(8, digest) is None
    numbers = pa.array([1, 2, None, 4], pa.int32())
    assert digest_of(numbers.slice(1)) == digest_of(pa.array([2, None, 4], pa.int32()))
    assert digest_of(numbers) not in (digest_of(numbers.cast(pa.int64())), digest_of(numbers.slice(0, 3)))
    assert digest_of(pa.array([1.5])) is None
    resolved.keep(7, b"more than there is room for", np.arange(3))
    assert resolved.of(7, b"more than there is room for") is None
