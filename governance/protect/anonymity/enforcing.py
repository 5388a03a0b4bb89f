"""Enforces what a contract asks of its rows together, inside the pass that rewrites them.

Two reads. The first counts combinations of the protected quasi-identifiers over the rows that will be
released; from the counts a level a column and the classes to leave out are chosen. In the second,
the rewriting pass, rows of those classes are diverted to quarantine under :data:`RULE`, the others
are written coarsened and counted again as they are written. Those counts are the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from governance.errors import ContractError, GovernanceError, ProtectionError
from governance.model.anonymity import Anonymity
from governance.model.decision import Reason
from governance.protect.anonymity.frequencies import LARGEST, Frequencies
from governance.protect.anonymity.hierarchies import generalize, require_fit
from governance.protect.anonymity.measures import Measured, measure, meets
from governance.protect.anonymity.search import Recoding, recoding
from governance.protect.plan import ColumnPlan, Failing, Ordinals, RewritePlan
from governance.protect.transforms import TransformContext, transform

RULE = "anonymity"
"""Under this name rows are quarantined that would stand out in the version."""

PER_SUBJECT = frozenset({"pseudonym", "token", "ff1", "date_shift", "noise"})
"""Methods whose outputs differ by subject or are made again from the value: no quasi-identifiers."""


class Anonymizer:
    """One pass's enforcement.

    Args:
        asked: the contract's, non-empty.
        plan: the pass without it.
        largest: combinations that may be held in memory.

    Raises:
        ContractError: GOV-103, it names a column that is not released. ProtectionError: GOV-305, a
            column's method or type does not go with it.
    """

    def __init__(self, asked: Anonymity, plan: RewritePlan, *, largest: int = LARGEST) -> None:
        self._asked = asked
        self._plan = plan
        self._largest = largest
        by_name = {c.name: c for c in plan.columns}
        named = [q.column for q in asked.quasi_identifiers], [s.column for s in asked.sensitive]
        absent = sorted(n for n in (*named[0], *named[1]) if n not in by_name or by_name[n].method == "drop")
        if absent:
            raise ContractError(
                "GOV-103",
                f"anonymity names columns that are not released: {', '.join(absent)}",
                "name released columns, or take them out of `anonymity`",
            )
        for column in map(by_name.__getitem__, named[0]):
            if column.method in PER_SUBJECT:
                raise ProtectionError(
                    "GOV-305",
                    f"quasi-identifier {column.name} is released by {column.method}, by which rows never agree",
                    "release it by a method that makes values coarser, or take it out of `quasiIdentifiers`",
                )
        self._quasi = [by_name[name] for name in named[0]]
        self._sensitive = [by_name[name] for name in named[1]]
        self._chosen: Recoding | None = None
        self._counted = self._frequencies()
        self._written = self._frequencies()

    def learn(self, batches: Iterable[pa.RecordBatch]) -> None:
        """The first read: count, then choose.

        Raises:
            ProtectionError: GOV-317 when the contract cannot be met, and what the transforms raise.
        """
        fitted = False
        for batch in batches:
            if not fitted:
                self._require_types(batch.schema)
                fitted = True
            reasons, ordinals = self._plan.decide(batch)
            kept = np.asarray(reasons) == Reason.ALLOWED
            for _, failing in self._plan.divert(batch):
                kept &= ~np.asarray(failing, bool)
            if kept.any():
                rows = batch.filter(pa.array(kept))
                _quietly(partial(self._count, rows, ordinals[kept]))
        if self._counted.rows:
            self._chosen = recoding(self._counted, self._asked)

    def plan(self) -> RewritePlan:
        """The pass with it: rows that stand out are diverted, the rest is written coarsened."""
        return replace(self._plan, divert=self._divert, recode=self._recode)

    def evidence(self) -> dict[str, Any]:
        """What was asked, done and measured on the rows as written. JSON, no values.

        Raises:
            ProtectionError: GOV-317 when what was written is not as anonymous as was asked.
        """
        found = self._measured()
        suppressed = self._chosen.suppressed if self._chosen else 0
        # A row may be diverted by no other reason than at the first read: what is written must be what stayed.
        # Counts that had to be coarsened would say too much, and cannot be if it was.
        sound = not any(self._written.floor) and meets(found, self._asked)
        if not sound or found.rows != self._counted.rows - suppressed:
            raise ProtectionError(
                "GOV-317",
                "the rows as written are not as anonymous as the contract asks",
                "the source changed between two reads: start a new run",
            )
        asked = self._asked
        levels = self._chosen.levels if self._chosen else [0] * len(self._quasi)
        return {
            "asked": {
                "k": asked.k,
                "l_distinct": asked.l_distinct,
                "l_entropy": asked.l_entropy,
                "t": asked.t,
                "max_suppression": asked.max_suppression,
            },
            "measured": {"classes": found.classes, "rows": found.rows, "k": found.k},
            "quasi_identifiers": [
                {"column": q.column, "kind": q.kind, "level": level, "levels": q.top}
                for q, level in zip(asked.quasi_identifiers, levels, strict=True)
            ],
            "sensitive": [
                {
                    "column": column.column,
                    "ordered": column.ordered,
                    "l_distinct": found.l_distinct[place] if found.classes else None,
                    "l_entropy": round(found.l_entropy[place], 6) if found.classes else None,
                    "t": round(found.t[place], 6) if found.classes else None,
                }
                for place, column in enumerate(asked.sensitive)
            ],
            "suppressed": suppressed,
            "subjects_counted_once": True,
            "scope": "rows of this load as written; later erasures, withdrawals and loads are not in it",
        }

    def _measured(self) -> Measured:
        if not self._written.rows:
            return Measured(0, 0, None, (), (), ())
        return measure(self._written.classes(self._written.floor), self._asked)

    def _count(self, rows: pa.RecordBatch, ordinals: Ordinals) -> None:
        quasi, sensitive = (self._protected(c, rows, ordinals) for c in (self._quasi, self._sensitive))
        self._counted.add(quasi, sensitive, ordinals)

    def _divert(self, batch: pa.RecordBatch) -> Sequence[tuple[str, Failing]]:
        found = list(self._plan.divert(batch))
        chosen = self._chosen
        if chosen is None:
            return found
        of = _quietly(
            lambda: self._counted.class_of(
                chosen.classes, self._protected(self._quasi, batch, None), chosen.levels
            )
        )
        # −1, never counted, is the class of rows that are denied or diverted anyway, or of a changed source.
        stays = np.append(chosen.stays, False)[of]
        others = np.zeros(batch.num_rows, bool)
        for _, failing in found:
            others |= np.asarray(failing, bool)
        return [*found, (RULE, ~stays & ~others)]

    def _recode(self, batch: pa.RecordBatch, ordinals: Ordinals) -> pa.RecordBatch:
        written: pa.RecordBatch = _quietly(lambda: self._coarsened(batch, ordinals))
        return written

    def _coarsened(self, batch: pa.RecordBatch, ordinals: Ordinals) -> pa.RecordBatch:
        levels = self._chosen.levels if self._chosen else [0] * len(self._quasi)
        arrays = list(batch.columns)
        for quasi, level in zip(self._asked.quasi_identifiers, levels, strict=True):
            place = batch.schema.get_field_index(quasi.column)
            arrays[place] = generalize(arrays[place], quasi, level)
        written = pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
        quasi_columns = [written.column(q.column) for q in self._asked.quasi_identifiers]
        self._written.add(quasi_columns, [written.column(s.column) for s in self._asked.sensitive], ordinals)
        return written

    def _frequencies(self) -> Frequencies:
        return Frequencies(self._asked.quasi_identifiers, len(self._asked.sensitive), largest=self._largest)

    def _require_types(self, schema: pa.Schema) -> None:
        for quasi, column in zip(self._asked.quasi_identifiers, self._quasi, strict=True):
            source = schema.field(column.source_name).type
            require_fit(quasi, transform(column.method).output_type(source, column.arguments))

    def _protected(
        self, columns: Sequence[ColumnPlan], rows: pa.RecordBatch, ordinals: Ordinals | None
    ) -> list[pa.Array]:
        return [
            transform(column.method).apply(
                rows.column(column.source_name),
                TransformContext(
                    ordinals=np.full(rows.num_rows, -1, np.int64) if ordinals is None else ordinals,
                    pseudonyms=self._plan.pseudonyms,
                    token_key=self._plan.token_key,
                    redact=_redaction(self._plan.redact, rows),
                    arguments=column.arguments,
                    year=self._plan.year,
                ),
            )
            for column in columns
        ]


def _quietly(compute: Callable[[], Any]) -> Any:
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
        f"the quasi-identifiers of a batch cannot be made coarser ({failed})",
        "clean them in the source, or coarsen them by another kind of step",
    )


def _redaction(redact: Callable[[pa.Array, pa.RecordBatch], pa.Array], rows: pa.RecordBatch) -> Any:
    return lambda values: redact(values, rows)
