"""The word lists in ``data/``, folded for comparison and loaded once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files

_MERGED = {"cities": ("cities.txt", "cities_generated.txt")}


@lru_cache(maxsize=1 << 16)
def fold(text: str) -> str:
    """Lower case without accents and outer white space, so that ``MÜLLER`` equals ``muller``."""
    if text.isascii():
        return text.strip().lower()
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).strip().lower()


@cache
def entries(name: str) -> tuple[str, ...]:
    """The entries of a dictionary as written. Raises ``FileNotFoundError`` for an unknown name."""
    words: list[str] = []
    for file in _MERGED.get(name, (f"{name}.txt",)):
        text = files("governance.detect").joinpath("data", file).read_text("utf-8")
        words.extend(line for line in text.splitlines() if line)
    return tuple(words)


@cache
def folded(name: str) -> frozenset[str]:
    """The entries of a dictionary after :func:`fold`."""
    return frozenset(map(fold, entries(name)))


def listed(words: frozenset[str], value: str) -> bool:
    """Whether the whole value is one of ``words``, which are folded."""
    return fold(value) in words


def contains(name: str, value: str) -> bool:
    """Whether the whole value, or a part of a compound such as ``Anne-Marie``, is an entry."""
    words = folded(name)
    text = fold(value)
    if text in words:
        return True
    parts = text.replace("-", " ").split()
    return 1 < len(parts) <= 3 and name in _COMPOUND and parts[0] in words


_COMPOUND = frozenset({"given_names", "family_names"})


def alternation(words: Iterable[str]) -> str:
    """An RE2 alternation of literal words, longest first so that the longest wins."""
    import re

    return "|".join(re.escape(word) for word in sorted(set(words), key=lambda w: (-len(w), w)))
