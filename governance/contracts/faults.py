"""What is wrong in a file and where, gathered so that all of it is said at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from governance.errors import ContractFindings

_BEGUN = 3
"""Letters from which a beginning counts as the name it begins."""

_SHOWN = 12
"""Longer lists of choices are cut: a message is read, not searched."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text file; both numbers start at 1, columns count characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing to correct. ``message`` says what is wrong and what to write instead."""

    mark: Mark
    message: str
    code: str


def findings(path: Path | str, faults: Iterable[Fault], code: str) -> ContractFindings:
    """Every fault of a file in file order, as ``file:line:column: what is wrong; what to write``.

    The error carries the faults' own code where they share one, else ``code``, the file's; a fault
    of another code than the error's then names it, so that nothing specific is lost in the crowd.
    """
    ordered = sorted(set(faults))
    codes = {fault.code for fault in ordered}
    shared = codes.pop() if len(codes) == 1 else code
    lines = [
        f"{path}:{fault.mark.line}:{fault.mark.column}: {fault.message}"
        + ("" if fault.code == shared else f" [{fault.code}]")
        for fault in ordered
    ]
    return ContractFindings(
        shared, str(path), lines, "write what each line proposes, then check the file again"
    )


def without_echoes(first: list[Fault], then: list[Fault]) -> list[Fault]:
    """``first``, and of ``then`` what stands on other lines: a broken line's meaning is not judged."""
    lines = {fault.mark.line for fault in first}
    return first + [fault for fault in then if fault.mark.line not in lines]


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name that ``word`` was most likely meant to be, or ``None``."""
    names = list(known)
    folded = {_folded(name): name for name in reversed(names)}
    if (same := folded.get(_folded(word))) is not None:
        return same
    begun = [name for fold, name in folded.items() if fold.startswith(_folded(word))]
    if len(begun) == 1 and len(word) >= _BEGUN:
        return begun[0]
    near = difflib.get_close_matches(_folded(word), list(folded), n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def did_you_mean(word: str, known: Collection[str], otherwise: str = "write one of") -> str:
    """``did you mean `x`?``, or the list of choices when nothing is near."""
    if (near := closest(word, known)) is not None:
        return f"did you mean `{near}`?"
    return f"{otherwise} {listed(known)}"


def listed(names: Iterable[str]) -> str:
    """Names in back quotes, in their order, a long list cut."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > _SHOWN:
        return ", ".join(quoted[:_SHOWN]) + f" … ({len(quoted)} in all)"
    return ", ".join(quoted)


def _folded(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()
