"""Judges a version in one pass: one DuckDB aggregate over the Arrow stream that reads it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import ValidationError
from governance.model.contract import Rule
from governance.validate.by_gx import ByGx, Frame
from governance.validate.columns import normalized, normalized_type
from governance.validate.results import ValidationResult, collected, row_result
from governance.validate.rowwise import Missing
from governance.validate.rules import Compiled, Whole, compiled, types_of
from governance.validate.uniqueness import Keyer, Keys, Unique, among, repeated


def judge(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    rules: Iterable[Rule],
    *,
    memory_limit: str = "1GB",
    threads: int = 2,
) -> ValidationResult:
    """Judge ``batches``, all of ``schema``, by every rule; each batch is read once.

    Memory is bounded but for uniqueness (16 bytes a row and rule), the columns of rules that Great Expectations
    judges, and DuckDB's distinct counts and medians, which ``memory_limit`` bounds. Nothing is spilled to disk.

    Raises:
        ValidationFindings: GOV-401 with every faulty rule, before the first batch is read.
        ValidationError: GOV-402 when ``memory_limit`` does not suffice to judge.
        Whatever ``batches`` raises, unchanged.
    """
    ready = compiled(rules, schema)
    scan = _Scan(batches, schema, ready)
    plan = _Plan(ready, schema, scan.names)
    values = _values(scan, plan, memory_limit, threads)
    return collected([(each.rule, *_verdict(each, plan, values, scan)) for each in ready])


class _Scan:
    """The stream on its way into DuckDB: normalized, renamed, its rows and keys counted."""

    def __init__(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, ready: Sequence[Compiled]
    ) -> None:
        apart = Unique | ByGx
        wanted = {name for each in ready if not isinstance(each.check, apart) for name in each.columns}
        self.names = {name: f"c{n}" for n, name in enumerate(n for n in schema.names if n in wanted)}
        kinds = [normalized_type(schema.field(name).type) for name in self.names]
        self.schema = pa.schema(list(zip(self.names.values(), kinds, strict=True)))
        self.rows = 0
        self.failure: BaseException | None = None
        self.counters = {id(e): _KeyCounter(e.check) for e in ready if isinstance(e.check, Unique)}
        self.frame = Frame([e.check for e in ready if isinstance(e.check, ByGx)], schema)
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                for counter in self.counters.values():
                    counter.update(batch)
                self.frame.update(batch)
                arrays = [normalized(batch.column(name)) for name in self.names]
                yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        except GeneratorExit:  # the query failed and reads no further
            raise
        except BaseException as failure:  # DuckDB would turn it into its own
            self.failure = failure
            raise


class _KeyCounter:
    def __init__(self, check: Unique) -> None:
        self._keyer = Keyer(check.columns, check.ignored)
        self._keys: list[Keys] = []

    def update(self, batch: pa.RecordBatch) -> None:
        keys, counted = self._keyer.keys([normalized(batch.column(n)) for n in self._keyer.columns])
        self._keys.append(keys[counted])

    def counts(self) -> tuple[int, int]:
        """Rows that count, and those of them whose key another one has."""
        keys = np.concatenate(self._keys) if self._keys else np.empty((0, 2), np.uint64)
        return len(keys), int(np.count_nonzero(among(keys, repeated(keys))))


class _Plan:
    """The select list, and which of its columns belong to which rule."""

    def __init__(self, ready: Sequence[Compiled], schema: pa.Schema, names: dict[str, str]) -> None:
        self.types = types_of(schema)
        self.select: list[str] = []
        self._places: dict[int, tuple[int, int]] = {}
        for each in ready:
            start = len(self.select)
            self.select += self._expressions(each, names)
            self._places[id(each)] = (start, len(self.select))

    def values(self, each: Compiled, row: Sequence[Any]) -> Sequence[Any]:
        start, stop = self._places[id(each)]
        return row[start:stop]

    def _expressions(self, each: Compiled, names: dict[str, str]) -> list[str]:
        check = each.check
        if isinstance(check, Unique | ByGx):
            return []
        if isinstance(check, Whole):
            return check.sql(names, self.types)
        return [
            f"count(*) FILTER ({check.considered_sql(names)})",
            f"count(*) FILTER ({check.failing_sql(names, self.types)})",
        ]


def _values(scan: _Scan, plan: _Plan, memory_limit: str, threads: int) -> Sequence[Any]:
    if not plan.select:
        for _ in scan:
            pass
        return ()
    import duckdb

    settings: dict[str, Any] = {
        "threads": threads,
        "memory_limit": memory_limit,
        "max_temp_directory_size": "0B",  # spill files were found to hold readable values
        "preserve_insertion_order": False,
    }
    con = duckdb.connect(config=settings)
    exhausted = False
    try:
        con.register("version", pa.RecordBatchReader.from_batches(scan.schema, iter(scan)))
        return tuple(con.sql(f"SELECT {', '.join(plan.select)} FROM version").fetchall()[0])
    except duckdb.OutOfMemoryException:
        exhausted = True
    except duckdb.Error:
        pass  # its text may quote a value; raised below, so that it is not the context
    finally:
        con.close()
    if scan.failure is not None:
        raise scan.failure
    raise _unjudged(memory_limit if exhausted else None)


def _unjudged(exceeded: str | None) -> ValidationError:
    if exceeded is None:
        return ValidationError(
            "GOV-402",
            "the quality rules could not be judged: the query failed",
            "report the rules' expectations and the columns' types as a bug",
        )
    return ValidationError(
        "GOV-402",
        f"the quality rules could not be judged within {exceeded} of memory",
        "allow more memory, or replace rules that count the distinct values of a whole column",
    )


def _verdict(each: Compiled, plan: _Plan, row: Sequence[Any], scan: _Scan) -> tuple[bool, dict[str, Any]]:
    if isinstance(each.check, Whole):
        return each.check.verdict(plan.values(each, row), scan.rows, plan.types)
    if isinstance(each.check, ByGx):
        return scan.frame.verdict(each.check)
    if isinstance(each.check, Unique):
        considered, unexpected = scan.counters[id(each)].counts()
    else:
        considered, unexpected = plan.values(each, row)
    success = considered == 0 or (considered - unexpected) / considered >= each.mostly
    of_missing = isinstance(each.check, Missing)
    return success, row_result(scan.rows, considered, unexpected, of_missing=of_missing)
