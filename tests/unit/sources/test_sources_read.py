"""Pinning, reading back what was written, and sources that change."""

import csv
import gzip
import io
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance import sources
from governance.errors import SourceError
from governance.model.canonical import canonical, digest
from governance.sources.base import SourceKind

TMP = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _table(uri: str, **options) -> pa.Table:
    snapshot = sources.pin(uri)
    return pa.Table.from_batches(list(sources.read(snapshot, **options)))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, start in (("b.parquet", 200_000), ("a.parquet", 0), ("sub/c.parquet", 400_000)):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        numbers = range(start, start + 200_000)
        pq.write_table(pa.table({"n": numbers, "s": [str(n) for n in numbers]}), tmp_path / "d" / name)
    (tmp_path / "d/_SUCCESS").write_bytes(b"")
    (tmp_path / "d/.a.parquet.crc").write_bytes(b"x")
    return tmp_path / "d"


def test_pin_digests_files_in_order(directory: Path) -> None:
    snapshot = sources.pin(str(directory))
    assert snapshot.kind == "parquet"
    assert [f.name for f in snapshot.files] == ["a.parquet", "b.parquet", "sub/c.parquet"]
    for file in snapshot.files:
        data = (directory / file.name).read_bytes()
        assert (file.size, file.digest) == (len(data), digest(data))
    covered = [{"name": f.name, "size": f.size, "digest": f.digest} for f in snapshot.files]
    assert snapshot.digest == digest(canonical(["parquet", covered]))
    assert sources.pin(directory.as_uri()).digest == snapshot.digest


def test_the_digest_does_not_depend_on_the_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.csv").write_bytes(b"a\n1\n")
    assert sources.pin(str(tmp_path / "one")).digest == sources.pin(str(tmp_path / "two/x.csv")).digest


def test_parquet_directory_reads_in_order_in_bounded_batches(directory: Path) -> None:
    snapshot = sources.pin(str(directory))
    batches = list(sources.read(snapshot))
    assert max(b.num_rows for b in batches) <= 131_072
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(600_000))
    picked = list(sources.read(snapshot, columns=["s"], batch_rows=1000))
    assert picked[0].schema.names == ["s"]
    assert max(b.num_rows for b in picked) == 1000
    assert sources.schema(snapshot) == batches[0].schema


def test_parquet_types_stay(tmp_path: Path) -> None:
    table = pa.table(
        {
            "t": pa.array([datetime(2020, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "d": pa.array([date(2020, 1, 1)]),
            "i": pa.array([1], pa.int32()),
            "k": pa.array(["é"]).dictionary_encode(),
            "l": pa.array([["a", None]]),
            "s": pa.array([{"x": "y"}]),
            "m": pa.array(["1.10"]).cast(pa.decimal128(9, 2)),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    read = _table(str(tmp_path / "x.parquet"), types={"i": pa.string()})
    assert read.to_pylist() == table.to_pylist()
    assert read.schema.field("i").type == pa.int32()
    assert read.schema.field("t").type == pa.timestamp("us", "UTC")
    assert read.schema.field("k").type == pa.string()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@TMP
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, st.one_of(st.none(), TEXT)), min_size=1, max_size=20),
    header=st.lists(TEXT.filter(lambda t: t.strip()), min_size=3, max_size=3, unique=True),
    newline=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    zipped=st.booleans(),
    batch_rows=st.integers(1, 7),
)
def test_csv_round_trip(tmp_path, rows, header, newline, mark, zipped, batch_rows) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=newline, quoting=csv.QUOTE_ALL).writerow(header)
    for row in rows:
        fields = ['"' + f.replace('"', '""') + '"' if f is not None else "" for f in row]
        text.write(",".join(fields) + newline)
    data = (b"\xef\xbb\xbf" if mark else b"") + text.getvalue().encode()
    path = tmp_path / ("x.csv.gz" if zipped else "x.csv")
    path.write_bytes(gzip.compress(data) if zipped else data)
    table = _table(str(path), batch_rows=batch_rows)
    assert table.schema == pa.schema([(name, pa.string()) for name in header])
    assert [tuple(column[i].as_py() for column in table.columns) for i in range(len(rows))] == rows


def test_csv_written_plainly(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,name,born,paid,ok\r\n1,"M\xc3\xbcller, A",2020-02-29, 1.50 ,true\r\n2,,,,\r\n'
    )
    types = {
        "id": pa.int64(),
        "born": pa.date32(),
        "paid": pa.float64(),
        "ok": pa.bool_(),
        "other": pa.int8(),
    }
    assert _table(str(path), types=types).to_pylist() == [
        {"id": 1, "name": "Müller, A", "born": date(2020, 2, 29), "paid": 1.5, "ok": True},
        {"id": 2, "name": None, "born": None, "paid": None, "ok": None},
    ]
    assert _table(str(path), columns=["name", "id"]).schema.names == ["name", "id"]


def test_csv_files_may_order_columns_differently(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes(b"b,a\n4,3\n")
    assert _table(str(tmp_path)).to_pylist() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


JSON_SCALARS = st.one_of(st.none(), TEXT, st.integers(-(2**63), 2**63 - 1), st.booleans())


def _as_text(value):
    return value if value is None or isinstance(value, str) else json.dumps(value)


@TMP
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["a", "b c", 'q"/~', "é", "$.x"]), JSON_SCALARS, min_size=1),
        min_size=1,
        max_size=20,
    ),
    ascii_only=st.booleans(),
    zipped=st.booleans(),
    batch_rows=st.integers(1, 7),
)
def test_jsonl_round_trip(tmp_path, rows, ascii_only, zipped, batch_rows) -> None:
    data = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()
    path = tmp_path / ("x.jsonl.gz" if zipped else "x.ndjson")
    path.write_bytes(gzip.compress(data) if zipped else data)
    table = _table(str(path), batch_rows=batch_rows)
    keys = {key for row in rows for key in row}
    assert set(table.schema.names) == keys
    assert table.to_pylist() == [{k: _as_text(row.get(k)) for k in table.schema.names} for row in rows]


