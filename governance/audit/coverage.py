"""Whether every copy is accounted for: the newest inventory of storage, held against the log.

Without one nobody knows. One that found nothing speaks for the places it listed, up to when it was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from governance.audit.cells import Basis, Remark, remark
from governance.audit.declarations import items, part, words
from governance.audit.record import counted, listed
from governance.audit.trail import Trail
from governance.model.signed_leaf import is_signed
from governance.model.statements import INVENTORY

_GAPS = {"copies": "copy", "unaccounted": "file that no evidence accounts for"}


@dataclass(frozen=True, slots=True)
class Coverage:
    """The newest inventory that the evidence key signed; ``index`` is ``None`` without any.

    ``since`` are releases and disclosures that came after it.
    """

    index: int | None
    said: Mapping[str, Any]
    since: int

    @property
    def places(self) -> list[Mapping[str, Any]]:
        return [part(place) for place in items(self.said, "places")]

    def total(self, what: str) -> int:
        """How many files of a kind were found, over all places."""
        return sum(n for place in self.places if isinstance(n := place.get(what), int))

    @property
    def gaps(self) -> int:
        """How many files lie where no evidence accounts for them."""
        return sum(self.total(what) for what in (*_GAPS, "wrapped_keys"))

    @property
    def state(self) -> str:
        """``complete`` (in the listed places), ``incomplete`` or ``unknown``."""
        if self.index is None:
            return "unknown"
        return "incomplete" if self.gaps else "unknown" if self.since else "complete"

    def copies(self, datasets: Iterable[str]) -> int:
        """How many files of these datasets lie where they should not."""
        names = set(datasets)
        found = (part(each) for each in items(self.said, "copies"))
        return sum(int(c.get("files") or 0) for c in found if c.get("dataset") in names)

    def counts(self) -> dict[str, int]:
        """What a report counts of it."""
        return {
            "places": len(self.places),
            **{what: self.total(what) for what in ("known", *_GAPS, "wrapped_keys")},
        }


def coverage(trail: Trail) -> Coverage:
    """The newest inventory in the log."""
    taken = [
        s for s in trail.statements.get(INVENTORY, []) if is_signed(s.body, INVENTORY, trail.evidence_key)
    ]
    if not taken:
        return Coverage(None, {}, 0)
    newest = taken[-1]
    written = [p.index for run in trail.runs for p in run.releases if p.facts.get("state") == "released"]
    later = sum(index > newest.index for index in (*written, *(p.index for p in trail.disclosures)))
    return Coverage(newest.index, newest.body, later)


def coverage_statement(found: Coverage) -> str:
    """Whether copies are accounted for, in one sentence."""
    if found.index is None:
        return "Coverage of copies: unknown. Storage was never listed and held against the log."
    where = f"{counted(len(found.places), 'listed place')}, log entry {found.index}"
    return {
        "complete": f"Coverage of copies: complete in {where}. What lies in no listed place is not known.",
        "incomplete": f"Coverage of copies: not complete in {where}; see the exceptions.",
        "unknown": f"Coverage of copies: unknown since {where}.",
    }[found.state]


def coverage_exceptions(found: Coverage) -> Iterator[Remark]:
    """What lies where no evidence accounts for it."""
    if found.index is None:
        return
    for what, name in _GAPS.items():
        if number := found.total(what):
            plural = {"copy": "copies"}.get(name, name.replace("file", "files", 1))
            where = listed(words(place, "place") or "" for place in found.places if place.get(what))
            yield remark(
                "coverage-gap",
                f"{counted(number, name, plural)} found in {where} by the inventory of storage: coverage is not complete.",
                [found.index],
                count=number,
            )
    if number := found.total("wrapped_keys"):
        yield remark(
            "key-backup-found",
            f"{counted(number, 'file')} with sealed copies of keys that erasures destroyed: what they sealed is not "
            "erased while such a copy exists.",
            [found.index],
            count=number,
        )


def coverage_unknowns(found: Coverage) -> Iterator[Remark]:
    """Whether there are copies that nobody looked for."""
    if found.index is None:
        yield remark(
            "coverage-not-reconciled",
            "Whether data was copied outside the pipeline: storage was never listed and held against the log.",
            [0],
            basis=Basis.UNKNOWN,
        )
    elif found.since and not found.gaps:
        yield remark(
            "coverage-not-reconciled",
            "Whether data was copied outside the pipeline since the last inventory: "
            f"{counted(found.since, 'release or disclosure', 'releases and disclosures')} came after it.",
            [found.index],
            basis=Basis.UNKNOWN,
            count=found.since,
        )
