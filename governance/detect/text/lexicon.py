"""Names and places of the dictionaries in text, looked up word by word.

A given name of the dictionary before a capitalised word, or a family name where its context leaves
no doubt, is a person. :mod:`governance.detect.text.sieves` chooses the rows; the look-up decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np

from governance.detect.detectors import vocabulary
from governance.detect.detectors.dictionaries import entries

_LETTER = r"[^\W\d_]"
_TAIL = rf"(?:{_LETTER}|['’](?=[^\W\d_a-zß-ÿ]))*"
_CAP = rf"(?:(?=[^\W\d_a-zß-ÿ]){_LETTER}){_TAIL}"
_RUN = re.compile(
    rf"(?<![\w@.-])(?:{_CAP}(?:-{_CAP})*)"
    rf"(?:(?:,? |\. ?|-)(?:(?:de|del|de la|von|van|der|den|da|di|dos|la|le|y) )?(?:{_CAP}(?:-{_CAP})*))*"
)
_WORD = re.compile(rf"{_LETTER}{_TAIL}")
_SPEAKS = re.compile(
    r" (?:says|said|told|asks|asked|replied|wrote|writes|explained|admitted|denies|denied|reports|reported|complains|states"
    r"|complained|added|called|thinks|sagte|sagt|berichtet|klagt|meint|dit|déclare|explique|dice|dijo|refiere|acude|comenta)\b"
)
"""What follows a person and hardly anything else."""
_MAXIMUM_PLACE_WORDS = 4

PERSON, GIVEN, PLACE, COUNTRY, STATE, PEOPLE = "person", "given", "place", "country", "state", "people"
SCORES = {PERSON: 0.85, GIVEN: 0.5, PLACE: 0.65, COUNTRY: 0.65, STATE: 0.6, PEOPLE: 0.5}
CLASSIFICATIONS = {
    PERSON: "person_name", GIVEN: "given_name", PLACE: "city", COUNTRY: "country", STATE: "jurisdiction", PEOPLE: "ethnicity",
}  # fmt: skip
REDACTED = {PERSON: "NAME", GIVEN: "NAME", PLACE: "CITY"}
"""Tags of what redaction removes; a country, a state and a people may stay (45 CFR 164.514(b)(2)(i)(B))."""
_SHORT = 5
"""A shorter name of the lists for text is also some language's everyday word, so it counts only before a family name."""


@cache
def _given() -> frozenset[str]:
    more = (name for name in entries("text_given_names") if len(name) >= _SHORT)
    return frozenset((*entries("given_names"), *more)) - frozenset(entries("ambiguous_given_names"))


@cache
def _any_given() -> frozenset[str]:
    return frozenset(
        (*entries("given_names"), *entries("text_given_names"), *entries("ambiguous_given_names"))
    )


@cache
def _family() -> frozenset[str]:
    return frozenset((*entries("family_names"), *entries("text_family_names")))


@cache
def _places() -> Mapping[str, str]:
    """Places and peoples with their kind; where two share a name the larger one has it."""
    unclear = vocabulary.AMBIGUOUS_CITIES | frozenset(entries("ambiguous_given_names"))
    kinds = {
        PLACE: ("cities", "text_places"),
        STATE: ("us_states",),
        PEOPLE: ("nationalities",),
        COUNTRY: ("countries",),
    }
    places: dict[str, str] = {}
    for kind, names in kinds.items():
        for place in (each for name in names for each in entries(name)):
            if place[0].isupper() and len(place) > 2 and place not in unclear:
                places[place] = kind
    return places


def words() -> tuple[frozenset[str], ...]:
    """Given names, given names that count only before a family name, family names, and first words of places."""
    ambiguous = _any_given() - _given()
    return _given(), ambiguous, _family(), frozenset(re.split("[ -]", place)[0] for place in _places())


def lookup(text: str) -> Iterator[tuple[int, int, str]]:
    """Spans in characters with a kind of :data:`CLASSIFICATIONS`, in order, not overlapping."""
    for run in _RUN.finditer(text):
        words = [
            (m.start() + run.start(), m.end() + run.start(), m.group()) for m in _WORD.finditer(run.group())
        ]
        at = 0
        while at < len(words):
            step, kind = _at(text, words, at)
            if kind is not None:
                yield words[at][0], words[at + step - 1][1], kind
            at += step


def byte_lookup(data: bytes) -> Iterator[tuple[int, int, str]]:
    """:func:`lookup` over UTF-8, with byte offsets."""
    text = data.decode("utf-8", "replace")
    if len(text) == len(data):
        yield from lookup(text)
        return
    # A replaced byte becomes three, so offsets are taken from the text, and only where it round-trips.
    widths = np.fromiter((len(c.encode()) for c in text), np.int64, len(text))
    offsets = np.concatenate(([0], np.cumsum(widths)))
    if int(offsets[-1]) == len(data):
        for start, end, kind in lookup(text):
            yield int(offsets[start]), int(offsets[end]), kind


def _place(text: str, words: list[tuple[int, int, str]], at: int) -> tuple[int, str | None]:
    for size in range(min(_MAXIMUM_PLACE_WORDS, len(words) - at), 0, -1):
        kind = _places().get(text[words[at][0] : words[at + size - 1][1]])
        if kind is not None:
            return size, kind
    return 0, None


def _at(text: str, words: list[tuple[int, int, str]], at: int) -> tuple[int, str | None]:
    place, kind = _place(text, words, at)
    if place > 1:
        return place, kind
    word = words[at][2]
    if word in vocabulary.COMMON_WORDS:
        return 1, None
    following = [w for _, _, w in words[at + 1 : at + 5]]
    gap = text[words[at][1] : words[at + 1][0]] if following else ""
    if following and "," in gap:
        if (
            word in _family()
            and word not in _any_given()
            and following[0] in _any_given()
            and following[0] not in _places()
        ):
            return 2, PERSON
        following = []
    if following and word in _any_given() and not gap.startswith("."):
        size = _name_size(text, words, at)
        certain = word in _given() or following[size - 2] in _family() if size > 1 else False
        if (
            certain
            and size > 1
            and not any(w.lower() in vocabulary.ORGANISATION_WORDS for w in following[: size - 1])
        ):
            return size, PERSON
    if following and len(word) == 1 and following[0] in _family() and gap.startswith("."):
        return 2, PERSON
    if place:
        return place, kind
    if not following and word in _family() and len(word) > 3 and _SPEAKS.match(text, words[at][1]):
        return 1, PERSON
    return 1, GIVEN if word in _given() and len(word) > 3 else None


def _name_size(text: str, words: list[tuple[int, int, str]], at: int) -> int:
    """Words of a name that starts at ``at``: an initial, further given names, one or two family names."""
    size, families = 1, 0
    while at + size < len(words) and size < 5:
        word = words[at + size][2]
        gap = text[words[at + size - 1][1] : words[at + size][0]]
        if "," in gap or ("." in gap and len(words[at + size - 1][2]) > 1):
            break
        if not word[0].isupper():
            size += 1
            continue
        initial = len(word) == 1
        if families and word not in _family():
            break
        families += not initial and word not in _given()
        size += 1
        if families == 2:
            break
    while size > 1 and (not words[at + size - 1][2][0].isupper()):
        size -= 1
    return size
