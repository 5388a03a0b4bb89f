"""Parquet Modular Encryption with every column keyed.

The format is Apache Parquet's (``Encryption.md``), algorithm AES_GCM_V1: pages, column metadata
and footer are each authenticated, so no flipped bit reads silently. Data keys (256 bits, one a
column and file) are wrapped by key-encryption keys that PyArrow makes (128 bits, fixed there),
which are wrapped by our segment keys (AES-256-GCM, the key id as associated data). The wrapped
keys lie beside the file as ``_KEY_MATERIAL_FOR_<file>.json``. Nothing here stops a whole file
from being swapped for another: :mod:`governance.protect.manifest` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pqe
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from governance.errors import ContractError, ProtectionError
from governance.keys.sealing import confined

SegmentKey: TypeAlias = Callable[[str], bytes]
"""A key id → the segment key's 32 bytes; raises GOV-303."""

_NONCE = 12
_KEY_ID = re.compile(r"[A-Za-z0-9._/@=+-]+")
_SEPARATORS = ",:;"
_ENCRYPTED = b"PARE"


class SegmentKeyClient(pqe.KmsClient):  # type: ignore[misc]
    """PyArrow's port to a key service, answered from a keyring.

    Wrapped form: base64 of nonce ‖ AES-256-GCM ciphertext ‖ tag, associated data the key id.
    """

    def __init__(self, segment_key: SegmentKey) -> None:
        super().__init__()
        self._segment_key = segment_key

    @confined
    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed = self._cipher(master_key_identifier).encrypt(nonce, key_bytes, master_key_identifier.encode())
        return base64.b64encode(nonce + sealed)

    @confined
    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        cipher = self._cipher(master_key_identifier)
        opened: bytes | None = None
        try:
            sealed = base64.b64decode(wrapped_key, validate=True)
            opened = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], master_key_identifier.encode())
        except (InvalidTag, binascii.Error, ValueError):
            pass
        if opened is None:
            raise ProtectionError(
                "GOV-308",
                f"key {master_key_identifier} does not open the key material: one of them is not "
                "what the file was sealed with",
                "restore the file and its key material together, or use the keyring that sealed them",
            )
        return opened

    def _cipher(self, key_id: str) -> AESGCM:
        key = self._segment_key(key_id)
        if len(key) != 32:
            raise ProtectionError(
                "GOV-302",
                f"segment key {key_id} is not 256 bits long",
                "use the keyring that sealed the file",
            )
        return AESGCM(key)


def leaf_paths(schema: pa.Schema) -> dict[str, list[str]]:
    """Each column's Parquet leaf paths, in order: ``{"visits": ["visits.list.element"]}``.

    Raises:
        ContractError: GOV-109, PyArrow cannot key the column under this name or write its type.
    """
    if len(set(schema.names)) < len(schema.names):
        raise _unkeyable("two columns have the same name")
    sink = pa.BufferOutputStream()
    refused: pa.Field | None = None
    for field in schema:
        if not _writable(field):
            refused = field
    if refused is not None:
        raise ContractError(
            "GOV-109",
            f"column {refused.name} of type {refused.type} cannot be written to Parquet",
            "cast it in the source, or give it a transform with another output type",
        )
    pq.write_table(schema.empty_table(), sink)
    written = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    paths = [written.column(index).path for index in range(len(written.names))]
    for path in paths:
        if fault := _naming_fault(path):
            raise fault
    if len(set(paths)) < len(paths):
        raise _unkeyable("a column's name equals the path of another column's nested field")
    found: dict[str, list[str]] = {}
    remaining = iter(paths)
    for field in schema:
        found[field.name] = [next(remaining) for _ in range(_leaves(field.type))]
    return found


def _leaves(data_type: pa.DataType) -> int:
    if pa.types.is_dictionary(data_type):
        return _leaves(data_type.value_type)
    if pa.types.is_struct(data_type):
        return sum(_leaves(child.type) for child in data_type)
    if pa.types.is_map(data_type):
        return _leaves(data_type.key_type) + _leaves(data_type.item_type)
    if pa.types.is_nested(data_type):
        return _leaves(data_type.value_type)
    return 1


def _writable(field: pa.Field) -> bool:
    try:
        pq.write_table(pa.schema([field]).empty_table(), pa.BufferOutputStream())
    except (pa.ArrowException, NotImplementedError):
        return False
    return True


def _naming_fault(path: str) -> ContractError | None:
    if any(separator in path for separator in _SEPARATORS):
        return _unkeyable(f"column {path!r} has a comma, colon or semicolon in its name")
    if not path or path != path.strip():
        return _unkeyable(f"column {path!r} has an empty name or spaces around it")
    return None


def _unkeyable(what: str) -> ContractError:
    return ContractError(
        "GOV-109",
        f"{what}, which Parquet encryption cannot key",
        "rename it: write a plain `name` in the contract and the source's name as its physicalName",
    )


class SealedWriter:
    """An encrypted Parquet file being written. ``size`` and ``digest`` are of the bytes handed over."""

    def __init__(self, sink: Any, writer: pq.ParquetWriter, factory: pqe.CryptoFactory) -> None:
        self._sink = sink
        self._writer = writer
        self._factory = factory

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return int(self._sink.size)

    @property
    def digest(self) -> str:
        """``sha256:…`` of the file, final after :meth:`close`."""
        return f"sha256:{self._sink.sha256.hexdigest()}"

    def write_table(self, table: pa.Table, row_group_size: int) -> None:
        self._writer.write_table(table, row_group_size=row_group_size)

    def close(self) -> None:
        """Write the footer, close the file and forget the keys. Safe to call twice."""
        try:
            self._writer.close()
        finally:
            self._sink.close()
            self._factory.remove_cache_entries_for_all_tokens()


