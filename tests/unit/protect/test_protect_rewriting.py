"""The one pass: counts reconcile, nothing leaks, a failure leaves nothing behind, no deadlock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from protect_support import CANARY, COLUMNS, MemoryKeys, make_plan, ordinals_of, people, pseudonyms

from governance.errors import GovernanceError, ProtectionError, SourceError
from governance.keys.providers.file import create_file_key
from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring
from governance.protect import ColumnPlan, rewrite
from governance.protect.channel import read_ahead, write_behind
from governance.protect.encryption import open_sealed
from governance.protect.outputs import _keyable
from governance.protect.segment import SegmentWriter
from governance.storage.file import FileStorage

BOTH = pytest.mark.parametrize("threads", [True, False], ids=["threads", "serial"])


def stored(storage: FileStorage) -> list[str]:
    return sorted(p.name for p in Path(storage.path("")).rglob("*") if p.is_file())


def data_of(storage: FileStorage, segment: Any, keys: MemoryKeys) -> pa.Table:
    parts = [f for f in segment.files if f.role == "data"]
    return pa.concat_tables(
        open_sealed(storage.path(f.path), storage.filesystem(), keys.segment_key).read() for f in parts
    )


def source(batches: int = 4, rows: int = 250) -> Iterator[pa.RecordBatch]:
    return (people(rows, start=n * rows) for n in range(batches))


@BOTH
def test_counts_and_rows_equal_an_independent_recount(
    storage: FileStorage, keys: MemoryKeys, threads: bool
) -> None:
    result = rewrite(source(), make_plan(), storage=storage, keys=keys, threads=threads)
    numbers = np.arange(1000)
    age = numbers % 110
    denied = numbers % 7 == 0
    failing = (age > 100) & ~denied
    kept = ~denied & ~failing
    assert result.rows_in == 1000
    assert result.rows_denied == denied.sum() == sum(result.denied_by_reason.values())
    assert dict(result.denied_by_reason) == {"no_consent": denied.sum()}
    assert result.rows_quarantined == failing.sum()
    assert result.rows_out == kept.sum()
    assert dict(result.quarantined_by_rule) == {
        "age is plausible": failing.sum(),
        "age is possible": ((age > 105) & ~denied).sum(),
    }
    (segment,) = result.segments
    table = data_of(storage, segment, keys)
    assert table.schema.equals(result.schema)
    assert table["person"].to_pylist() == [bytes(p).hex() for p in pseudonyms(numbers[kept])]
    assert table["age"].to_pylist() == np.minimum(age[kept], 90).tolist()
    assert table["state"].to_pylist() == [("CA", "TX", "NY")[n % 3] for n in numbers[kept]]
    assert set(pc.utf8_slice_codeunits(table["email"].combine_chunks(), 0, 5).to_pylist()) == {"*****"}

    quarantine = result.quarantine
    assert quarantine is not None
    aside = data_of(storage, quarantine, keys)
    assert ordinals_of(aside.combine_chunks().to_batches()[0]).tolist() == numbers[failing].tolist()
    rules = ["age is plausible" + ("\nage is possible" if a > 105 else "") for a in age[failing]]
    assert aside["_governance_rule"].to_pylist() == rules
    assert all(f.path.startswith(f"quarantine/{quarantine.segment_id}/") for f in quarantine.files)


def test_evidence_per_column(storage: FileStorage, keys: MemoryKeys) -> None:
    result = rewrite(source(), make_plan(verify_first=1, verify_every=3), storage=storage, keys=keys)
    assert set(result.verified) == {"person", "email", "birth_year", "age", "zip3", "state"}
    person, age = result.verified["person"], result.verified["age"]
    assert person.masking
    assert not age.masking
    assert not result.verified["state"].masking
    assert 0 < person.rows < person.written == result.rows_out
    assert person.nulled == 0
    assert set(result.segments[0].key_ids) == {"public", "internal", "confidential", "restricted", "footer"}


def test_nulled_values_are_counted(storage: FileStorage, keys: MemoryKeys) -> None:
    batch = pa.RecordBatch.from_pydict({"d": ["1980-01-01", "soon", None, "12/12/80"]})
    plan = make_plan(
        columns=[ColumnPlan("year", "d", "date_to_year", "date", "internal")],
        decide=lambda b: (np.zeros(len(b), np.uint8), np.full(len(b), -1)),
        divert=lambda _: [],
    )
    result = rewrite([batch], plan, storage=storage, keys=keys)
    assert result.verified["year"].nulled == 2
    assert result.quarantine is None


def test_no_canary_and_no_key_in_anything_written(storage: FileStorage, keys: MemoryKeys) -> None:
    result = rewrite(source(), make_plan(), storage=storage, keys=keys)
    written = [p.read_bytes() for p in Path(storage.path("")).rglob("*") if p.is_file()]
    assert len(written) == 4
    for blob in written:
        assert CANARY.encode() not in blob
        assert not any(key in blob for key in keys.by_id.values())
    assert CANARY not in repr(result)


def test_partitions_become_segments(storage: FileStorage, keys: MemoryKeys) -> None:
    batches = [
        people(90).set_column(5, "state", pa.array([("CA", "TX", None)[n % 3] for n in range(90)])),
        people(90, start=90).set_column(5, "state", pa.array(["NY"] * 90)),
    ]
    result = rewrite(batches, make_plan(partition_by=("state",)), storage=storage, keys=keys)
    partitions = {s.partition["state"]: s for s in result.segments}
    assert list(partitions) == ["CA", "NY", "TX", "__HIVE_DEFAULT_PARTITION__"]
    assert sum(s.rows for s in result.segments) == result.rows_out
    for value, segment in partitions.items():
        found = set(data_of(storage, segment, keys)["state"].to_pylist())
        assert found == {None if value.startswith("__") else value}
    assert len({key for s in result.segments for key in s.key_ids.values()}) == 5 * len(result.segments)


def test_two_partition_columns(storage: FileStorage, keys: MemoryKeys) -> None:
    result = rewrite(source(), make_plan(partition_by=("state", "age")), storage=storage, keys=keys)
    assert sum(s.rows for s in result.segments) == result.rows_out
    for segment in result.segments[::40]:
        table = data_of(storage, segment, keys)
        assert set(table["state"].to_pylist()) == {segment.partition["state"]}
        assert {str(a) for a in table["age"].to_pylist()} == {segment.partition["age"]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"partition_by": ("email",)}, "GOV-108"),
        ({"partition_by": ("secret",)}, "GOV-103"),
        ({"columns": [*COLUMNS, ColumnPlan("x", "absent", "keep", "none", "public")]}, "GOV-103"),
        ({"columns": [ColumnPlan("x", "mrn", "scramble", "none", "public")]}, "GOV-305"),
        ({"columns": [ColumnPlan("x", "mrn", "token", "none", "public", {"domain": "d"})]}, "GOV-305"),
        ({"columns": [ColumnPlan("a,b", "mrn", "keep", "none", "public")]}, "GOV-109"),
        ({"columns": [ColumnPlan("a", n, "keep", "none", "public") for n in ("mrn", "zip")]}, "GOV-109"),
    ],
)
def test_a_wrong_plan_is_refused_before_writing(
    storage: FileStorage, keys: MemoryKeys, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(GovernanceError) as caught:
        rewrite(source(), make_plan(**changes), storage=storage, keys=keys)
    assert caught.value.code == code
    assert stored(storage) == []


class Boom(Exception):
    pass


def _raise(*_: Any) -> Any:
    raise Boom


@BOTH
@pytest.mark.parametrize("where", ["source", "decide", "divert", "pseudonyms", "write", "progress"])
def test_a_failure_anywhere_leaves_nothing(
    storage: FileStorage,
    keys: MemoryKeys,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    threads: bool,
) -> None:
    seen = 0

    def failing_source() -> Iterator[pa.RecordBatch]:
        yield from source(30)
        raise Boom

    def late(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal seen
            seen += 1
            return _raise() if seen > 12 else function(*arguments)

        return call

    plan = make_plan()
    changes: dict[str, Any] = {}
    progress = None
    batches: Any = source(30)
    if where == "source":
        batches = failing_source()
    elif where == "progress":
        progress = late(lambda _: None)
    elif where == "write":
        monkeypatch.setattr(SegmentWriter, "write", late(SegmentWriter.write))
    else:
        changes[where] = late(getattr(plan, where))
    # Row groups small enough that files are half-written when it fails.
    monkeypatch.setitem(SegmentWriter.__init__.__kwdefaults__, "row_group_rows", 500)  # type: ignore[arg-type]
    threads_before = set(threading.enumerate())
    with pytest.raises((Boom, ProtectionError)) as caught:
        rewrite(batches, make_plan(**changes), storage=storage, keys=keys, threads=threads, progress=progress)
    if isinstance(caught.value, ProtectionError):
        assert (where, caught.value.code) == ("pseudonyms", "GOV-304")
    assert stored(storage) == []
    assert set(threading.enumerate()) <= threads_before
    monkeypatch.undo()
    result = rewrite(source(30), make_plan(), storage=storage, keys=keys, threads=threads)
    assert result.rows_in == 7500


def test_a_failure_after_row_groups_were_written_leaves_nothing(
    storage: FileStorage, keys: MemoryKeys
) -> None:
    writer = SegmentWriter(
        storage,
        "s1",
        people(1).schema,
        dict.fromkeys(people(1).schema.names, "low"),
        keys,
        row_group_rows=100,
    )
    writer.write(people(250))
    assert stored(storage) != []
    writer.abort()
    assert stored(storage) == []


def test_without_keys_nothing_is_written(storage: FileStorage) -> None:
    class NoKeys(MemoryKeys):
        def new_segment_key(self, segment_id: str, sensitivity: str) -> str:
            raise ProtectionError("GOV-301", "no key provider", "configure one")

    with pytest.raises(ProtectionError) as caught:
        rewrite(source(), make_plan(), storage=storage, keys=NoKeys())
    assert caught.value.code == "GOV-301"
    assert stored(storage) == []


def test_a_transform_that_does_not_hold_is_refused(storage: FileStorage, keys: MemoryKeys) -> None:
    columns = [ColumnPlan("note", "email", "redact", "free_text", "restricted")]
    with pytest.raises(ProtectionError) as caught:
        rewrite(source(), make_plan(columns=columns), storage=storage, keys=keys)
    assert caught.value.code == "GOV-306"
    assert stored(storage) == []


def test_redaction_sees_the_identifiers_beside_the_text(storage: FileStorage, keys: MemoryKeys) -> None:
    seen: list[list[str]] = []

    def redact(text: pa.Array, rows: pa.RecordBatch) -> pa.Array:
        assert len(text) == rows.num_rows
        seen.append(rows.schema.names)
        return pa.array(["[TEXT]"] * len(text))

    columns = [ColumnPlan("note", "secret", "redact", "free_text", "restricted")]
    rewrite(source(), make_plan(columns=columns, redact=redact, beside=["email"]), storage=storage, keys=keys)
    assert seen
    assert set(map(tuple, seen)) == {("secret", "email")}


def test_each_set_aside_row_names_every_rule_it_fails(storage: FileStorage, keys: MemoryKeys) -> None:
    def divert(batch: pa.RecordBatch) -> list[tuple[str, np.ndarray]]:
        rows = np.arange(batch.num_rows)
        return [("even", rows % 2 == 0), ("third", rows % 3 == 0), ("none", rows < 0)]

    result = rewrite(source(), make_plan(divert=divert), storage=storage, keys=keys)
    names = data_of(storage, result.quarantine, keys)["_governance_rule"].to_pylist()
    assert set(names) == {"even", "third", "even\nthird"}
    assert "" not in names and None not in names


def test_errors_of_transforms_carry_no_value(storage: FileStorage, keys: MemoryKeys) -> None:
    def redact(text: pa.Array, rows: pa.RecordBatch) -> pa.Array:
        raise pa.ArrowInvalid(f"could not parse {text[0]}")

    columns = [ColumnPlan("note", "secret", "redact", "free_text", "restricted")]
    with pytest.raises(ProtectionError) as caught:
        rewrite(source(), make_plan(columns=columns, redact=redact), storage=storage, keys=keys)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert CANARY not in repr(chain)
        chain = chain.__cause__ or chain.__context__


def test_a_source_whose_columns_change_is_refused(storage: FileStorage, keys: MemoryKeys) -> None:
    changed = people(10).set_column(3, "age", people(10)["age"].cast(pa.int64()))
    with pytest.raises(SourceError):
        rewrite([people(10), changed], make_plan(), storage=storage, keys=keys)
    assert stored(storage) == []


def test_everything_denied_and_nothing_read(storage: FileStorage, keys: MemoryKeys) -> None:
    def deny(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(batch), 2, np.uint8), np.full(len(batch), -1)

    result = rewrite(source(), make_plan(decide=deny), storage=storage, keys=keys)
    assert (result.rows_in, result.rows_denied, result.rows_out) == (1000, 1000, 0)
    assert result.segments == ()
    assert result.quarantine is None
    assert result.schema.names[0] == "person"
    assert stored(storage) == []
    assert rewrite([], make_plan(), storage=storage, keys=keys).rows_in == 0


def test_dictionary_and_odd_columns_reach_quarantine(storage: FileStorage, keys: MemoryKeys) -> None:
    batch = people(110).append_column("a,b: c", pa.array(["x", "y"] * 55).dictionary_encode())
    result = rewrite([batch], make_plan(), storage=storage, keys=keys)
    assert result.quarantine is not None
    assert "a%2Cb%3A c" in data_of(storage, result.quarantine, keys).column_names


def test_quarantine_names_stay_distinct() -> None:
    names = ["a,b", "a%2Cb", " a", "a ", "", " ", "  ", "a;b", "%20a", "%00"]
    assert len({_keyable(name) for name in names}) == len(names)


def test_segments_roll_over_to_further_parts(storage: FileStorage, keys: MemoryKeys) -> None:
    batch = people(1000)
    levels = dict.fromkeys(batch.schema.names, "low")
    writer = SegmentWriter(storage, "s1", batch.schema, levels, keys, row_group_rows=300, file_bytes=1_000)
    for start in range(0, 1000, 100):
        writer.write(batch.slice(start, 100))
    segment = writer.close()
    parts = [f.path for f in segment.files if f.role == "data"]
    assert parts[:2] == ["segments/s1/part-00000.parquet", "segments/s1/part-00001.parquet"]
    assert data_of(storage, segment, keys).equals(pa.Table.from_batches([batch]))
    assert segment.rows == 1000


def test_schema_metadata_is_left_out(storage: FileStorage, keys: MemoryKeys) -> None:
    batch = people(5)
    batch = batch.replace_schema_metadata({b"pandas": CANARY.encode()})
    result = rewrite([batch], make_plan(), storage=storage, keys=keys)
    assert data_of(storage, result.segments[0], keys).schema.metadata is None


def test_at_most_a_few_batches_wait() -> None:
    alive = 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal alive, most
        for n in range(200):
            alive += 1
            most = max(most, alive)
            yield n

    written: list[int] = []

    def write(item: int) -> None:
        nonlocal alive
        alive -= 1
        written.append(item)

    with read_ahead(items(), 2) as reading, write_behind(write, 2) as put:
        for item in reading:
            put(item)
    assert written == list(range(200))
    assert most <= 8


def test_the_reader_s_generator_is_closed_in_its_thread() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with pytest.raises(Boom), read_ahead(items(), 2) as reading:
        next(reading)
        raise Boom
    assert closed.is_set()


def test_works_with_the_real_keyring(storage: FileStorage, tmp_path: Path) -> None:
    uri = create_file_key(tmp_path / "kek")
    keyring = Keyring.create(tmp_path / "keys", provider_for(uri))
    result = rewrite(source(), make_plan(), storage=storage, keys=keyring)
    (segment,) = result.segments
    assert data_of(storage, segment, keyring).num_rows == result.rows_out
