"""The bundle's container: a ZIP with one spelling (PKWARE APPNOTE 6.3.10, members stored).

Members are sorted, not compressed, without dates, comments or extra fields, so the same members are the
same bytes under every compressor, and a small file cannot become a large one. It is read front to back,
in memory, and must be exactly what :func:`pack` would have written around its contents.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from governance.errors import AuditError

MAX_BYTES = 1 << 29
MAX_MEMBERS = 60_000

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_SIGNATURE, _CENTRAL_SIGNATURE, _END_SIGNATURE = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _MADE_BY = 20, (3 << 8) | 20
_MIDNIGHT, _DAY = 0, (1 << 5) | 1  # 1980-01-01, the first day the format knows
_MODE = (stat.S_IFREG | 0o644) << 16
_NAME = re.compile(r"(?:[A-Za-z0-9-]+/)?[A-Za-z0-9-]+\.[a-z]+")
_REMEDY = "take the bundle again from where it was issued, and do not unpack and pack it"


class Failed(Exception):
    """The first thing of a bundle that does not verify: the file it is in, and what is wrong."""

    def __init__(self, file: str, what: str) -> None:
        super().__init__(f"{file}: {what}")


@dataclass(frozen=True, slots=True)
class Packed:
    """Members by name, in order. ``damaged`` names those whose bytes do not have their checksum."""

    members: Mapping[str, bytes]
    damaged: tuple[str, ...]


def pack(members: Mapping[str, bytes]) -> bytes:
    """The container of these members.

    Raises:
        AuditError: GOV-804 when there are too many, or they are too large.
    """
    size = sum(map(len, members.values()))
    if len(members) > MAX_MEMBERS or size > MAX_BYTES:
        raise AuditError(
            "GOV-804",
            f"a bundle of {len(members):,} files and {size:,} bytes is too large",
            "make the report for a shorter period, or without --bundle",
        )
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name in sorted(members):
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a member's name: {name}")
        header = _header(name, zlib.crc32(members[name]), len(members[name]))
        directory.append(_entry(name, zlib.crc32(members[name]), len(members[name]), offset))
        parts += [header, members[name]]
        offset += len(header) + len(members[name])
    return b"".join([*parts, *directory, _end(len(members), sum(map(len, directory)), offset)])


def read(path: Path | bytes) -> Packed:
    """Read a container, from its file or as it came.

    Raises:
        AuditError: GOV-801 when it cannot be read, is too large, or is not as :func:`pack` writes it:
            compressed or encrypted members, names out of order or used twice, paths, stray bytes.
    """
    if isinstance(path, bytes):
        return _read(path)
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise AuditError(
                "GOV-801",
                f"{path.name} is not a file of at most {MAX_BYTES:,} bytes",
                "name the bundle that was issued",
            )
        data = path.read_bytes()
    except OSError as error:
        raise AuditError(
            "GOV-801", f"{path.name} cannot be read: {error.strerror}", "name the bundle that was issued"
        ) from None
    return _read(data)


def _read(data: bytes) -> Packed:
    members: dict[str, bytes] = {}
    damaged, directory = [], []
    offset, last = 0, ""
    while data[offset : offset + 4] == _LOCAL_SIGNATURE:
        name, checksum, size = _local(data, offset)
        if name <= last or len(members) >= MAX_MEMBERS:
            raise _altered(offset, "a member is out of order, used twice, or one too many")
        start = offset + _LOCAL.size + len(name)
        content = data[start : start + size]
        if len(content) != size:
            raise _altered(offset, f"{name} says it is longer than the bundle")
        if zlib.crc32(content) != checksum:
            damaged.append(name)
        directory.append(_entry(name, checksum, size, offset))
        members[name], last = content, name
        offset = start + size
    tail = b"".join(directory)
    tail += _end(len(members), len(tail), offset)
    if not members or data[offset:] != tail:
        found = data[offset:]
        differs = next((i for i, (a, b) in enumerate(zip(found, tail, strict=False)) if a != b), len(tail))
        raise _altered(offset + min(differs, len(found)), "the directory is not that of the members")
    return Packed(members, tuple(damaged))


def _local(data: bytes, offset: int) -> tuple[str, int, int]:
    try:
        fields = _LOCAL.unpack_from(data, offset)
    except struct.error:
        raise _altered(offset, "it ends within a member's header") from None
    checksum, size, length = fields[6], fields[8], fields[9]
    raw = data[offset + _LOCAL.size : offset + _LOCAL.size + length]
    name = raw.decode("ascii", "replace")
    if _NAME.fullmatch(name) is None:
        raise _altered(offset, "a member has a name that no bundle has")
    if fields[3] != 0 or fields[7] != size:
        raise _altered(offset, f"{name} is compressed")
    if data[offset : offset + _LOCAL.size + length] != _header(name, checksum, size):
        raise _altered(offset, f"the header of {name} is not as bundles have it")
    return name, checksum, size


def _header(name: str, checksum: int, size: int) -> bytes:
    encoded = name.encode("ascii")
    fixed = (_VERSION, 0, 0, _MIDNIGHT, _DAY, checksum, size, size, len(encoded), 0)
    return _LOCAL.pack(_LOCAL_SIGNATURE, *fixed) + encoded


def _entry(name: str, checksum: int, size: int, offset: int) -> bytes:
    encoded = name.encode("ascii")
    fixed = (_MADE_BY, _VERSION, 0, 0, _MIDNIGHT, _DAY, checksum, size, size, len(encoded), 0, 0, 0, 0)
    return _CENTRAL.pack(_CENTRAL_SIGNATURE, *fixed, _MODE, offset) + encoded


def _end(count: int, size: int, offset: int) -> bytes:
    return _END.pack(_END_SIGNATURE, 0, 0, count, count, size, offset, 0)


def _altered(offset: int, why: str) -> AuditError:
    return AuditError("GOV-801", f"the bundle cannot be read at byte {offset:,}: {why}", _REMEDY)
