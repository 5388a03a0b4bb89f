"""Files of a place are read a piece at a time, and what stands across two pieces is seen."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from pathlib import Path

import pytest

from governance.errors import StorageError
from governance.rights import inventory
from governance.storage import storage_for

SEGMENT = "v0123456789abcdef01234567-0"
KEYS = b"SQLite format 3\x00" + b"seg.seg." * 5 + b"\x00seg." + SEGMENT.encode() + b".restricted"


def seen(folder: Path, data: bytes, name: str = "file") -> inventory._Seen:
    (folder / name).write_bytes(data)
    return inventory._seen(storage_for(str(folder)), name, {SEGMENT: {"DSR-1"}})


@pytest.mark.parametrize("before", range(0, 200, 13))
def test_a_mark_and_a_key_may_stand_across_pieces(
    before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_PIECE", 64)
    data = b"x" * before + KEYS + b"y" * 100
    found = seen(tmp_path, data)
    assert found == inventory._Seen(len(data), f"sha256:{hashlib.sha256(data).hexdigest()}", True, SEGMENT)


def test_other_keys_and_empty_files_are_nothing(tmp_path: Path) -> None:
    assert seen(tmp_path, KEYS.replace(b"-0.", b"-1.")).segment is None
    assert not seen(tmp_path, KEYS[10:]).sealed
    assert seen(tmp_path, b"").size == 0


def test_nothing_is_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(KEYS)
    assert seen(tmp_path, packed, "dump.sql.gz").digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"


def test_a_large_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "dump").open("wb") as file:
        file.truncate(80 << 20)
    tracemalloc.start()
    try:
        assert inventory._seen(storage_for(str(tmp_path)), "dump", {}).size == 80 << 20
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError) as fault:
        inventory._seen(storage_for(str(tmp_path)), "dangling", {})
    assert fault.value.code == "GOV-724"
