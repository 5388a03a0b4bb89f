"""Files that must be refused with their code and place, and without their values."""

import gzip
import os
import traceback
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance import sources
from governance.errors import SourceError

CANARY = "canary-7f3a"


def _write(path: Path, data: bytes) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return str(path)


def _refused(uri: str, code: str, *words: str, **options) -> SourceError:
    with pytest.raises(SourceError) as caught:
        list(sources.read(sources.pin(uri), **options))
    error = caught.value
    assert error.code == code, str(error)
    for word in words:
        assert word in str(error)
    shown = "".join(traceback.format_exception(error))
    context = error.__context__
    while context:
        shown += str(context)
        context = context.__context__
    assert CANARY not in shown
    return error


CSV = {
    "ragged": (f"a,b\n1,2\n{CANARY}\n3,4\n", "GOV-702", "x.csv", "row 3", "1 fields, not 2"),
    "ragged after a quoted newline": (f'a,b\n"1\n1",2\n\n{CANARY},2,3\n', "GOV-702", "row 3"),
    "ragged later": ("a,b\n" + "1,2\n" * 500_000 + f"{CANARY}\n", "GOV-702", "row 500002"),
    "unclosed quote": (f'a,b\n1,2\n3,"{CANARY}\n5,6\n', "GOV-702", "line 3", "never closed"),
    "two unclosed quotes": (f'a,b\n3,"{CANARY}\n5,6\n7,"8\n9,1\n', "GOV-702", "line 4"),
    "quote inside a field": (f'a,b\n1,2\n3,{CANARY}"x"\n', "GOV-702", "line 3"),
    "text beside a quoted field": (f'a,b\n1,"{CANARY}"x\n', "GOV-702", "line 2"),
    "unclosed quote in a long file": ('a,b\n1,"' + "3,4\n" * 4_000_000, "GOV-702", "line 2"),
    "unclosed header": (f'a,"{CANARY}\n1,2\n', "GOV-702", "line 1"),
    "duplicate header": (f"{CANARY},b,{CANARY}\n1,2,3\n", "GOV-702", "columns 1 and 3"),
    "header without a name": (f"{CANARY},,b\n1,2,3\n", "GOV-702", "column 2"),
    "header only": ("a,b\n", "GOV-704", "x.csv"),
    "header without newline": ("a,b", "GOV-704", "x.csv"),
    "blank lines only": ("\n\n", "GOV-704", "x.csv"),
    "no bytes": ("", "GOV-704", "x.csv"),
}


@pytest.mark.parametrize("case", CSV)
def test_csv(tmp_path: Path, case: str) -> None:
    text, code, *words = CSV[case]
    _refused(_write(tmp_path / "x.csv", text.encode()), code, *words)


JSONL = {
    "malformed": (f'{{"a":1}}\n{{"a":"{CANARY}}}\n', "GOV-702", "x.jsonl", "line 2"),
    "blank lines count": (f'{{"a":1}}\n\n \r\n{{"{CANARY}":\n', "GOV-702", "line 4"),
    "not an object": (f'{{"a":1}}\n["{CANARY}"]\n', "GOV-702", "line 2"),
    "duplicate key": (f'{{"a":1}}\n{{"b":"{CANARY}","b":1}}\n', "GOV-702", "line 2"),
    "keys that differ in case": (f'{{"a":1}}\n{{"A":"{CANARY}"}}\n', "GOV-702", "line 2"),
    "lone surrogate": ('{"a":"\\ud800"}\n', "GOV-702", "line 1"),
    "far down": ('{"a":"x"}\n' * 1_000_000 + CANARY, "GOV-702", "line 1000001"),
    "no objects": ("\n \n", "GOV-704", "x.jsonl"),
    "no keys": ("{}\n", "GOV-704", "x.jsonl"),
    "no bytes": ("", "GOV-704", "x.jsonl"),
}


@pytest.mark.parametrize("case", JSONL)
def test_jsonl(tmp_path: Path, case: str) -> None:
    text, code, *words = JSONL[case]
    _refused(_write(tmp_path / "x.jsonl", text.encode()), code, *words)


@pytest.mark.parametrize(("name", "row"), [("x.csv", b"%s,2\n"), ("x.jsonl", b'{"a":"%s"}\n')])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
def test_invalid_utf8_in_text(tmp_path: Path, name: str, row: bytes, bad: bytes) -> None:
    head = b"a,b\n" if name == "x.csv" else row % b"a"
    for filler in (0, 200_000):
        data = head + row % "é".encode() * filler + row % (CANARY.encode() + bad) + row % b"z"
        _refused(_write(tmp_path / name, data), "GOV-703", name, f"line {filler + 2}")
    _refused(_write(tmp_path / name, head + row % b"z" + bad), "GOV-703", "line 3")


def test_utf16_is_not_utf8(tmp_path: Path) -> None:
    _refused(_write(tmp_path / "x.csv", "a,b\n1,é\n".encode("utf-16")), "GOV-703", "line 1")


