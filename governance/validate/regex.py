"""Python's regular expressions and SQL's LIKE patterns in RE2: the same texts match, or it is said to be impossible.

Great Expectations on pandas searches with Python's ``re``; Arrow and DuckDB with RE2. They disagree about what a digit,
a word character, a space, a case or an end is. So Python's own parser reads the pattern, and each class of
characters is written out as the code points that Python's own engine matches. What RE2 has no words for is refused:
look-around, back-references, atomic groups, ``\\b``, and ``$`` before the pattern's end.
"""

from __future__ import annotations

import re
import re._compiler as compiler  # type: ignore[import-not-found]
import re._constants as c  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

_MOST_REPEATS = 1000
"""RE2's own limit."""

_ANYTHING = r"[\x{0}-\x{10FFFF}]"
_NOTHING = r"[^\x{0}-\x{10FFFF}]"
_TYPES = re.ASCII | re.UNICODE | re.LOCALE
_SINGLE = (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY)


class Untranslatable(ValueError):
    """RE2 cannot match what the pattern matches."""


@cache
def re2_of(pattern: str) -> str:
    """The RE2 pattern that is found in exactly the texts in which Python finds ``pattern``.

    Raises:
        re.error: it is none of Python's.
        Untranslatable: RE2 cannot say it.
    """
    re.compile(pattern)
    try:
        parsed = parser.parse(pattern)
    except RecursionError:
        raise Untranslatable("it is nested too deep") from None
    return _sequence(list(parsed), parsed.state.flags, last=True)


def like(pattern: str, escape: str | None) -> str:
    """The RE2 pattern of an SQL LIKE pattern (ISO/IEC 9075-2, like predicate), case-sensitive.

    Raises:
        Untranslatable: what is escaped is neither a wildcard nor the escape character.
    """
    parts, escaped = [], False
    for character in pattern:
        if escaped and character not in ("%", "_", escape):
            break
        if not escaped and character == escape:
            escaped = True
            continue
        wild = None if escaped else {"%": _ANYTHING + "*", "_": _ANYTHING}.get(character)
        parts.append(wild or _point(ord(character)))
        escaped = False
    if escaped:
        raise Untranslatable("its escape character escapes nothing")
    return r"\A" + "".join(parts) + r"\z"


def _sequence(items: Sequence[Any], flags: int, *, last: bool) -> str:
    end = len(items) - 1
    return "".join(_item(kind, value, flags, last and at == end) for at, (kind, value) in enumerate(items))


def _item(kind: Any, value: Any, flags: int, last: bool) -> str:
    if kind in _SINGLE:
        return _one(kind, value, flags)
    if kind is c.AT:
        return _position(value, flags, last)
    if kind is c.BRANCH:
        return "(?:" + "|".join(_sequence(list(each), flags, last=last) for each in value[1]) + ")"
    if kind is c.SUBPATTERN:
        _, added, removed, inside = value
        # A scope that says (?a:…) or (?u:…) replaces the one around it.
        kept = flags & ~_TYPES if added & _TYPES else flags
        return "(?:" + _sequence(list(inside), (kept | added) & ~removed, last=last) + ")"
    if kind in (c.MAX_REPEAT, c.MIN_REPEAT):
        low, high, inside = value
        if low > _MOST_REPEATS or (high is not c.MAXREPEAT and high > _MOST_REPEATS):
            raise Untranslatable(f"it repeats more than {_MOST_REPEATS} times")
        times = f"{{{low},{'' if high is c.MAXREPEAT else high}}}"
        return f"(?:{_sequence(list(inside), flags, last=False)}){times}"
    raise Untranslatable(f"RE2 has no {str(kind).lower().replace('_', ' ')}")


def _position(value: Any, flags: int, last: bool) -> str:
    if value is c.AT_BEGINNING:
        return "(?m:^)" if flags & re.MULTILINE else r"\A"
    if value is c.AT_BEGINNING_STRING:
        return r"\A"
    if value is c.AT_END_STRING:
        return r"\z"
    if value is c.AT_END and flags & re.MULTILINE:
        return "(?m:$)"
    if value is c.AT_END and last:
        # Python's `$` is also before a last line feed; nothing follows here that could want it.
        return r"(?:\n?\z)"
    raise Untranslatable("RE2 has no such position")


def _one(kind: Any, value: Any, flags: int) -> str:
    """One character. Only classes and letters of any case have to be looked up."""
    if kind is c.ANY:
        return _ANYTHING if flags & re.DOTALL else r"[^\n]"
    if flags & re.IGNORECASE or (kind is c.IN and any(part is c.CATEGORY for part, _ in value)):
        return _looked_up(kind, repr(value), _Value(value), flags & (re.IGNORECASE | _TYPES))
    if kind is c.LITERAL:
        return _point(value)
    if kind is c.NOT_LITERAL:
        return f"[^{_point(value)}]"
    negated = value[0][0] is c.NEGATE
    parts = [
        _point(each) if part is c.LITERAL else f"{_point(each[0])}-{_point(each[1])}"
        for part, each in value
        if part is not c.NEGATE
    ]
    return f"[{'^' if negated else ''}{''.join(parts)}]"


class _Value:
    """Lets a parsed node pass through a cache that goes by its text."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Value)

    def __hash__(self) -> int:
        return 0


@cache
def _looked_up(kind: Any, text: str, node: _Value, flags: int) -> str:  # noqa: ARG001
    """The code points that Python matches, as a class."""
    state = parser.State()
    state.flags = flags
    state.str = ""
    compiled = compiler.compile(parser.SubPattern(state, [(kind, node.value)]), flags)
    points = [ord(each) for each in compiled.findall(_every_character())]
    if not points:
        return _NOTHING
    ranges, start = [], points[0]
    for before, point in zip(points, [*points[1:], -1], strict=True):
        # Between the two lie the surrogates, which are in no text.
        if point != before + 1 and not (before == 0xD7FF and point == 0xE000):
            ranges.append((start, before))
            start = point
    return "[" + "".join(f"{_point(a)}-{_point(b)}" for a, b in ranges) + "]"


@cache
def _every_character() -> str:
    return "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))


def _point(point: int) -> str:
    return f"\\x{{{point:X}}}"
