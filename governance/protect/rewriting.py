"""The one pass that writes: drops denied rows, diverts failing ones, transforms and seals the rest."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ContractError, GovernanceError, ProtectionError, SourceError, ValidationError
from governance.model.dataset import Segment
from governance.model.decision import Reason
from governance.protect.channel import in_order, read_ahead, write_behind
from governance.protect.encryption import leaf_paths
from governance.protect.outputs import Outputs, Piece
from governance.protect.plan import ColumnEvidence, ColumnPlan, Failing, Ordinals, RewritePlan, RewriteResult
from governance.protect.ports import SegmentKeys, SegmentStorage
from governance.protect.transforms import Transform, TransformContext, transform
from governance.protect.transforms.base import plain

A = TypeVar("A")
R = TypeVar("R")

RULE = "_governance_rule"
"""The column of a quarantined row that names the rules it fails, separated by line feeds."""

_WAITING = 1
_MOST_WORKERS = 2
"""Batches transformed at once: memory is for so many, and more would wait for the one that writes."""


def rewrite(
    batches: Iterable[pa.RecordBatch],
    plan: RewritePlan,
    *,
    storage: SegmentStorage,
    keys: SegmentKeys,
    threads: bool = True,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> RewriteResult:
    """Read the source once and write what may be released, sealed.

    Each batch is decided; denied rows go, failing rows are written as they came to a sealed
    quarantine segment (``quarantine/<id>/``), the rest is transformed and written to segments, one
    a partition. At most a few batches and one row group are in memory. A late withdrawal is the
    same pass with another ``decide``; an erasure too, over the segments it touches.

    Args:
        batches: the source, all of one schema. With ``threads`` it is iterated in another thread.
        plan: what to do; ``redact`` and ``redact_rows`` are called by several threads at once, its other functions by
            one at a time.
        storage: the dataset root.
        keys: makes the segments' keys; called in the caller's thread.
        threads: read ahead and write behind the computation, bounded.
        workers: batches to transform at once with ``threads``, where the process may use as many processors;
            two if not stated.
        progress: called with the rows read so far after each batch.

    Raises:
        ContractError: GOV-103 a column is missing, GOV-108 and GOV-109 a column cannot be sealed.
        ProtectionError: GOV-301 … GOV-306. ValidationError: GOV-405.
        Whatever ``batches`` and the plan's functions raise. After any of these nothing that was
        written remains.
    """
    with Outputs(storage, keys, plan) as outputs:
        work = _Pass(plan, outputs)
        ahead = read_ahead(batches, _WAITING) if threads else contextlib.nullcontext(iter(batches))
        behind = write_behind(outputs.write, _WAITING) if threads else contextlib.nullcontext(outputs.write)
        with ahead as reading, behind as put:

            def decided() -> Iterator[_Decided]:
                for batch in reading:
                    yield from work.decided(batch, put)
                    if progress is not None:
                        progress(work.rows_in)

            at_once = min(workers or _MOST_WORKERS, len(os.sched_getaffinity(0))) if threads else 1
            # Closed before the threads around it are: an error may come from any of them.
            with contextlib.closing(in_order(decided(), work.transformed, at_once)) as transformed:
                for done in transformed:
                    for piece in work.released(done):
                        put(piece)
        segments, quarantine = outputs.close()
        result = work.result(segments, quarantine)
        written = sum(s.rows for s in segments), quarantine.rows if quarantine else 0
        if written != (result.rows_out, result.rows_quarantined) or result.rows_in != sum(
            (result.rows_out, result.rows_denied, result.rows_quarantined)
        ):
            raise ValidationError(
                "GOV-405",
                f"read {result.rows_in:,} rows; wrote {written[0]:,}, quarantined {written[1]:,}, "
                f"denied {result.rows_denied:,}",
                "this is a fault of the software: report it; nothing was kept",
            )
        outputs.keep()
    return result


@dataclass(slots=True)
class _Column:
    """A column's plan, its transform and what was seen of it."""

    plan: ColumnPlan
    transform: Transform
    output_type: pa.DataType
    written: int = 0
    verified: int = 0
    nulled: int = 0

    def evidence(self) -> ColumnEvidence:
        masking = self.transform.masking and (self.verified > 0 or self.written == 0)
        return ColumnEvidence(self.plan.method, masking, self.verified, self.written, self.nulled)


@dataclass(frozen=True, slots=True)
class _Decided:
    """The n rows of a batch that may be released: its number, all its rows, which of them, and whose, (n,) or (n, people)."""

    number: int
    batch: pa.RecordBatch
    kept: Failing
    ordinals: Ordinals


