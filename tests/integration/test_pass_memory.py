"""A pass in one process keeps things from stage to stage; what comes out is what separate processes give."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from governed_home import DATASETS, Home

from governance.errors import SourceError
from governance.model.dataset import Segment
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.ledger import import_consent
from governance.pipeline.manifest import draft_manifest
from governance.pipeline.membership import index_segments, seal_members, subject_columns
from governance.pipeline.memory import KeptSource, PassMemory, ReadSubjects, ResolvedSubjects, digest_of
from governance.pipeline.noticing import handed_over
from governance.pipeline.pointer import released_contract
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


def test_another_process_redacts_by_what_classification_left_and_whatever_does_not_fit_is_passed_over(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = home.open("support_prompts")
    classify(context)
    consent(context)
    left = home.root("support_prompts") / context.reference.folder / "noticed" / "texts.sealed"
    sealed = left.read_bytes()
    assert b"detectors" not in sealed
    assert b"combinations" not in sealed
    assert handed_over(home.again(context)) is not None

    left.write_bytes(bytes([sealed[0] ^ 1]) + sealed[1:])
    assert handed_over(home.again(context)) is None
    left.write_bytes(sealed)
    with monkeypatch.context() as other:
        other.setattr("governance.pipeline.noticing.installed", lambda _: "another release")
        assert handed_over(home.again(context)) is None
    elsewhere = home.open("support_prompts")
    assert handed_over(elsewhere) is None

    assert len(keys_of(home, "noticed")) == 1
    protect(home.again(context))
    assert not left.exists()
    assert keys_of(home, "noticed") == []


def keys_of(home: Home, use: str) -> list[str]:
    with contextlib.closing(sqlite3.connect(home.path / "keys" / "keys.sqlite")) as connection:
        return [row[0] for row in connection.execute("SELECT key_id FROM keys WHERE sensitivity = ?", (use,))]


def test_where_one_process_does_it_all_nothing_of_it_is_written(home: Home) -> None:
    context = replace(home.open("support_prompts"), memory=PassMemory())
    classify(context)
    assert not [path for path in context.storage.list(context.reference.folder) if "noticed" in path]


def test_what_segments_hold_is_kept_for_the_population_that_only_grew() -> None:
    segment = Segment("v1-aa", {}, 3, (), {})
    seen = np.array([True, False, True])
    members = ReadSubjects(limit=1)
    members.keep(segment, seen)
    found = members.of(segment, 5)
    assert found is not None
    assert found.tolist() == [True, False, True, False, False]
    assert members.of(segment, 2) is None
    other = replace(segment, segment_id="v1-bb")
    members.keep(other, seen)
    assert members.of(other, 3) is None


def test_release_indexes_the_members_that_a_reading_of_the_files_gives(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes] = []

    def sealed(pseudonyms: np.ndarray, key: bytes, bound: str) -> bytes:
        given.append(np.unique(pseudonyms, axis=0).tobytes())
        return seal_members(pseudonyms, key, bound)

    monkeypatch.setattr("governance.pipeline.membership.seal_members", sealed)
    home.run("customer_profiles")
    [kept] = given
    workspace, manifest = home.workspace(), home.manifest("customer_profiles")
    index_segments(
        workspace,
        workspace.dataset_storage("customer_profiles"),
        released_contract(workspace, manifest),
        subject_columns(manifest),
        list(manifest.segments),
    )
    assert given[1] == kept != b""


def test_a_large_import_publishes_the_index_that_the_next_run_decides_by(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("governance.pipeline.ledger", "governance.consent.views"):
        monkeypatch.setattr(f"{module}.PUBLISH_ABOVE", 0)
    records = tmp_path / "records.csv"
    records.write_text(
        "record_id,domain,subject_id,purpose,action,valid_from,collected_at\n"
        "r1,customer,new-1,model_training,grant,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z\n"
        "r2,customer,new-2,model_training,grant,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z\n"
    )
    import_consent(home.workspace(), records)
    published = {path.name for path in (home.path / "consent" / "index").iterdir()}
    assert published
    consent(_classified(home))
    assert {path.name for path in (home.path / "consent" / "index").iterdir()} == published


def _classified(home: Home) -> RunContext:
    context = home.open("customer_profiles")
    classify(context)
    return context


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
