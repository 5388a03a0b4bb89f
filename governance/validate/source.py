"""Rules on source rows: which rows of each batch fail, so that they can be diverted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.model.contract import Rule
from governance.validate import by_gx
from governance.validate.columns import normalized
from governance.validate.rowwise import RowCondition
from governance.validate.rules import Compiled, compiled
from governance.validate.uniqueness import Keyer, Keys, Unique, among, repeated


class SourceRules:
    """Row rules over the batches of a source, without a query a batch.

    Only rules that single rows can fail are admitted, and without ``mostly``.

    Raises :class:`ValidationFindings` GOV-401 with every faulty rule; columns and types are checked at
    once with a ``schema``, otherwise at the first batch.
    """

    def __init__(self, rules: Sequence[Rule], schema: pa.Schema | None = None) -> None:
        self._rules = tuple(rules)
        self._ready = compiled(self._rules, schema, diverting=True)
        self._bound = schema
        self._repeats: dict[int, tuple[Keyer, Keys]] = {}

    @property
    def repeats(self) -> list[Keys]:
        """What :meth:`prepare` found, for :meth:`adopt` in another process: shape (n, 2) a uniqueness rule."""
        return [self._repeats[id(check)][1] for check in self._unique() if id(check) in self._repeats]

    def adopt(self, repeats: Sequence[Keys]) -> None:
        """Take what :attr:`repeats` of the same rules gave, in the place of :meth:`prepare`."""
        for check, keys in zip(self._unique(), repeats, strict=True):
            self._repeats[id(check)] = (Keyer(check.columns, check.ignored), keys)

    def _unique(self) -> list[Unique]:
        return [each.check for each in self._ready if isinstance(each.check, Unique)]

    def prepare(self, batches_of: Callable[[list[str]], Iterator[pa.RecordBatch]]) -> None:
        """Find the values that repeat, reading only the columns that must be unique.

        ``batches_of`` streams the named columns of the same source that :meth:`failing` will see; it is
        not called when no rule asks for uniqueness. Memory: 16 bytes a row and such rule.
        """
        unique = self._unique()
        columns = list(dict.fromkeys(name for check in unique for name in check.columns))
        if not columns:
            return
        keyers = [Keyer(check.columns, check.ignored) for check in unique]
        keys: list[list[Keys]] = [[] for _ in unique]
        for batch in batches_of(columns):
            for keyer, found in zip(keyers, keys, strict=True):
                all_keys, counted = keyer.keys(_arrays(batch, keyer.columns))
                found.append(all_keys[counted])
        for check, keyer, found in zip(unique, keyers, keys, strict=True):
            every = np.concatenate(found) if found else np.empty((0, 2), np.uint64)
            self._repeats[id(check)] = (keyer, repeated(every))

    def failing(self, batch: pa.RecordBatch) -> list[tuple[str, npt.NDArray[np.bool_]]]:
        """For each rule its name and a mask, of the batch's length, of the rows that fail it."""
        if self._bound is None or not self._bound.equals(batch.schema):
            compiled(self._rules, batch.schema, diverting=True)
            self._bound = batch.schema
        names = dict.fromkeys(name for each in self._ready for name in each.columns)
        arrays = dict(zip(names, _arrays(batch, tuple(names)), strict=True))
        return [(each.rule.name, self._mask(each, arrays)) for each in self._ready]

    def _mask(self, each: Compiled, arrays: dict[str, pa.Array]) -> npt.NDArray[np.bool_]:
        check = each.check
        if isinstance(check, Unique):
            if id(check) not in self._repeats:
                raise RuntimeError("prepare() was not called")
            keyer, repeats = self._repeats[id(check)]
            keys, counted = keyer.keys([arrays[name] for name in check.columns])
            return among(keys, repeats) & counted
        if isinstance(check, by_gx.ByGx):
            return by_gx.failing(check, arrays)
        condition: RowCondition = check  # type: ignore[assignment]
        failing = condition.failing(arrays).fill_null(False)
        return np.asarray(failing.to_numpy(zero_copy_only=False), dtype=bool)


def _arrays(batch: pa.RecordBatch, names: Sequence[str]) -> list[pa.Array]:
    return [normalized(batch.column(name)) for name in names]
