"""The standing of subjects by joins in DuckDB, for ledgers whose records do not fit into memory.

Within a gigabyte and never on disk: the ledger is aggregated a share of the subjects at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.consent.actions import Action
from governance.consent.heads import Batch
from governance.consent.law import Permission
from governance.consent.records import ACTIONS, PERMITS, Ints, action_codes, as_bytes, flat, micros
from governance.consent.timeline import NOTHING

RECORDS_AT_ONCE = 3_000_000
"""About so many records have their aggregates in memory together."""

_WHO = [("a", pa.uint64()), ("b", pa.uint64())]
_FORM = pa.schema(
    [
        *_WHO,
        ("action", pa.uint8()),
        ("valid_from", pa.int64()),
        ("valid_to", pa.int64()),
        ("counts", pa.int64()),
    ]
)
_ROWS = pa.schema([("number", pa.int64()), *_WHO])


_BEGUN, _RUNS = "counts <= $instant", "(valid_to IS NULL OR $instant < valid_to)"
_NOW = f"valid_from <= $instant AND {_RUNS}"
_LAST = (
    ("withdrawn", Action.WITHDRAW, "valid_from <= $instant"),
    ("revoked", Action.REVOKE, "valid_from <= $instant"),
    ("lapsed", Action.EXPIRE, "valid_from <= $instant"),
    ("granted", Action.GRANT, "true"),
    ("grant_begun", Action.GRANT, _BEGUN),
    ("grant_runs", Action.GRANT, f"{_BEGUN} AND {_RUNS}"),
    ("authorized", Action.AUTHORIZE, "true"),
    ("authorize_begun", Action.AUTHORIZE, _BEGUN),
    ("authorize_runs", Action.AUTHORIZE, f"{_BEGUN} AND {_RUNS}"),
    ("restricted", Action.RESTRICT, _NOW),
    ("unrestricted", Action.UNRESTRICT, _BEGUN),
    ("objected", Action.OBJECT, _NOW),
    ("opted_out", Action.OPT_OUT, _NOW),
    ("opted_in", Action.OPT_IN, _BEGUN),
)
"""Of each action, under a condition, the latest ``valid_from``: all that a standing depends on."""


def _permission(given: str, begun: str, runs: str, ended: str) -> str:
    after = f"({{}} IS NOT NULL AND ({ended} IS NULL OR {{}} > {ended}))"
    live = after.format(runs, runs)
    return (
        f"CASE WHEN {live} AND (lapsed IS NULL OR {runs} > lapsed) THEN {Permission.ACTIVE.value} "
        f"WHEN {after.format(begun, begun)} THEN {Permission.EXPIRED.value} "
        f"WHEN {ended} IS NOT NULL THEN {Permission.WITHDRAWN.value} "
        f"WHEN {given} IS NOT NULL THEN {Permission.NOT_YET_VALID.value} ELSE {Permission.NONE.value} END"
    )


def _stands(opened: str, closed: str) -> str:
    return f"coalesce({opened} >= {closed}, {opened} IS NOT NULL)::INT"


_STANDING = (
    f"((({_permission('granted', 'grant_begun', 'grant_runs', 'withdrawn')}) * 5 "
    f"+ {_permission('authorized', 'authorize_begun', 'authorize_runs', 'revoked')}) * 8 "
    f"+ {_stands('restricted', 'unrestricted')} * 4 + (objected IS NOT NULL)::INT * 2 "
    f"+ {_stands('opted_out', 'opted_in')})::UTINYINT"
)
_JOINED = "SELECT number, standing FROM subjects JOIN standing USING (a, b)"


def _aggregated(actions: Collection[str]) -> str:
    """Only what the actions that occur can bring about is looked for."""
    latest = ", ".join(
        f"max(valid_from) FILTER (WHERE action = {ACTIONS.index(action)} AND {condition}) AS {name}"
        if action in actions
        else f"NULL::BIGINT AS {name}"
        for name, action, condition in _LAST
    )
    return f"""
        CREATE TEMP TABLE standing AS SELECT a, b, {_STANDING} AS standing FROM (
            SELECT a, b, {latest} FROM records GROUP BY a, b)
    """


def standings_by_join(
    records: Callable[[], Iterator[tuple[pa.Table, int]]],
    batches: Sequence[Batch],
    subjects: Callable[[], pa.RecordBatchReader],
    size: int,
    instant: int,
    *,
    memory: str = "800MB",
    threads: int = 1,
) -> NDArray[np.uint8]:
    """The standing of each of ``size`` rows, as :mod:`governance.consent.timeline` numbers them.

    Args:
        records: as for the index; read once for each share.
        batches: those the records are of; they tell how many there are, and which actions occur.
        subjects: rows of ``number`` (int64, below ``size``) and ``subject`` (16 bytes); read once a share.
        instant: microseconds since 1970, UTC.

    Raises:
        duckdb.OutOfMemoryException: ``memory`` is not enough for a share. Nothing is ever spilled.
    """
    import duckdb

    found = np.full(size, np.uint8(NOTHING))
    # A power of two, so that a pseudonym's share is in its last bits.
    shares = 1 << (sum(batch.rows for batch in batches) // RECORDS_AT_ONCE).bit_length()
    aggregated = _aggregated({action for batch in batches for action in batch.actions})
    for number in range(shares):
        share = _Share(number, np.uint64(shares - 1))
        with duckdb.connect(
            config={
                "memory_limit": memory,
                "max_temp_directory_size": "0B",
                "threads": threads,
                "enable_external_access": False,
                "preserve_insertion_order": False,
            }
        ) as connection:
            reader = pa.RecordBatchReader.from_batches(_FORM, _formed(records(), share))
            connection.register("records", reader)
            connection.execute(aggregated, {"instant": instant})
            rows = pa.RecordBatchReader.from_batches(_ROWS, map(share.rows, subjects()))
            connection.register("subjects", rows)
            for batch in connection.sql(_JOINED).to_arrow_reader(1 << 17):
                found[batch["number"].to_numpy()] = batch["standing"].to_numpy()
    return found


@dataclass(frozen=True, slots=True)
class _Share:
    """The subjects whose pseudonym, two numbers of eight bytes, ends in ``number`` under ``mask``."""

    number: int
    mask: np.uint64

    def of(self, subjects: pa.Array) -> tuple[NDArray[np.uint64], Ints | slice]:
        """Both halves of every pseudonym, shape (n, 2), and the places of those of this share."""
        halves = as_bytes(subjects).view("<u8")
        if not self.mask:
            return halves, slice(None)
        return halves, np.flatnonzero((halves[:, 0] & self.mask) == np.uint64(self.number))

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        halves, mine = self.of(batch["subject"])
        numbers = batch["number"].to_numpy()
        return pa.record_batch([numbers[mine], *_columns(halves, mine)], schema=_ROWS)


def _formed(tables: Iterator[tuple[pa.Table, int]], share: _Share) -> Iterator[pa.RecordBatch]:
    for whole, recorded_at in tables:
        table = (
            whole if whole["defect"].null_count == len(whole) else whole.filter(pc.is_null(whole["defect"]))
        )
        halves, mine = share.of(flat(table["subject"]))
        action = action_codes(flat(table["action"]))[mine]
        valid_from = micros(table["valid_from"])[mine]
        valid_to = flat(table["valid_to"]).cast(pa.int64())
        late = flat(table["backdated"]).to_numpy(zero_copy_only=False)[mine] & PERMITS[action]
        columns = [*_columns(halves, mine), action, valid_from,
                   valid_to if isinstance(mine, slice) else valid_to.take(pa.array(mine)),
                   np.where(late, np.maximum(valid_from, recorded_at), valid_from)]  # fmt: skip
        yield from pa.table(columns, schema=_FORM).to_batches(1 << 17)


def _columns(halves: NDArray[np.uint64], mine: Ints | slice) -> list[pa.Array]:
    return [pa.array(np.ascontiguousarray(halves[mine, side])) for side in (0, 1)]
