"""Every fault of a consent file at once, by row number and never by value."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.consent.actions import CLOSING, EVERY_PURPOSE, KINDS, STAMP, Action
from governance.consent.duck import listed, relations
from governance.consent.formats import REQUIRED, TIMES
from governance.consent.validity import DEFECTS, GIVEN_BY

CLOCK_TOLERANCE = timedelta(hours=24)
"""How far after the import a record may claim to have been collected: clocks differ, the future does not."""

_RFC_3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)
_PERMITTING_OPENINGS = tuple(kind.opens.value for kind in KINDS if kind.permits)


def check_rows(
    table: pa.Table, *, recorded_at: datetime, purposes: Collection[str] | None
) -> tuple[pa.Table, list[str]]:
    """Parse the times and judge each row.

    Args:
        table: what :func:`governance.consent.formats.read_file` returned.
        recorded_at: when the import happens.
        purposes: the policy's purposes, or ``None`` to accept any name.

    Returns:
        The table with times as ``timestamp[us, UTC]`` and a ``row`` column counting from 1, and the
        faults in words. The table is only good to use when there are none.
    """
    faults: list[str] = []
    for name in REQUIRED:
        _report(faults, f"{name} is empty", _blank(table[name]))
    for name in TIMES:
        given = pc.invert(_blank(table[name]))
        column = _parsed_time(table[name])
        table = table.set_column(table.column_names.index(name), name, column)
        wrong = pc.and_(given, pc.is_null(column))
        _report(faults, f"{name} is not an RFC 3339 time with a zone, from 1900 to 9999", wrong)
    action, purpose = table["action"], table["purpose"]
    _report(faults, f"action is none of {', '.join(Action)}", _not_in(action, tuple(Action)))
    if purposes is not None:
        _report(faults, "purpose is not in the policy", _not_in(purpose, (*purposes, EVERY_PURPOSE)))
    everything = pc.equal(purpose, EVERY_PURPOSE)
    specific = pc.is_in(action, pa.array(_PERMITTING_OPENINGS))
    _report(faults, "a grant or authorization must name one purpose, not *", pc.and_(everything, specific))
    ends = pc.and_(pc.is_valid(table["valid_to"]), pc.is_in(action, pa.array(CLOSING)))
    _report(faults, f"valid_to must be empty for {', '.join(CLOSING)}: they are moments", ends)
    _report(faults, "valid_to is not after valid_from", pc.less_equal(table["valid_to"], table["valid_from"]))
    latest = pa.scalar(recorded_at + CLOCK_TOLERANCE, STAMP)
    _report(faults, "collected_at lies in the future", pc.greater(table["collected_at"], latest))
    _report(faults, f"given_by is none of {', '.join(GIVEN_BY)}", _not_in(table["given_by"], GIVEN_BY))
    _report(faults, f"defect is none of {', '.join(DEFECTS)}", _not_in(table["defect"], DEFECTS))
    born = _parsed_date(table["birth_date"])
    wrong = pc.and_(pc.is_valid(table["birth_date"]), pc.is_null(born))
    _report(faults, "birth_date is not a date such as 2010-01-31", wrong)
    table = table.set_column(table.column_names.index("birth_date"), "birth_date", born)
    table = table.append_column("row", pa.array(np.arange(1, table.num_rows + 1)))
    again = repeated_ids(table, same_content=False)
    if again:
        faults.append(f"record_id is used before in this file, with other content, in {listed(again)}")
    return table, faults


def repeated_ids(table: pa.Table, *, same_content: bool) -> list[int]:
    """Rows whose ``record_id`` an earlier row has, with the same content or with other content."""
    if pc.count_distinct(table["record_id"], mode="all").as_py() == table.num_rows:
        return []
    content = ", ".join(name for name in table.column_names if name not in ("record_id", "row"))
    sql = f"""
        WITH ranked AS (
            SELECT "row", record_id, row({content}) AS content,
                   first_value(row({content})) OVER w AS first, row_number() OVER w AS rank
            FROM file WHERE record_id IN (SELECT record_id FROM file GROUP BY record_id HAVING count(*) > 1)
            WINDOW w AS (PARTITION BY record_id ORDER BY "row" ROWS UNBOUNDED PRECEDING)
        )
        SELECT "row" FROM ranked WHERE rank > 1 AND (content IS NOT DISTINCT FROM first) = ?
        ORDER BY "row"
    """
    with relations({"file": table}) as connection:
        return [row for (row,) in connection.execute(sql, [same_content]).fetchall()]


def _blank(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type):
        return pc.is_null(column)
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)


def _parsed_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as timestamps, null where it cannot be."""
    if pa.types.is_string(column.type):
        shaped = pc.if_else(pc.match_substring_regex(column, _RFC_3339), column, pa.scalar(None, pa.string()))
        with relations({"file": pa.table({"value": shaped})}) as connection:
            sql = "SELECT epoch_us(TRY_CAST(value AS TIMESTAMPTZ)) AS value FROM file"
            column = connection.sql(sql).to_arrow_table()["value"].cast(STAMP)
    within = pc.and_(
        pc.greater_equal(column, pa.scalar(_EARLIEST, STAMP)), pc.less(column, pa.scalar(_LATEST, STAMP))
    )
    return pc.if_else(within, column, pa.scalar(None, STAMP))


def _parsed_date(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.null_count == len(column):
        return column.cast(pa.date32())
    shaped = pc.if_else(
        pc.match_substring_regex(column, r"^\d{4}-\d{2}-\d{2}$"), column, pa.scalar(None, pa.string())
    )
    with relations({"file": pa.table({"value": shaped})}) as connection:
        parsed = connection.sql("SELECT TRY_CAST(value AS DATE) AS value FROM file").to_arrow_table()
    return parsed["value"]


def _not_in(column: pa.ChunkedArray, known: tuple[str, ...]) -> pa.ChunkedArray:
    return pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, pa.array(known, pa.string()))))


def _report(faults: list[str], what: str, wrong: pa.ChunkedArray) -> None:
    rows = pc.indices_nonzero(pc.fill_null(wrong, False))
    if len(rows):
        faults.append(f"{what} in {listed([i + 1 for i in rows.slice(0, 20).to_pylist()], len(rows))}")
