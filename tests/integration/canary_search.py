"""Looks for values in files, in every form in which a careless program leaves them behind."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

_WINDOW = 8
_MOST = 8 << 20
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|\x28\xb5\x2f\xfd")


def spellings(value: str) -> set[str]:
    """A value as people and programs write it."""
    bare = re.sub(r"[^0-9A-Za-z]", "", value)
    forms = {value, value.lower(), value.upper(), value[::-1], json.dumps(value)[1:-1], quote(value)}
    return {f for f in {*forms, bare, bare.lower()} if len(f) >= _WINDOW}


def forms(value: str) -> dict[bytes, str]:
    """Bytes to look for, with how they came about. All are at least eight bytes long."""
    found: dict[bytes, str] = {}
    for text in spellings(value):
        raw = text.encode()
        found |= {raw: "plain", text.encode("utf-16-le"): "UTF-16", text.encode("utf-16-be"): "UTF-16"}
        found |= {raw.hex().encode(): "hex", raw.hex().upper().encode(): "hex"}
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            for shift in range(3):
                # The characters that depend on this value alone, at each of three alignments.
                encoded = encode(b"\0" * shift + raw)
                inner = encoded[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
                found[inner] = "base64"
    for text in {value, value.lower(), value.strip()}:
        for name in ("sha256", "sha1", "md5", "sha512", "blake2b"):
            hashed = hashlib.new(name, text.encode()).digest()
            found |= {hashed: name, hashed.hex().encode(): name, base64.b64encode(hashed)[:-4]: name}
    return {k: v for k, v in found.items() if len(k) >= _WINDOW}


class Search:
    """Finds any form of any of ``values`` in bytes; one pass over the data whatever their number."""

    def __init__(self, values: Iterable[str]) -> None:
        self._forms: dict[bytes, tuple[str, str]] = {}
        for value in values:
            self._forms |= {form: (value, how) for form, how in forms(value).items()}
        self._by_start: dict[int, list[bytes]] = {}
        for form in self._forms:
            self._by_start.setdefault(int.from_bytes(form[:_WINDOW], "little"), []).append(form)
        self._starts = np.array(sorted(self._by_start), np.uint64)

    def data(self, data: bytes) -> set[tuple[str, str]]:
        """The (value, form) pairs in ``data``."""
        if len(data) < _WINDOW:
            return set()
        read = np.frombuffer(data, np.uint8)
        windows = np.zeros(len(read) - _WINDOW + 1, np.uint64)
        for byte in range(_WINDOW):
            windows |= read[byte : byte + len(windows)].astype(np.uint64) << np.uint64(8 * byte)
        places = np.searchsorted(self._starts, windows)
        hits = np.flatnonzero(self._starts[np.minimum(places, len(self._starts) - 1)] == windows)
        return {
            self._forms[form]
            for at in hits.tolist()
            for form in self._by_start[int(windows[at])]
            if data.startswith(form, at)
        }

    def file(self, path: Path) -> set[tuple[str, str]]:
        """The pairs in a file, in what it holds compressed, and in the values of a database or table."""
        raw = path.read_bytes()
        found = self.data(raw)
        for inside in _contents(path, raw):
            found |= self.data(inside)
        return found

    def tree(self, root: Path, *, leaving_out: Iterable[Path] = ()) -> dict[str, set[tuple[str, str]]]:
        """What each file below ``root`` holds, by relative path; only files that hold anything."""
        left_out = [p.resolve() for p in leaving_out]
        found: dict[str, set[tuple[str, str]]] = {}
        for path in sorted(root.rglob("*")):
            if any(path.resolve().is_relative_to(p) for p in left_out):
                continue
            hits = self.data(str(path.relative_to(root)).encode()) | (
                self.file(path) if path.is_file() else set()
            )
            if hits:
                found[str(path.relative_to(root))] = hits
        return found


def _contents(path: Path, raw: bytes) -> Iterator[bytes]:
    for match in _PACKED.finditer(raw):
        yield _unpacked(raw[match.start() :])
    if raw.startswith(b"SQLite format 3"):
        # Long values are cut over pages, so the file's bytes are not enough.
        yield from _database_values(path)
    if raw.startswith(b"PAR1") and raw.endswith(b"PAR1"):
        yield table_bytes(pq.ParquetFile(io.BytesIO(raw)).read())
    if raw.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for name in archive.namelist():
                yield archive.read(name)


def _unpacked(data: bytes) -> bytes:
    try:
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
                return bytes(stream.read(_MOST))
        return zlib.decompressobj(47).decompress(data, _MOST)
    except (zlib.error, OSError, pa.ArrowException):
        return b""


def _database_values(path: Path) -> Iterator[bytes]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = [t for (t,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                values = [v if isinstance(v, bytes) else str(v).encode() for v in row]
                yield b"\n".join(values)
                for value in values:
                    for match in _PACKED.finditer(value):
                        yield _unpacked(value[match.start() :])
    finally:
        connection.close()


def table_bytes(table: pa.Table) -> bytes:
    """Every value of a table as it stands in memory."""
    sink = io.BytesIO()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def plant(folder: Path, value: str) -> Mapping[str, str]:
    """Hide ``value`` in files of ``folder``, each in one way; returns the way by file name."""
    raw = value.encode()
    padded = b"some text before " + raw + b" and after"
    ways = {
        "plain.log": padded,
        "wide.txt": padded.decode().encode("utf-16-le"),
        "packed.gz": gzip.compress(padded),
        "deflated.bin": b"\0\1\2" + zlib.compress(padded * 3) + b"\3",
        "encoded.txt": base64.b64encode(b"x" + padded),
        "shifted.txt": base64.b64encode(b"xy" + padded),
        "hex.txt": padded.hex().encode(),
        "hashed.txt": hashlib.sha256(raw).hexdigest().encode(),
        "digest.bin": b"..." + hashlib.md5(raw, usedforsecurity=False).digest() + b"...",
    }
    for name, data in ways.items():
        (folder / name).write_bytes(data)
    pq.write_table(pa.table({"a": ["b" * 50, value] * 40}), folder / "table.parquet", compression="zstd")
    with sqlite3.connect(folder / "long.sqlite") as database:
        database.execute("CREATE TABLE t (v BLOB)")
        database.execute("INSERT INTO t VALUES (?)", (b"y" * 4080 + padded + b"z" * 9000,))
    with zipfile.ZipFile(folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json", padded)
    return dict.fromkeys([*ways, "table.parquet", "long.sqlite", "bundle.zip"], value)
