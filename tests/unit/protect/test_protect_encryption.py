"""What the encrypted files tell without keys: nothing; and which columns can be keyed."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from protect_support import CANARY, MemoryKeys, people

from governance.errors import ContractError, ProtectionError
from governance.protect.encryption import (
    SegmentKeyClient,
    key_material_path,
    leaf_paths,
    open_sealed,
    seal_writer,
)

FS = pafs.LocalFileSystem()


def seal(path: Path, table: pa.Table, keys: MemoryKeys, key_of: dict[str, list[str]] | None = None) -> None:
    columns = key_of or {"low": table.column_names}
    for name in (*columns, "footer"):
        keys.by_id.setdefault(name, os.urandom(32))
    writer = seal_writer(str(path), FS, table.schema, columns, "footer", keys.segment_key)
    writer.write_table(table, 1 << 20)
    writer.close()


@pytest.fixture
def table() -> pa.Table:
    return pa.Table.from_batches([people(500)])


def test_round_trip_with_a_key_per_sensitivity(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    path = tmp_path / "part.parquet"
    low = ["state", "age", "zip"]
    seal(path, table, keys, {"low": low, "high": ["mrn", "email", "born", "secret"]})
    assert open_sealed(str(path), FS, keys.segment_key).read().equals(table)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "_KEY_MATERIAL_FOR_part.parquet.json",
        "part.parquet",
    ]
    del keys.by_id["high"]
    assert open_sealed(str(path), FS, keys.segment_key).read(columns=low).equals(table.select(low))
    with pytest.raises(ProtectionError) as caught:
        open_sealed(str(path), FS, keys.segment_key).read(columns=["email"])
    assert caught.value.code == "GOV-303"


def test_every_nested_leaf_is_keyed(tmp_path: Path, keys: MemoryKeys) -> None:
    table = pa.table(
        {
            "list": [[1, 2], [3]],
            "visit": [{"at": "x", "codes": ["a"]}, {"at": "y", "codes": []}],
            "attributes": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())),
            "nothing": pa.nulls(2),
            "state": pa.array(["CA", "TX"]).dictionary_encode(),
        }
    )
    assert leaf_paths(table.schema) == {
        "list": ["list.list.element"],
        "visit": ["visit.at", "visit.codes.list.element"],
        "attributes": ["attributes.key_value.key", "attributes.key_value.value"],
        "nothing": ["nothing"],
        "state": ["state"],
    }
    path = tmp_path / "nested.parquet"
    seal(path, table, keys, {"low": ["list", "nothing"], "high": ["visit", "attributes", "state"]})
    assert open_sealed(str(path), FS, keys.segment_key).read().equals(table)
    del keys.by_id["high"]
    for column in ("visit", "attributes", "state"):
        with pytest.raises(ProtectionError):
            open_sealed(str(path), FS, keys.segment_key).read(columns=[column])


@pytest.mark.parametrize("name", ["a,b", "a:b", "a;b", " a", "a ", ""])
def test_names_that_cannot_be_keyed_are_refused(name: str) -> None:
    with pytest.raises(ContractError) as caught:
        leaf_paths(pa.schema([(name, pa.int64())]))
    assert caught.value.code == "GOV-109"
    assert "physicalName" in caught.value.remedy


@pytest.mark.parametrize("name", ["a b", "a.b", "é日", 'a"b', "a/b", "a=b", "{a}", "a\nb", "list"])
def test_other_names_are_keyed(tmp_path: Path, keys: MemoryKeys, name: str) -> None:
    table = pa.table({name: [1, 2], "other": ["p", "q"]})
    seal(tmp_path / "f.parquet", table, keys, {"k1": [name], "k2": ["other"]})
    assert open_sealed(str(tmp_path / "f.parquet"), FS, keys.segment_key).read().equals(table)


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("a", pa.int8()), ("a", pa.int8())]),
        pa.schema([("a", pa.struct([("b", pa.int8())])), ("a.b", pa.int8())]),
        pa.schema([("a", pa.struct([("b,c", pa.int8())]))]),
        pa.schema([("a", pa.month_day_nano_interval())]),
    ],
)
def test_ambiguous_or_unwritable_columns_are_refused(schema: pa.Schema) -> None:
    with pytest.raises(ContractError) as caught:
        leaf_paths(schema)
    assert caught.value.code == "GOV-109"


def test_a_column_without_a_key_is_refused(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    with pytest.raises(ContractError) as caught:
        seal(tmp_path / "f.parquet", table, keys, {"low": table.column_names[1:]})
    assert caught.value.code == "GOV-108"
    assert "mrn" in caught.value.message
    assert not any(tmp_path.iterdir())


def test_nothing_opens_without_keys(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    path = tmp_path / "f.parquet"
    seal(path, table, keys)
    with pytest.raises(OSError, match="encrypted"):
        pq.ParquetFile(path)
    with pytest.raises(duckdb.Error):
        duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


def test_no_canary_in_the_bytes(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    seal(tmp_path / "f.parquet", table, keys)
    forms = [CANARY.encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + CANARY.encode() + b"\0" * 2)
        forms.append(encoded[4:-4])
    written = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert not [form for form in forms if form in written]
    assert not any(key in written for key in keys.by_id.values())
    # Not even the names of columns stand in the clear.
    assert b"email" not in written
    assert b"secret" not in written


def test_no_bit_flip_reads_silently(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    """Parquet's own authentication, without the manifest's digests before it."""
    path = tmp_path / "f.parquet"
    seal(path, table, keys)
    original = path.read_bytes()
    step = max(len(original) // 150, 1)
    for offset in range(4, len(original) - 4, step):
        path.write_bytes(
            original[:offset] + bytes([original[offset] ^ 1 << offset % 8]) + original[offset + 1 :]
        )
        try:
            read = open_sealed(str(path), FS, keys.segment_key).read()
        except (OSError, pa.ArrowException, ProtectionError):
            continue
        assert read.equals(table), f"offset {offset} read silently as something else"


def test_a_wrong_key_and_altered_material(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    path = tmp_path / "f.parquet"
    seal(path, table, keys)
    right = keys.by_id["footer"]
    for wrong in (os.urandom(32), right[:16]):
        keys.by_id["footer"] = wrong
        with pytest.raises(ProtectionError) as caught:
            open_sealed(str(path), FS, keys.segment_key)
        assert caught.value.code in ("GOV-308", "GOV-302")
        assert str(wrong) not in str(caught.value)
    keys.by_id["footer"] = right
    material = Path(key_material_path(str(path)))
    material.write_text(material.read_text().replace('wrappedKEK\\":\\"', 'wrappedKEK\\":\\"AAAA'))
    with pytest.raises(ProtectionError) as caught:
        open_sealed(str(path), FS, keys.segment_key)
    assert caught.value.code == "GOV-308"
    material.unlink()
    with pytest.raises(ProtectionError) as caught:
        open_sealed(str(path), FS, keys.segment_key)
    assert caught.value.code == "GOV-308"


def test_a_plain_file_is_not_taken_for_a_sealed_one(
    tmp_path: Path, keys: MemoryKeys, table: pa.Table
) -> None:
    path = tmp_path / "f.parquet"
    seal(path, table, keys)
    pq.write_table(table, path)
    with pytest.raises(ProtectionError) as caught:
        open_sealed(str(path), FS, keys.segment_key)
    assert caught.value.code == "GOV-308"


def test_a_destroyed_key_stops_the_next_opening(tmp_path: Path, keys: MemoryKeys, table: pa.Table) -> None:
    path = tmp_path / "f.parquet"
    seal(path, table, keys)
    open_sealed(str(path), FS, keys.segment_key).read()
    del keys.by_id["low"]
    with pytest.raises(ProtectionError) as caught:
        open_sealed(str(path), FS, keys.segment_key).read()
    assert caught.value.code == "GOV-303"


def test_wrapping_binds_the_key_id(keys: MemoryKeys) -> None:
    key = os.urandom(32)
    client = SegmentKeyClient(lambda _: key)
    wrapped = client.wrap_key(b"k" * 16, "one")
    assert client.unwrap_key(wrapped, "one") == b"k" * 16
    assert wrapped != client.wrap_key(b"k" * 16, "one")
    with pytest.raises(ProtectionError):
        client.unwrap_key(wrapped, "two")
    with pytest.raises(ProtectionError):
        client.unwrap_key(b"not base64!", "one")
    assert key.hex() not in repr(client)
