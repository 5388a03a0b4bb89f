"""Opt-outs by signal: the Global Privacy Control, as a browser sends it with each request.

A file with a column ``signal`` holds one row a signal: ``domain``, ``subject_id``, ``collected_at``, ``signal: gpc``.
Each is an opt-out of every purpose (Cal. Code Regs. tit. 11, 7025(c)(1)). A browser repeats itself; only the first
signal of a consumer who is not opted out becomes a record. That a signal stops is no opt-in. A signal after an opt-in
for one purpose alone overlaps the opt-out of all and is refused (GOV-202): it wants an opt-out of that purpose.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.consent.actions import EVERY_PURPOSE, SEGMENT, Action
from governance.consent.duck import relations
from governance.consent.interchange import NotRecords

GPC = "gpc"
"""https://www.w3.org/TR/gpc/: the header ``Sec-GPC: 1``. Records made by it have it as their ``channel``."""

SIGNALS = ("domain", "subject_id", "collected_at", "signal")
"""The columns of a file of signals."""

# Doubled microseconds, as in intervals: an opt-in does not end the opt-out of its moment.
_REPEATED = f"""
WITH events AS (
    SELECT "row", domain, subject, action = '{Action.OPT_OUT}' AS opens, 2 * epoch_us(valid_from)
               - CASE WHEN action = '{Action.OPT_OUT}' THEN 0 ELSE 1 END AS moment,
           valid_to, channel = '{GPC}' AND "row" > 0 AS signal
    FROM ledger
    WHERE action = '{Action.OPT_IN}' OR (action = '{Action.OPT_OUT}' AND purpose = '{EVERY_PURPOSE}')
)
SELECT "row" FROM (
    SELECT "row", signal, valid_to, lag(opens) OVER w AS open, 2 * epoch_us(lag(valid_to) OVER w) > moment AS still,
           lag(valid_to) OVER w IS NULL AS endless
    FROM events WINDOW w AS (PARTITION BY domain, subject ORDER BY moment, "row")
) WHERE signal AND open AND (endless OR still) ORDER BY "row"
"""


def records_of(table: pa.Table) -> pa.Table:
    """The rows of a file of signals as rows of a consent file.

    Raises:
        NotRecords: for a column that is missing or strange, and a signal that is none.
    """
    if sorted(table.column_names) != sorted(SIGNALS):
        raise NotRecords(f"a file of signals has the columns {', '.join(SIGNALS)} and no others")
    with relations({"file": table}) as connection:
        other = f"SELECT 1 FROM file WHERE signal IS DISTINCT FROM '{GPC}' LIMIT 1"
        if connection.execute(other).fetchall():
            raise NotRecords(f"a signal is not {GPC}; leave out rows without one")
        # The id is stored as a salted digest only, like every record's.
        sql = f"""
            SELECT 'gpc:' || sha256(domain || '|' || subject_id || '|' || collected_at) AS record_id, domain,
                   subject_id, '{EVERY_PURPOSE}' AS purpose, '{Action.OPT_OUT}' AS action,
                   collected_at AS valid_from, collected_at, '{GPC}' AS channel
            FROM file
        """
        return connection.sql(sql).to_arrow_table()


def repeated_signals(new: pa.Table, before: pa.Table) -> list[int]:
    """Rows of signals from consumers who are opted out already, by the ledger or an earlier row.

    Args:
        new: segment columns and ``row``, from 1. before: what the ledger has of these subjects.
    """
    if not pc.any(pc.equal(new["channel"], GPC)).as_py():
        return []
    numbers = pa.array(np.zeros(before.num_rows, np.int64))
    earlier = before.select(SEGMENT.names).append_column("row", numbers)
    with relations({"ledger": pa.concat_tables([earlier, new.select(earlier.column_names)])}) as connection:
        return [row for (row,) in connection.execute(_REPEATED).fetchall()]


def opt_outs_by_purpose(records: pa.Table) -> dict[str, dict[str, int]]:
    """What a batch says of opt-outs, by purpose: ``opened``, of which by signal (``gpc``) and ``ending`` by
    themselves, and ``closed`` by opt-ins."""
    sql = f"""
        SELECT purpose, count(*) FILTER (action = '{Action.OPT_OUT}') AS opened,
               count(*) FILTER (action = '{Action.OPT_OUT}' AND channel = '{GPC}') AS gpc,
               count(*) FILTER (action = '{Action.OPT_OUT}' AND valid_to IS NOT NULL) AS ending,
               count(*) FILTER (action = '{Action.OPT_IN}') AS closed
        FROM records WHERE action IN ('{Action.OPT_OUT}', '{Action.OPT_IN}') GROUP BY purpose ORDER BY purpose
    """
    with relations({"records": records}) as connection:
        found = connection.execute(sql).fetchall()
    return {
        purpose: {"opened": opened, "gpc": gpc, "ending": ending, "closed": closed}
        for purpose, opened, gpc, ending, closed in found
    }
