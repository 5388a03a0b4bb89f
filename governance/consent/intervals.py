"""Finds overlapping intervals among a subject's records of one kind and purpose, in one DuckDB query."""

from __future__ import annotations

import pyarrow as pa

from governance.consent.actions import EVERY_PURPOSE, KINDS
from governance.consent.duck import relations

_KIND = " ".join(
    f"WHEN action IN ({', '.join(repr(a.value) for a in (kind.opens, kind.closes) if a)}) THEN {number}"
    for number, kind in enumerate(KINDS)
)
_OPENS = ", ".join(repr(kind.opens.value) for kind in KINDS)
_PERMITS = ", ".join(str(number) for number, kind in enumerate(KINDS) if kind.permits)

# Doubled microseconds order a closing before or after an opening at the same moment: a withdrawal
# ends the grant of that moment, an opt-in does not end the opt-out of that moment.
_SQL = f"""
WITH records AS (
    SELECT "row", domain, subject, purpose, CASE {_KIND} END AS kind, action IN ({_OPENS}) AS opens,
           2 * epoch_us(valid_from) AS moment, coalesce(2 * epoch_us(valid_to), 9223372036854775807) AS until
    FROM ledger
),
openings AS (SELECT * FROM records WHERE opens),
closes_at AS (
    SELECT domain, subject, purpose, kind, moment - CASE WHEN kind IN ({_PERMITS}) THEN 0 ELSE 1 END AS moment
    FROM records WHERE NOT opens
),
closings AS (
    FROM closes_at
    UNION ALL
    SELECT o.domain, o.subject, o.purpose, o.kind, c.moment FROM closes_at c
    JOIN (SELECT DISTINCT domain, subject, purpose, kind FROM openings) o USING (domain, subject, kind)
    WHERE c.purpose = '{EVERY_PURPOSE}' AND o.purpose <> '{EVERY_PURPOSE}'
),
timeline AS (
    SELECT "row", domain, subject, purpose, kind, moment, until, NULL::BIGINT AS closes FROM openings
    UNION ALL
    SELECT NULL, domain, subject, purpose, kind, moment, NULL, moment FROM closings
),
ended AS (
    SELECT *, least(until, coalesce(min(closes) OVER (
        PARTITION BY domain, subject, purpose, kind ORDER BY moment
        RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING), until)) AS finish
    FROM timeline
),
compared AS (
    SELECT "row", max(finish) OVER earlier > moment OR lead(moment) OVER running < finish AS clashes
    FROM ended WHERE until IS NOT NULL
    WINDOW running AS (PARTITION BY domain, subject, purpose, kind ORDER BY moment, "row"),
           earlier AS (PARTITION BY domain, subject, purpose, kind ORDER BY moment, "row"
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT "row" FROM compared WHERE clashes AND "row" > 0 ORDER BY "row"
"""


def overlapping_rows(records: pa.Table) -> list[int]:
    """Rows of a file whose interval overlaps another one of the same subject, purpose and kind.

    An interval runs from an opening's ``valid_from`` to its ``valid_to`` or to the first closing not
    before it, whichever is earlier.

    Args:
        records: segment columns and ``row``: the row in the file, 0 or less for earlier batches.
    """
    with relations({"ledger": records}) as connection:
        return [row for (row,) in connection.execute(_SQL).fetchall()]