@dataclass(frozen=True, slots=True)
class _Transformed:
    """These rows as they are written, what each column lost to nulls, and whether they were verified."""

    written: pa.RecordBatch
    ordinals: Ordinals
    nulled: Sequence[int]
    verified: bool


class _Pass:
    """Decides and transforms batch by batch; holds counts, never rows. Only :meth:`transformed` may run beside the rest."""

    def __init__(self, plan: RewritePlan, outputs: Outputs) -> None:
        self._plan = plan
        self._outputs = outputs
        self._columns: list[_Column] = []
        self._source: pa.Schema | None = None
        self._schema = pa.schema([])
        self._batches = 0
        self._alone = threading.Lock()
        self.rows_in = 0
        self._rows_out = 0
        self._rows_quarantined = 0
        self._denied: Counter[str] = Counter()
        self._by_rule: Counter[str] = Counter()

    def decided(self, batch: pa.RecordBatch, put: Callable[[Piece], None]) -> Iterator[_Decided]:
        """What may be released of ``batch``, if anything; what is set aside is handed to ``put``."""
        self._check_schema(batch.schema)
        rows = batch.num_rows
        if not rows:
            return
        self.rows_in += rows
        with self._alone:
            reasons, ordinals = self._plan.decide(batch)
        if reasons.shape != (rows,) or ordinals.shape not in ((rows,), (rows, len(self._plan.people))):
            raise ValueError(
                f"decide gave {reasons.shape} reasons and {ordinals.shape} ordinals of {rows} rows"
            )
        allowed = reasons == Reason.ALLOWED
        for code, count in zip(*np.unique(reasons[~allowed], return_counts=True), strict=True):
            self._denied[Reason(int(code)).label] += int(count)
        with self._alone:
            failing, names = self._failing(batch, allowed)
        if failing.any():
            self._rows_quarantined += int(failing.sum())
            put(self._outputs.quarantined(_set_aside(batch, failing, names)))
        kept = allowed & ~failing
        number, self._batches = self._batches, self._batches + 1
        if kept.any():
            yield _Decided(number, batch, kept, ordinals if kept.all() else ordinals[kept])

    def transformed(self, decided: _Decided) -> _Transformed:
        """The rows as they are written, verified where it is their turn."""
        released = (column.plan.source_name for column in self._columns)
        needed = list(dict.fromkeys([*released, *self._plan.beside]))
        source = decided.batch.select(needed)
        if not decided.kept.all():
            source = source.filter(pa.array(decided.kept))
        number = decided.number
        verified = number < self._plan.verify_first or number % max(self._plan.verify_every, 1) == 0

        def redact(values: pa.Array, name: str) -> pa.Array:
            if self._plan.redact_rows is None:
                return self._plan.redact(values, source)
            return self._plan.redact_rows(values, source, name, decided.batch, number, decided.kept)

        arrays, nulled = [], []
        for column in self._columns:
            before = source.column(column.plan.source_name)
            after = self._transformed(column, before, decided.ordinals, redact, verified)
            arrays.append(after)
            nulled.append(max(after.null_count - plain(before).null_count, 0))
        written = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return _Transformed(written, decided.ordinals, nulled, verified)

    def released(self, done: _Transformed) -> Iterator[Piece]:
        """What is to be written: pairs of a segment writer and its rows."""
        written = done.written
        for column, nulled in zip(self._columns, done.nulled, strict=True):
            column.verified += written.num_rows if done.verified else 0
            column.written += written.num_rows
            column.nulled += nulled
        if self._plan.recode is not None:
            with self._alone:
                written = self._plan.recode(written, self._person("", done.ordinals))
        self._rows_out += written.num_rows
        yield from self._outputs.released(written)

    def _person(self, source_name: str, ordinals: Ordinals) -> Ordinals:
        """The ordinals that a column is transformed by."""
        if ordinals.ndim == 1:
            return ordinals
        people = self._plan.people
        return ordinals[:, people.index(source_name) if source_name in people else 0]

    def _transformed(
        self,
        column: _Column,
        before: pa.Array,
        ordinals: Ordinals,
        redact: Callable[[pa.Array, str], pa.Array],
        verified: bool,
    ) -> pa.Array:
        arguments = column.plan.arguments
        context = TransformContext(
            ordinals=self._person(column.plan.source_name, ordinals),
            pseudonyms=self._one_at_a_time(self._plan.pseudonyms),
            token_key=self._one_at_a_time(self._plan.token_key),
            redact=lambda values: redact(values, column.plan.source_name),
            arguments=arguments,
            year=self._plan.year,
            text_keys=self._one_at_a_time(
                lambda rows: self._plan.text_keys(column.plan.name, ordinals[rows])
            ),
        )
        after = _quietly(column.plan, lambda: column.transform.apply(before, context))
        if after.type != column.output_type or len(after) != len(before):
            raise _not_held(column.plan)
        if verified and not _quietly(column.plan, lambda: column.transform.verify(before, after, arguments)):
            raise _not_held(column.plan)
        return after

    def _one_at_a_time(self, ask: Callable[[A], R]) -> Callable[[A], R]:
        """The keys and the vault are asked by one thread at a time."""

        def asked(of: A) -> R:
            with self._alone:
                return ask(of)

        return asked

    def _failing(self, batch: pa.RecordBatch, allowed: Failing) -> tuple[Failing, pa.Array]:
        masks: list[tuple[str, Failing]] = []
        failing = np.zeros(batch.num_rows, bool)
        for rule, mask in self._plan.divert(batch):
            held_back = np.asarray(mask, bool) & allowed
            if count := int(held_back.sum()):
                self._by_rule[rule] += count
                failing |= held_back
                masks.append((rule, held_back))
        # Without nulls: joining with null_handling="skip" loses rows that are null throughout (PyArrow 26).
        names = pa.repeat(pa.scalar(""), int(failing.sum()))
        for rule, mask in masks:
            joined = pc.binary_join_element_wise(names, pa.scalar(rule), "\n")
            added = pc.if_else(pc.equal(names, ""), pa.scalar(rule), joined)
            names = pc.if_else(pa.array(mask[failing]), added, names)
        return failing, names

    def _check_schema(self, schema: pa.Schema) -> None:
        if self._source is not None:
            if not schema.equals(self._source):
                raise SourceError(
                    "GOV-701",
                    "the source's columns changed between two batches",
                    "give every file of the source the same columns and types",
                )
            return
        self._columns = list(_planned(self._plan, schema))
        self._schema = pa.schema([(c.plan.name, c.output_type) for c in self._columns])
        self._source = schema
        leaf_paths(self._schema)
        self._outputs.open(self._schema)

    def result(self, segments: tuple[Segment, ...], quarantine: Segment | None) -> RewriteResult:
        return RewriteResult(
            segments=segments,
            quarantine=quarantine,
            schema=self._schema,
            rows_in=self.rows_in,
            rows_out=self._rows_out,
            rows_denied=sum(self._denied.values()),
            rows_quarantined=self._rows_quarantined,
            denied_by_reason=dict(self._denied),
            quarantined_by_rule=dict(self._by_rule),
            verified={column.plan.name: column.evidence() for column in self._columns},
        )


