"""From a file to the new records of a batch: parsed, judged, pseudonymised, without what is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.consent.actions import PSEUDONYM, SEGMENT
from governance.consent.checks import check_rows, repeated_ids
from governance.consent.duck import listed, relations
from governance.consent.formats import REMEDY, read_file
from governance.consent.intervals import overlapping_rows
from governance.consent.records import micros
from governance.consent.signals import opt_outs_by_purpose, repeated_signals
from governance.consent.validity import with_defects
from governance.errors import ConsentError, ConsentFindings
from governance.model.canonical import digest


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """A file's rows, each judged on its own. ``data`` are the file's bytes, ``digest`` is of them."""

    table: pa.Table
    data: bytes
    digest: str
    repeated: int


@dataclass(frozen=True, slots=True)
class NewRecords:
    """What a batch adds. ``actions`` counts records by action, ``opt_outs`` those of opt-outs by purpose."""

    records: pa.Table
    duplicates: int
    actions: dict[str, int]
    opt_outs: dict[str, dict[str, int]]


def read_records(
    path: Path, *, recorded_at: datetime, purposes: Collection[str] | None, domain: str | None = None
) -> ReadRecords:
    """Read and judge a file.

    Raises:
        ConsentFindings: GOV-201 with every fault.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConsentError(
            "GOV-201", f"{path} cannot be read: {error.strerror}", "name a file that can be read"
        ) from None
    table, faults = check_rows(read_file(path, data, domain), recorded_at=recorded_at, purposes=purposes)
    if faults:
        raise ConsentFindings("GOV-201", path.name, faults, REMEDY)
    again = repeated_ids(table, same_content=True)
    if again:
        table = table.filter(pc.invert(pc.is_in(table["row"], pa.array(again, pa.int64()))))
    return ReadRecords(with_defects(table).combine_chunks(), data, digest(data), len(again))


def prepare(
    read: ReadRecords,
    name: str,
    earlier: Iterable[pa.Table],
    *,
    internal: Callable[[str, pa.Array], NDArray[np.uint8]],
    salt: bytes,
    backdated_after: timedelta,
) -> NewRecords:
    """Bind rows to pseudonyms, leave out what earlier batches have, and refuse overlaps.

    Rows whose pseudonym is zero, those of erased subjects, are left out.

    Raises:
        ConsentFindings: GOV-201 when a record id was used before with other content, GOV-202 when
            intervals overlap, in the file or with earlier batches.
    """
    file = _pseudonymised(read.table, internal, salt, backdated_after)
    file = file.filter(pc.not_equal(file["subject"], pa.scalar(bytes(16), PSEUDONYM)))
    known = [_about(table, file) for table in earlier]
    before = pa.concat_tables([SEGMENT.empty_table(), *known])
    same, other = _known_rows(file, before)
    if other:
        fault = f"record_id is in the ledger already, with other content, in {listed(other)}"
        raise ConsentFindings(
            "GOV-201", name, [fault], "give a changed record a new record_id; records are never edited"
        )
    new = _without(file, same)
    again = repeated_signals(new, before)
    new = _without(new, again)
    numbered = before.append_column("row", pa.array(np.zeros(before.num_rows, dtype=np.int64)))
    overlapping = overlapping_rows(pa.concat_tables([numbered, new.select(numbered.column_names)]))
    if overlapping:
        fault = f"intervals of one subject, purpose and kind of record overlap in {listed(overlapping)}"
        remedy = (
            "end the earlier interval by a withdrawal and import the file again; nothing was taken from it"
        )
        raise ConsentFindings("GOV-202", name, [fault], remedy)
    counts = pc.value_counts(new["action"]).to_pylist()
    return NewRecords(
        new.select(SEGMENT.names).cast(SEGMENT),
        read.repeated + len(same) + len(again),
        {str(c["values"]): int(c["counts"]) for c in sorted(counts, key=lambda c: str(c["values"]))},
        opt_outs_by_purpose(new),
    )


def _without(table: pa.Table, rows: list[int]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["row"], pa.array(rows, pa.int64())))) if rows else table


def _pseudonymised(
    table: pa.Table,
    internal: Callable[[str, pa.Array], NDArray[np.uint8]],
    salt: bytes,
    backdated_after: timedelta,
) -> pa.Table:
    subjects = np.empty((table.num_rows, 16), dtype=np.uint8)
    domains = table["domain"].combine_chunks()
    identifiers = table["subject_id"].combine_chunks()
    for domain in pc.unique(domains).to_pylist():
        here = pc.indices_nonzero(pc.equal(domains, domain))
        subjects[here.to_numpy()] = internal(domain, identifiers.take(here))
    lag = micros(table["collected_at"]) - micros(table["valid_from"])
    backdated = lag > backdated_after // timedelta(microseconds=1)
    columns = {
        "record": _record_keys(table["record_id"], salt),
        "domain": table["domain"],
        "subject": pa.FixedSizeBinaryArray.from_buffers(
            PSEUDONYM, table.num_rows, [None, pa.py_buffer(subjects.tobytes())]
        ),
        "backdated": pa.array(backdated),
    }
    made = pa.table({name: columns[name] if name in columns else table[name] for name in SEGMENT.names})
    return made.cast(SEGMENT).append_column("row", table["row"])


def _record_keys(record_ids: pa.ChunkedArray, salt: bytes) -> pa.Array:
    with relations({"file": pa.table({"id": record_ids})}) as connection:
        sql = "SELECT unhex(sha256(? || id))[1:16] AS key FROM file"
        keys = connection.sql(sql, params=[salt.hex()]).to_arrow_table()["key"]
    return keys.cast(PSEUDONYM).combine_chunks()


def _about(table: pa.Table, file: pa.Table) -> pa.Table:
    """The records of an earlier batch that the file's records could repeat or overlap."""
    subjects = pc.unique(file["subject"])
    records = file["record"].combine_chunks()
    return table.filter(pc.or_(pc.is_in(table["subject"], subjects), pc.is_in(table["record"], records)))


def _known_rows(file: pa.Table, before: pa.Table) -> tuple[list[int], list[int]]:
    """Rows whose record is in an earlier batch: with the same content, with other content."""
    content = [name for name in SEGMENT.names if name not in ("record", "backdated", "defect")]
    same = " AND ".join(f"file.{name} IS NOT DISTINCT FROM before.{name}" for name in content)
    sql = f'SELECT file."row", {same} FROM file JOIN before ON file.record = before.record ORDER BY 1'
    with relations({"file": file, "before": before}) as connection:
        found = connection.execute(sql).fetchall()
    return [row for row, equal in found if equal], [row for row, equal in found if not equal]
