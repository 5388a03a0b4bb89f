"""A process that reads on while another destroys keys: warm caches must not decrypt."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from governance.errors import ProtectionError
from governance.keys.providers.provider import provider_for
from governance.keys.store import Keyring
from governance.protect.encryption import open_sealed, seal_writer


def _destroy(keys: str, kek: str) -> None:
    keyring = Keyring.open(Path(keys), provider_for(f"file:{kek}"))
    keyring.destroy_segment_keys(["a"])


def test_a_warm_reader_is_refused_at_its_next_file(
    keyring: Keyring, key_store: Path, kek: Path, tmp_path: Path
) -> None:
    table = pa.table({"x": [1, 2, 3]})
    local = pafs.LocalFileSystem()
    paths = {}
    for segment in "ab":
        key_id = keyring.new_segment_key(segment, "restricted")
        paths[segment] = str(tmp_path / f"{segment}.parquet")
        writer = seal_writer(
            paths[segment], local, table.schema, {key_id: ["x"]}, key_id, keyring.segment_key
        )
        writer.write_table(table, 3)
        writer.close()

    def read(segment: str) -> pa.Table:
        with open_sealed(paths[segment], local, keyring.segment_key) as opened:
            return opened.read()

    assert read("a") == read("b") == table
    keyring.close()
    process = multiprocessing.get_context("fork").Process(target=_destroy, args=(str(key_store), str(kek)))
    held = open_sealed(paths["a"], local, keyring.segment_key)
    keyring.segment_key("seg.a.restricted")
    process.start()
    process.join()
    assert process.exitcode == 0
    with pytest.raises(ProtectionError, match="GOV-303"):
        read("a")
    with pytest.raises(ProtectionError, match="GOV-303"):
        keyring.segment_key("seg.a.restricted")
    assert read("b") == table
    # The bound: a file that was open goes on until it is closed, for it holds its data keys.
    assert held.read() == table
    held.close()