@pytest.mark.parametrize("name", ["x.csv.gz", "x.jsonl.gz"])
def test_truncated_and_damaged_gzip(tmp_path: Path, name: str) -> None:
    rows = "a,b\n" + "".join(f"{n},{n * n}\n" for n in range(50_000))
    if "jsonl" in name:
        rows = "".join(f'{{"a":{n}}}\n' for n in range(50_000))
    whole = gzip.compress(rows.encode())
    for keep in (15, len(whole) // 2, len(whole) - 1):
        _refused(_write(tmp_path / name, whole[:keep]), "GOV-701", name, "truncated")
    damaged = bytearray(whole)
    damaged[-6] ^= 1
    _refused(_write(tmp_path / name, bytes(damaged)), "GOV-701", name, "damaged")
    uri = _write(
        tmp_path / name, whole + gzip.compress(rows.encode()[4:] if "csv" in name else b"") + b"\0" * 9
    )
    assert sum(b.num_rows for b in sources.read(sources.pin(uri))) == (100_000 if "csv" in name else 50_000)


def test_gzip_of_nothing(tmp_path: Path) -> None:
    _refused(_write(tmp_path / "x.csv.gz", gzip.compress(b"")), "GOV-704")
    _refused(_write(tmp_path / "x.jsonl.gz", gzip.compress(b"")), "GOV-704")


def test_truncated_parquet_and_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [CANARY] * 10_000, "b": range(10_000)}), path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-1], whole[4:], b"PAR1", CANARY.encode(), b"\0" * 100):
        _refused(_write(path, data), "GOV-701", "x.parquet")
    damaged = bytearray(whole)
    damaged[4:60] = b"\xff" * 56
    _refused(_write(path, bytes(damaged)), "GOV-701", "x.parquet")


def _invalid_strings() -> pa.Array:
    data = CANARY.encode() + b"\xff"
    offsets = pa.array([0, len(data)], pa.int32()).buffers()[1]
    return pa.StringArray.from_buffers(1, offsets, pa.py_buffer(data))


def test_invalid_utf8_in_parquet(tmp_path: Path) -> None:
    bad = _invalid_strings()
    for column in (
        bad,
        bad.cast(pa.large_string()),
        pa.StructArray.from_arrays([bad], ["f"]),
        pa.ListArray.from_arrays([0, 1], bad),
        pa.DictionaryArray.from_arrays(pa.array([0]), bad),
    ):
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"ok": ["é"], "bad": column}), path)
        _refused(str(path), "GOV-703", "x.parquet", "column")


def test_parquet_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    _refused(str(path), "GOV-704", "x.parquet")


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_a_value_that_is_not_of_the_type(tmp_path: Path, name: str) -> None:
    rows = [str(n) for n in range(200_000)]
    rows[150_000] = CANARY
    if name == "x.csv":
        data, where = "a,b\n" + "".join(f"{r},x\n" for r in rows), "row 150002"
    else:
        data, where = "".join(f'{{"a":"{r}"}}\n' for r in rows), "line 150001"
    uri = _write(tmp_path / name, data.encode())
    _refused(uri, "GOV-702", name, where, "'a' is not int32", types={"a": pa.int32()})
    _refused(uri, "GOV-701", "'a'", types={"a": pa.list_(pa.date32())})


def test_files_that_do_not_share_a_schema(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), _write(tmp_path / "p/1.parquet", b""))
    for other, word in (
        (pa.table({"a": [1.5], "b": ["x"]}), "'a' is double, not int64"),
        (pa.table({"a": [1]}), "'b' is missing"),
        (pa.table({"a": [1], "b": ["x"], "c": ["x"]}), "'c' is not in the other files"),
    ):
        pq.write_table(other, tmp_path / "p/2.parquet")
        _refused(str(tmp_path / "p"), "GOV-701", "2.parquet", word)
    _write(tmp_path / "c/1.csv", b"a,b\n1,2\n")
    _write(tmp_path / "c/2.csv", b"a,c\n1,2\n")
    _refused(str(tmp_path / "c"), "GOV-701", "2.csv", "'b' is missing")


def test_what_is_not_there_or_not_known(tmp_path: Path) -> None:
    _refused(str(tmp_path / "nothing.csv"), "GOV-701", "nothing.csv")
    (tmp_path / "empty").mkdir()
    _refused(str(tmp_path / "empty"), "GOV-704", "empty")
    _refused(_write(tmp_path / "x.xlsx", b"x"), "GOV-706", "x.xlsx", ".jsonl.gz")
    with pytest.raises(SourceError, match="GOV-706"):
        sources.pin(_write(tmp_path / "x.csv", b"a\n1\n"), "excel")
    _write(tmp_path / "mixed/a.csv", b"a\n1\n")
    _write(tmp_path / "mixed/b.jsonl", b"{}")
    _refused(str(tmp_path / "mixed"), "GOV-706", "b.jsonl", "a.csv")
    _refused("file://elsewhere/x.csv", "GOV-701")


def test_directories_that_would_lose_something(tmp_path: Path) -> None:
    _write(tmp_path / "d/a.csv", b"a\n1\n")
    (tmp_path / f"d/region={CANARY}").mkdir()
    _refused(str(tmp_path / "d"), "GOV-701", "region=…")
    (tmp_path / f"d/region={CANARY}").rmdir()
    (tmp_path / "d/link").symlink_to(tmp_path)
    _refused(str(tmp_path / "d"), "GOV-701", "link")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.csv")
    (tmp_path / "x").mkdir()
    os.mkfifo(tmp_path / "x/p.csv")
    _refused(str(tmp_path / "d.csv"), "GOV-701")
    _refused(str(tmp_path / "x"), "GOV-701", "p.csv", "regular")