class _HashingSink:
    """A file object that hashes what passes through, so that no file is read back to be hashed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.sha256.update(view)
        self._stream.write(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._stream.flush()

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    def close(self) -> None:
        if not self._stream.closed:
            self._stream.close()


def key_material_path(path: str) -> str:
    """Where the wrapped keys of the file at ``path`` lie."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/_KEY_MATERIAL_FOR_{name}.json" if folder else f"_KEY_MATERIAL_FOR_{name}.json"


def seal_writer(
    path: str,
    filesystem: Any,
    schema: pa.Schema,
    column_keys: Mapping[str, Iterable[str]],
    footer_key_id: str,
    segment_key: SegmentKey,
    *,
    dictionary_columns: Iterable[str] = (),
) -> SealedWriter:
    """Open an encrypted Parquet file for writing; its folder must exist.

    Args:
        path: the file, on ``filesystem``.
        schema: what will be written, without metadata that must not be there.
        column_keys: key id → names of top-level columns. Every column must be named once.
        footer_key_id: the key of the footer, which holds schema, sizes and the key references.
        dictionary_columns: columns written with dictionary encoding.

    Raises:
        ContractError: GOV-109, a column cannot be keyed; GOV-108, a column is left without a key.
        ProtectionError: GOV-303, a key is not there; whatever ``segment_key`` raises.
    """
    paths = leaf_paths(schema)
    keyed = [column for columns in column_keys.values() for column in columns]
    if sorted(keyed) != sorted(schema.names):
        unkeyed = sorted(set(schema.names) - set(keyed)) or sorted(set(keyed) - set(schema.names))
        raise ContractError(
            "GOV-108",
            f"columns without exactly one key: {', '.join(unkeyed) or 'one is keyed twice'}",
            "give every column a sensitivity, so that it gets a key",
        )
    for key_id in (*column_keys, footer_key_id):
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"a key id holds characters that Parquet's key list reserves: {key_id!r}")
    factory = pqe.CryptoFactory(lambda _: SegmentKeyClient(segment_key))
    configuration = pqe.EncryptionConfiguration(
        footer_key=footer_key_id,
        column_keys={
            key_id: [leaf for column in columns for leaf in paths[column]]
            for key_id, columns in column_keys.items()
        },
        encryption_algorithm="AES_GCM_V1",
        plaintext_footer=False,
        double_wrapping=True,
        internal_key_material=False,
        data_key_length_bits=256,
    )
    properties = factory.file_encryption_properties(
        pqe.KmsConnectionConfig(), configuration, parquet_file_path=path, filesystem=filesystem
    )
    sink = _HashingSink(filesystem.open_output_stream(path))
    dictionary = [leaf for column in dictionary_columns for leaf in paths[column]]
    try:
        writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            schema,
            encryption_properties=properties,
            compression="zstd",
            use_dictionary=dictionary or False,
        )
    except BaseException:
        sink.close()
        raise
    return SealedWriter(sink, writer, factory)


def is_sealed(handle: Any) -> bool:
    """Whether an open file begins and ends as Parquet with an encrypted footer does.

    PyArrow reads a plain file without a word although decryption was asked for.
    """
    size = handle.size()
    if size < 12:
        return False
    handle.seek(0)
    head = bytes(handle.read(4))
    handle.seek(size - 4)
    tail = bytes(handle.read(4))
    handle.seek(0)
    return head == tail == _ENCRYPTED


def open_sealed(
    path: str, filesystem: Any, segment_key: SegmentKey, *, source: Any | None = None
) -> pq.ParquetFile:
    """Open an encrypted Parquet file. Close it after use: while open it holds its data keys.

    Opening asks for the footer's key and those of all columns that are then read. This does not
    tell a swapped file: use :func:`governance.protect.reading.open_version` for released data.

    Args:
        source: an open random-access file for ``path``; opened here when absent.

    Raises:
        ProtectionError: GOV-303, a key is not there; GOV-308, key material or file do not
            decrypt. Reading pages later raises ``OSError`` for altered ones.
    """
    # A fresh factory each time: a warm one goes on decrypting after a key was destroyed.
    factory = pqe.CryptoFactory(lambda _: SegmentKeyClient(segment_key))
    opened: pq.ParquetFile | None = None
    try:
        properties = factory.file_decryption_properties(
            pqe.KmsConnectionConfig(),
            pqe.DecryptionConfiguration(),
            parquet_file_path=path,
            filesystem=filesystem,
        )
        handle = filesystem.open_input_file(path) if source is None else source
        if not is_sealed(handle):
            raise OSError
        opened = pq.ParquetFile(handle, decryption_properties=properties, pre_buffer=False)
    except (pa.ArrowException, OSError, UnicodeError):
        pass
    finally:
        factory.remove_cache_entries_for_all_tokens()
    if opened is None:
        raise ProtectionError(
            "GOV-308",
            f"{path} or its key material cannot be opened: missing, altered or not encrypted",
            "restore the file and its key material from the storage's own copy",
        )
    return opened
