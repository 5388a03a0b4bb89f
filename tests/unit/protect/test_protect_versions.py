"""Manifests and the versions read through them: nothing altered, swapped, dropped or added passes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protect_support import COLUMNS, MemoryKeys, TestSigner, make_plan, people

from governance.errors import ProtectionError, StorageError
from governance.model.canonical import canonical, digest
from governance.model.contract import LoadMode
from governance.model.dataset import Manifest, Segment
from governance.model.run import OpenedRun
from governance.protect import (
    RewriteResult,
    build_manifest,
    carried_segments,
    load_manifest,
    open_version,
    rewrite,
    sign_manifest,
    unsealed_files,
)
from governance.protect.manifest import pre_authentication_encoding
from governance.protect.types import schema_of, type_of_text
from governance.storage.file import FileStorage


def manifest_of(
    run: OpenedRun, result: RewriteResult, *, segments: tuple[Segment, ...] | None = None
) -> Manifest:
    return build_manifest(
        run,
        segments=result.segments if segments is None else segments,
        schema=[{"name": f.name, "type": str(f.type)} for f in result.schema],
        columns=[
            {"name": c.name, "classification": c.classification, "sensitivity": c.sensitivity}
            for c in COLUMNS
        ],
        counts={"rows_in": result.rows_in, "rows_out": result.rows_out},
        checkpoint=None,
    )


@pytest.fixture
def result(storage: FileStorage, keys: MemoryKeys) -> RewriteResult:
    return rewrite([people(300)], make_plan(), storage=storage, keys=keys)


@pytest.fixture
def manifest(run: OpenedRun, result: RewriteResult) -> Manifest:
    return manifest_of(run, result)


def read(storage: FileStorage, manifest: Manifest, keys: MemoryKeys, **options: Any) -> pa.Table:
    return pa.Table.from_batches(
        open_version(storage, manifest, keys.segment_key, **options), schema_of(manifest.body["schema"])
    )


def test_pae_is_the_specification_s_example() -> None:
    assert (
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_signed_manifest_comes_back(manifest: Manifest, signer: TestSigner) -> None:
    envelope = sign_manifest(manifest, signer)
    loaded = load_manifest(envelope, signer.public_key, dataset="clinical", version=manifest.version)
    assert loaded == manifest
    assert loaded.digest == digest(canonical(manifest.body))
    assert sign_manifest(loaded, signer) == envelope


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_byte_of_an_envelope_can_change(
    manifest: Manifest, signer: TestSigner, data: st.DataObject
) -> None:
    envelope = sign_manifest(manifest, signer)
    offset = data.draw(st.integers(0, len(envelope) - 1))
    bit = data.draw(st.integers(0, 7))
    altered = bytearray(envelope)
    altered[offset] ^= 1 << bit
    with pytest.raises(StorageError) as caught:
        load_manifest(bytes(altered), signer.public_key)
    assert caught.value.code == "GOV-722"


def test_another_key_dataset_version_or_digest_is_refused(manifest: Manifest, signer: TestSigner) -> None:
    envelope = sign_manifest(manifest, signer)
    for key, wanted in (
        (TestSigner().public_key, {}),
        (signer.public_key, {"dataset": "customers"}),
        (signer.public_key, {"version": "v0"}),
        (signer.public_key, {"expected_digest": "sha256:" + "0" * 64}),
    ):
        with pytest.raises(StorageError) as caught:
            load_manifest(envelope, key, **wanted)
        assert caught.value.code == "GOV-722"


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"\xff", b'{"payload":1}', b"[" * 100_000])
def test_junk_is_refused(junk: bytes, signer: TestSigner) -> None:
    with pytest.raises(StorageError) as caught:
        load_manifest(junk, signer.public_key)
    assert caught.value.code == "GOV-722"


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["segments"][0]["files"][0].update(path="segments/../../etc/passwd"),
        lambda body: body["segments"][0]["files"][0].update(path="/etc/passwd"),
        lambda body: body["segments"][0]["files"][0].update(digest="md5:1"),
        lambda body: body["segments"][0].pop("rows"),
        lambda body: body["segments"][0].update(rows="1"),
        lambda body: body["segments"].append(body["segments"][0]),
        lambda body: body.pop("schema"),
        lambda body: body.update(v=2),
        lambda body: body.update(version="v1"),
    ],
)
def test_a_signed_body_of_another_form_is_refused(
    manifest: Manifest, signer: TestSigner, change: Any
) -> None:
    body = json.loads(canonical(manifest.body))
    change(body)
    forged = dataclasses.replace(manifest, body=body)
    with pytest.raises(StorageError) as caught:
        load_manifest(sign_manifest(forged, signer), signer.public_key)
    assert caught.value.code == "GOV-722"


def test_a_version_reads_back(storage: FileStorage, keys: MemoryKeys, manifest: Manifest) -> None:
    table = read(storage, manifest, keys)
    assert table.num_rows == sum(s.rows for s in manifest.segments)
    assert table.column_names == ["person", "email", "birth_year", "age", "zip3", "state"]
    assert unsealed_files(storage, manifest) == ()
    some = pa.Table.from_batches(open_version(storage, manifest, keys.segment_key, ["state", "age"]))
    assert some.column_names == ["state", "age"]
    assert some.equals(table.select(["state", "age"]))


def test_every_flipped_bit_is_refused(storage: FileStorage, keys: MemoryKeys, manifest: Manifest) -> None:
    for file in manifest.segments[0].files:
        path = Path(storage.path(file.path))
        original = path.read_bytes()
        for offset in range(0, len(original), max(len(original) // 120, 1)):
            path.write_bytes(
                original[:offset] + bytes([original[offset] ^ 1 << offset % 8]) + original[offset + 1 :]
            )
            with pytest.raises(StorageError) as caught:
                open_version(storage, manifest, keys.segment_key)
            assert caught.value.code == "GOV-723"
            assert file.path in caught.value.message
        path.write_bytes(original)
    read(storage, manifest, keys)


def test_dropped_added_truncated_and_grown_files_are_refused(
    storage: FileStorage, keys: MemoryKeys, manifest: Manifest
) -> None:
    for file in manifest.segments[0].files:
        path = Path(storage.path(file.path))
        original = path.read_bytes()
        for bytes_ in (None, original[:-1], original + b"\0", b""):
            if bytes_ is None:
                path.unlink()
            else:
                path.write_bytes(bytes_)
            with pytest.raises(StorageError) as caught:
                open_version(storage, manifest, keys.segment_key)
            assert caught.value.code == "GOV-723"
            assert file.path in caught.value.message
            path.write_bytes(original)
        added = path.with_name("part-00009.parquet")
        shutil.copy(path, added)
        with pytest.raises(StorageError, match=r"part-00009\.parquet was added"):
            open_version(storage, manifest, keys.segment_key)
        added.unlink()


def test_a_swapped_pair_of_file_and_key_material_is_refused(
    storage: FileStorage, keys: MemoryKeys, manifest: Manifest
) -> None:
    other = rewrite([people(300, start=5000)], make_plan(), storage=storage, keys=keys).segments[0]
    for mine, theirs in zip(manifest.segments[0].files, other.files, strict=True):
        shutil.copy(storage.path(theirs.path), storage.path(mine.path))
    with pytest.raises(StorageError) as caught:
        open_version(storage, manifest, keys.segment_key)
    assert caught.value.code == "GOV-723"


def test_a_pair_swapped_after_the_check_is_refused(
    storage: FileStorage, keys: MemoryKeys, manifest: Manifest
) -> None:
    other = rewrite([people(300, start=5000)], make_plan(), storage=storage, keys=keys).segments[0]
    batches = open_version(storage, manifest, keys.segment_key)
    for mine, theirs in zip(manifest.segments[0].files, other.files, strict=True):
        shutil.copy(storage.path(theirs.path), storage.path(mine.path))
    with pytest.raises(StorageError) as caught:
        list(batches)
    assert caught.value.code == "GOV-723"


def test_pages_altered_after_the_check_are_refused(
    storage: FileStorage, keys: MemoryKeys, manifest: Manifest
) -> None:
    file = next(f for f in manifest.segments[0].files if f.role == "data")
    path = Path(storage.path(file.path))
    original = path.read_bytes()
    batches = open_version(storage, manifest, keys.segment_key)
    path.write_bytes(original[:200] + bytes([original[200] ^ 1]) + original[201:])
    with pytest.raises(StorageError) as caught:
        list(batches)
    assert caught.value.code == "GOV-723"
    assert caught.value.__context__ is None


def test_wrong_and_destroyed_keys(storage: FileStorage, keys: MemoryKeys, manifest: Manifest) -> None:
    footer = manifest.segments[0].key_ids["footer"]
    for key_id in manifest.segments[0].key_ids.values():
        right = keys.by_id.pop(key_id)
        with pytest.raises(ProtectionError) as caught:
            read(storage, manifest, keys)
        assert caught.value.code == "GOV-303"
        keys.by_id[key_id] = os.urandom(32)
        with pytest.raises(ProtectionError) as caught:
            read(storage, manifest, keys)
        assert caught.value.code == "GOV-302"
        assert manifest.segments[0].segment_id in caught.value.message
        keys.by_id[key_id] = right
    assert footer in keys.by_id
    read(storage, manifest, keys)


def test_versions_share_segments_and_schemas_evolve(
    storage: FileStorage, keys: MemoryKeys, run: OpenedRun, result: RewriteResult, signer: TestSigner
) -> None:
    first = manifest_of(run, result)
    kept = (column for column in COLUMNS if column.name != "zip3")
    newer = (*kept, dataclasses.replace(COLUMNS[3], name="age_again"))
    second = rewrite([people(50, start=900)], make_plan(columns=newer), storage=storage, keys=keys)
    shared = carried_segments(first, LoadMode.APPEND, second.segments)
    next_run = dataclasses.replace(run, version="v1", previous_version=run.version)
    appended = manifest_of(next_run, second, segments=(*shared, *second.segments))
    loaded = load_manifest(sign_manifest(appended, signer), signer.public_key)
    table = read(storage, loaded, keys)
    assert table.num_rows == result.rows_out + second.rows_out
    assert table["age_again"].null_count == result.rows_out
    assert "zip3" not in table.column_names
    only = read(storage, loaded, keys, segments={second.segments[0].segment_id})
    assert only.num_rows == second.rows_out
    # The earlier version still reads: its segments were not touched.
    assert read(storage, first, keys).num_rows == result.rows_out


def test_replace_partition_carries_the_others(storage: FileStorage, keys: MemoryKeys, run: OpenedRun) -> None:
    plan = make_plan(partition_by=("state",))
    first = rewrite([people(300)], plan, storage=storage, keys=keys)
    assert [s.partition["state"] for s in first.segments] == ["CA", "NY", "TX"]
    before = manifest_of(run, first)
    only_texas = people(300).filter(pa.array([n % 3 == 1 for n in range(300)]))
    second = rewrite([only_texas], plan, storage=storage, keys=keys)
    carried = carried_segments(before, LoadMode.REPLACE_PARTITION, second.segments)
    assert [s.partition["state"] for s in carried] == ["CA", "NY"]
    assert carried_segments(before, LoadMode.FULL, second.segments) == ()
    assert carried_segments(None, LoadMode.APPEND, second.segments) == ()


TYPES = st.recursive(
    st.sampled_from(
        [
            pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(),
            pa.binary(), pa.binary(16), pa.date32(), pa.timestamp("us"), pa.timestamp("ns", "UTC"),
            pa.timestamp("ms", "Europe/Berlin"), pa.time32("s"), pa.time64("us"), pa.duration("ms"),
            pa.decimal128(10, 2), pa.decimal256(40, -3), pa.null(),
        ]
    ),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(lambda t: pa.map_(pa.string(), t)),
        st.lists(st.tuples(st.sampled_from(["a", "b c", "日"]), inner, st.booleans()), max_size=3).map(
            lambda fields: pa.struct([pa.field(n, t, nullable=o or pa.types.is_null(t)) for n, t, o in fields])
        ),
    ),
    max_leaves=6,
)  # fmt: skip


@given(TYPES)
def test_types_survive_as_text(type_: pa.DataType) -> None:
    assert type_of_text(str(type_)) == type_


@pytest.mark.parametrize("text", ["", "int33", "list<int32>", "struct<a: int8", "int8 int8", "map<int8>"])
def test_unknown_types_are_refused(text: str) -> None:
    with pytest.raises(StorageError) as caught:
        type_of_text(text)
    assert caught.value.code == "GOV-722"
