"""Reads what a contract asks of its rows together, and how it claims to be de-identified."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final

from governance.contracts.documents import Document, Pointer
from governance.contracts.faults import Fault, did_you_mean
from governance.contracts.reading import entries, mapping, number, switch, text, whole
from governance.model.anonymity import Anonymity, QuasiIdentifier, SensitiveColumn
from governance.model.contract import ContractColumn
from governance.model.deidentification import EXPERT, SAFE_HARBOR, Deidentification

_PERIODS: Final = ("month", "quarter", "year", "decade")
_KINDS: Final = ("ranges", "prefixes", "dates", "tree")
_PER_SUBJECT: Final = ("pseudonym", "token", "ff1", "date_shift", "noise")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Claims:
    """``anonymity`` and ``deidentification`` of a contract; ``faults`` fills as they are read."""

    def __init__(self, document: Document, columns: Sequence[ContractColumn], code: str) -> None:
        self.faults: list[Fault] = []
        self._document = document
        self._code = code
        self._released = {c.name: c.protection.method for c in columns if c.protection.method != "drop"}

    def anonymity(self, said: Mapping[str, Any], at: Pointer) -> Anonymity | None:
        """The compiled ``anonymity`` of ``governance``, which stands at ``at``."""
        asked = mapping(said, "anonymity")
        if not asked:
            return None
        here: Pointer = (*at, "anonymity")
        quasi = self._quasi(asked, here)
        sensitive = self._sensitive(asked, here, {q.column for q in quasi})
        diversity = asked.get("l")
        least = whole(asked, "l", 0) or whole(diversity, "distinct", 0) or None
        entropy = number(diversity, "entropy", 0.0) or None
        t = number(asked, "t", 0.0) or None
        if (least or entropy or t) and not sensitive:
            say = "`l` and `t` are about sensitive columns; name them in `sensitive`"
            self._say((*here, "l" if "l" in asked else "t"), say)
        return Anonymity(
            quasi_identifiers=tuple(quasi),
            k=whole(asked, "k", 2),
            sensitive=tuple(sensitive),
            l_distinct=least,
            l_entropy=entropy,
            t=t,
            max_suppression=number(asked, "maxSuppression", 0.0),
        )

    def deidentification(self, said: Mapping[str, Any], at: Pointer) -> Deidentification | None:
        """The compiled ``deidentification`` of ``governance``, which stands at ``at``."""
        claim = mapping(said, "deidentification")
        if not claim:
            return None
        here: Pointer = (*at, "deidentification")
        profile, declared = text(claim, "profile") or "", mapping(claim, "noActualKnowledge")
        if profile == SAFE_HARBOR and not declared:
            say = (
                "Safe Harbor asks that nobody knows how to identify someone (45 CFR 164.514(b)(2)(ii)); "
                "write `noActualKnowledge: {declaredBy: …, date: YYYY-MM-DD}`"
            )
            self._say((*here, "profile"), say)
        if profile == EXPERT and text(claim, "determination") is None:
            say = "an expert determination is named; write `determination:` and its name in the policy"
            self._say((*here, "profile"), say)
        on = text(declared, "date")
        if on is not None and not is_day(on):
            self._say((*here, "noActualKnowledge", "date"), f"`{on}` is no day; write it as `2026-01-31`")
        return Deidentification(profile, text(declared, "declaredBy"), on, text(claim, "determination"))

    def _quasi(self, asked: Mapping[str, Any], here: Pointer) -> list[QuasiIdentifier]:
        found: list[QuasiIdentifier] = []
        for index, entry in enumerate(entries(asked, "quasiIdentifiers")):
            place: Pointer = (*here, "quasiIdentifiers", index)
            name = entry if isinstance(entry, str) else text(entry, "column")
            if name is None or not self._known(name, place):
                continue
            if self._released[name] in _PER_SUBJECT:
                say = f"`{name}` is released by `{self._released[name]}`, by which rows never agree; take it out"
                self._say(place, say)
            if name in {q.column for q in found}:
                self._say(place, f"`{name}` is written twice; remove one")
                continue
            kinds = [kind for kind in _KINDS if isinstance(entry, Mapping) and kind in entry]
            if len(kinds) > 1:
                self._say(place, f"`{name}` has {' and '.join(f'`{k}`' for k in kinds)}; write one of them")
            found.append(self._hierarchy(name, kinds[0], entry, place) if kinds else QuasiIdentifier(name))
        return found

    def _hierarchy(self, name: str, kind: str, entry: Mapping[str, Any], place: Pointer) -> QuasiIdentifier:
        at: Pointer = (*place, kind)
        if kind == "tree":
            tree = {
                str(k): tuple(map(str, v)) for k, v in mapping(entry, kind).items() if isinstance(v, list)
            }
            if fault := _tree_fault(tree):
                self._say(at, fault)
                return QuasiIdentifier(name)
            return QuasiIdentifier(name, kind, tree=tree)
        steps = tuple(entries(entry, kind))
        nested: Mapping[str, Callable[[Any, Any], bool]] = {
            "ranges": lambda a, b: b > a and b % a == 0,
            "prefixes": lambda a, b: b < a,
            "dates": lambda a, b: _PERIODS.index(b) > _PERIODS.index(a),
        }
        try:
            sound = bool(steps) and all(nested[kind](a, b) for a, b in pairwise(steps))
        except (TypeError, ValueError, ZeroDivisionError):
            sound = False
        if not sound:
            each = {
                "ranges": "each a multiple of the one before, e.g. `[5, 10, 20]`",
                "prefixes": "each shorter than the one before, e.g. `[3, 2]`",
                "dates": "in this order: month, quarter, year, decade",
            }[kind]
            self._say(at, f"the steps of `{kind}` must become coarser; write them {each}")
        return QuasiIdentifier(name, kind, steps)

    def _sensitive(self, asked: Mapping[str, Any], here: Pointer, quasi: set[str]) -> list[SensitiveColumn]:
        found: list[SensitiveColumn] = []
        for index, entry in enumerate(entries(asked, "sensitive")):
            place: Pointer = (*here, "sensitive", index)
            name = entry if isinstance(entry, str) else text(entry, "column")
            if name is None or not self._known(name, place):
                continue
            if name in quasi:
                self._say(
                    place, f"`{name}` is a quasi-identifier too; others know it or they do not, remove one"
                )
            found.append(SensitiveColumn(name, switch(entry, "ordered", False)))
        return found

    def _known(self, name: str, place: Pointer) -> bool:
        if name in self._released:
            return True
        self._say(place, f"`{name}` is not a released column; {did_you_mean(name, list(self._released))}")
        return False

    def _say(self, at: Pointer, message: str) -> None:
        self.faults.append(Fault(self._document.at(at), message, self._code))


def is_day(said: str) -> bool:
    """Whether this is a day as ``YYYY-MM-DD``."""
    try:
        return bool(_DAY.fullmatch(said) and date.fromisoformat(said))
    except ValueError:
        return False


def _tree_fault(tree: Mapping[str, tuple[str, ...]]) -> str | None:
    if not tree or len({len(ancestors) for ancestors in tree.values()}) != 1 or not all(tree.values()):
        return "each value of a `tree` needs as many ancestors as the others; write e.g. `Bonn: [Germany, Europe]`"
    parents: dict[tuple[int, str], tuple[str, ...]] = {}
    for ancestors in tree.values():
        for depth, label in enumerate(ancestors):
            if parents.setdefault((depth, label), ancestors[depth + 1 :]) != ancestors[depth + 1 :]:
                return f"`{label}` has two parents in the `tree`; write the same ancestors after it each time"
    return None