def _planned(plan: RewritePlan, source: pa.Schema) -> Iterator[_Column]:
    """The columns that are written, with their types; GOV-103, GOV-305."""
    missing = sorted({*(c.source_name for c in plan.columns), *plan.beside} - set(source.names))
    if missing:
        raise ContractError(
            "GOV-103",
            f"columns that the source does not have: {', '.join(missing)}",
            "correct physicalName in the contract, or the source",
        )
    if RULE in source.names:
        raise ContractError(
            "GOV-109", f"the source has a column {RULE}, which quarantine needs", "rename it in the source"
        )
    for column in plan.columns:
        chosen = transform(column.method)
        try:
            output_type = chosen.output_type(source.field(column.source_name).type, column.arguments)
        except ProtectionError as fault:
            raise ProtectionError(
                fault.code, f"column {column.name}: {fault.message}", fault.remedy
            ) from None
        if chosen.released:
            yield _Column(column, chosen, output_type)


def _set_aside(batch: pa.RecordBatch, failing: Failing, names: pa.Array) -> pa.RecordBatch:
    rows = batch.filter(pa.array(failing))
    return pa.RecordBatch.from_arrays(
        [*(plain(column) for column in rows.columns), names], names=[*rows.schema.names, RULE]
    )


def _quietly(column: ColumnPlan, compute: Callable[[], Any]) -> Any:
    failed = ""
    try:
        return compute()
    except (GovernanceError, MemoryError):
        raise
    except Exception as error:
        failed = type(error).__name__
    # Raised outside the handler: Arrow's messages quote values, and an exception's context keeps them.
    raise ProtectionError(
        "GOV-304",
        f"column {column.name}: transform {column.method} failed on a batch ({failed})",
        "choose another transform for this column, or clean it in the source",
    )


def _not_held(column: ColumnPlan) -> ProtectionError:
    return ProtectionError(
        "GOV-306",
        f"column {column.name}: what transform {column.method} promises does not hold on its output",
        "nothing was kept; choose a transform that fits the column's content, e.g. drop",
    )