def test_jsonl_nested(tmp_path: Path) -> None:
    rows = [
        {
            "id": 1,
            "tags": ["a", "b"],
            "who": {"name": "é", "age": 3, "ok": True},
            "mixed": {"x": 1},
            "l": [{"u": 1}],
        },
        {"id": "2", "tags": None, "who": {"name": None, "score": 1.5}, "mixed": "[text]", "l": []},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    table = _table(str(tmp_path / "x.jsonl"))
    assert {f.name: f.type for f in table.schema.field("who").type} == {
        "name": pa.string(),
        "age": pa.int64(),
        "ok": pa.bool_(),
        "score": pa.float64(),
    }
    assert table["tags"].to_pylist() == [["a", "b"], None]
    assert table["who"].to_pylist()[1] == {"name": None, "age": None, "ok": None, "score": 1.5}
    assert table["mixed"].to_pylist() == ['{"x":1}', "[text]"]
    assert table["l"].to_pylist() == [[{"u": 1}], []]
    assert table["id"].to_pylist() == ["1", "2"]
    as_text = _table(str(tmp_path / "x.jsonl"), types={"who": pa.string(), "id": pa.int32()})
    assert json.loads(as_text["who"][1].as_py())["score"] == 1.5
    assert as_text["id"].to_pylist() == [1, 2]


def test_jsonl_structures_merge_over_blocks_and_files(tmp_path: Path) -> None:
    filler = '{"a":{"n":1},"t":"' + "x" * 1000 + '"}\n'
    (tmp_path / "1.jsonl").write_text(filler * 9000 + '{"a":{"m":"s"}}\n')
    (tmp_path / "2.jsonl").write_text('{"late":1,"a":{"n":0.5}}\n')
    snapshot = sources.pin(str(tmp_path))
    found = sources.schema(snapshot)
    assert set(found.names) == {"a", "t", "late"}
    assert found.field("a").type.field("n").type == pa.float64()
    table = pa.Table.from_batches(list(sources.read(snapshot, known=found)))
    assert table.num_rows == 9002
    assert table["a"][-1].as_py()["n"] == 0.5
    assert table["a"][-2].as_py()["m"] == "s"


def _make(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "d"
    path.mkdir()
    for part in ("1", "2"):
        if kind == "parquet":
            pq.write_table(pa.table({"a": [part] * 300_000}), path / f"{part}.parquet")
        else:
            text = "a,b\n" + "1,2\n" * 300_000 if kind == "csv" else '{"a":1}\n' * 300_000
            (path / f"{part}.{kind}").write_text(text)
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
class TestChange:
    def _fails(self, stream, *words: str) -> None:
        with pytest.raises(SourceError) as caught:
            list(stream)
        assert caught.value.code == "GOV-705", str(caught.value)
        for word in words:
            assert word in str(caught.value)

    def test_between_pin_and_read(self, tmp_path: Path, kind: str) -> None:
        path = _make(tmp_path, kind)
        snapshot = sources.pin(str(path))
        target = path / f"2.{kind}"
        data = bytearray(target.read_bytes())
        data[-3] ^= 1
        target.write_bytes(data)
        self._fails(
            sources.read(snapshot, known=sources.schema(sources.pin(str(path / f"1.{kind}")))), target.name
        )
        target.write_bytes(data[:-1])
        self._fails(sources.read(snapshot), target.name)
        target.unlink()
        self._fails(sources.read(snapshot), target.name, "removed")

    def test_a_file_comes(self, tmp_path: Path, kind: str) -> None:
        path = _make(tmp_path, kind)
        snapshot = sources.pin(str(path))
        stream = sources.read(snapshot)
        next(stream)
        (path / f"3.{kind}").write_bytes((path / f"1.{kind}").read_bytes())
        self._fails(stream, f"3.{kind}", "added")
        self._fails(sources.read(snapshot), f"3.{kind}", "added")

    def test_replaced_while_read(self, tmp_path: Path, kind: str) -> None:
        path = _make(tmp_path, kind)
        snapshot = sources.pin(str(path))
        stream = sources.read(snapshot)
        first = next(stream)
        assert first.column(0)[0].as_py() == "1"
        other = path / f"1.{kind}"
        (tmp_path / "new").write_bytes(other.read_bytes())
        (tmp_path / "new").replace(other)
        self._fails(stream, other.name)

    def test_written_in_place_while_read(self, tmp_path: Path, kind: str) -> None:
        path = _make(tmp_path, kind)
        snapshot = sources.pin(str(path))
        target = path / f"1.{kind}"
        status = target.stat()
        stream = sources.read(snapshot, batch_rows=1000)
        next(stream)
        with target.open("r+b") as file:
            file.seek(status.st_size // 2)
            file.write(b"\xff" * 1000)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        self._fails(stream, target.name)
        target.write_bytes(b"")
        self._fails(sources.read(snapshot), target.name)


def test_what_is_read_was_hashed_even_if_the_path_is_replaced(tmp_path: Path, monkeypatch) -> None:
    """The parser reads through the descriptor that was hashed, so no other bytes can reach it."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"a\nold\n")
    (tmp_path / "evil").write_bytes(b"a\nnew\n")
    snapshot = sources.pin(str(path))
    stream = sources.read(snapshot, known=sources.schema(snapshot))
    verify = sources.pinning.OpenedFile.verify

    def then_replace(opened, file) -> None:
        verify(opened, file)
        (tmp_path / "evil").replace(path)

    monkeypatch.setattr(sources.pinning.OpenedFile, "verify", then_replace)
    assert next(stream).to_pylist() == [{"a": "old"}]
    with pytest.raises(SourceError, match="GOV-705"):
        next(stream)


def test_an_unknown_column_and_an_abandoned_stream(directory: Path) -> None:
    snapshot = sources.pin(str(directory))
    with pytest.raises(SourceError, match="GOV-701"):
        next(sources.read(snapshot, columns=["nope"]))
    stream = sources.read(snapshot)
    next(stream)
    stream.close()


def test_a_kind_costs_one_registration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.sources.registry._KINDS", {})

    class Lines:
        name, suffixes = "lines", (".txt",)

        def schema(self, files, types):
            return pa.schema([("line", pa.string())])

        def batches(self, file, schema, batch_rows):
            lines = file.stream().read().decode().splitlines()
            yield pa.RecordBatch.from_arrays([pa.array(lines)], schema=schema)

    kind: SourceKind = Lines()
    sources.register("lines", kind)
    assert sources.kinds() == ("lines",)
    (tmp_path / "x.txt").write_text("a\nb")
    assert _table(str(tmp_path / "x.txt")).to_pylist() == [{"line": "a"}, {"line": "b"}]
