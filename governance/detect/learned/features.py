"""What a CRF sees of a text: tokens, line by line, each with its form, its neighbours and what the rules say of it.

Words themselves are features only where they are common property (:class:`CommonWords`): a CRF's model keeps its
features readable, and a model file must not tell whose notes it was fitted on.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from governance.detect.detectors.dictionaries import fold, folded
from governance.detect.learned.labelled import LabelledText
from governance.detect.text.engine import TextFinding

MINIMUM_NOTES = 5
"""Notes in which a word must stand outside of every label before it may be a feature."""
MINIMUM_LABELLED_NOTES = 10
"""The same for words inside labels of :data:`PUBLIC`, such as ``Street`` or a capital city."""
MINIMUM_SHARING = 10
"""Different words that must share an affix before it may be a feature."""
PUBLIC = frozenset({
    "street_address", "city", "country", "jurisdiction", "postal_code", "date", "date_of_birth", "age", "gender",
    "organization", "health_condition", "medication",
})  # fmt: skip
"""Classifications whose frequent words name no one."""

MAXIMUM_TOKENS = 400
"""Tokens of one sequence; longer lines are cut, because a tagger's memory grows with its sequence."""

MAXIMUM_LETTERS = 64
"""Characters of a token that are looked at."""
UNREADABLE = dict.fromkeys((0, *range(0xD800, 0xE000)), "\ufffd")
"""What neither library reads; each becomes one unknown character, so that offsets stay."""

_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+|[^\w\s]|_")
_PARTICLES = frozenset(
    re.findall(
        r"\w+", "de del la las los el y i da do dos das di du des le van von der den ter ten zu und bin al"
    )
)


@dataclass(frozen=True, slots=True)
class Line:
    """A sequence: ``tokens`` with ``starts`` and ``ends`` in characters of the text."""

    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def lines_of(text: str) -> Iterator[Line]:
    """The tokens of a text in order, a line at a time."""
    tokens: list[re.Match[str]] = []
    before = 0
    for match in _TOKEN.finditer(text.translate(UNREADABLE)):
        if tokens and (len(tokens) >= MAXIMUM_TOKENS or "\n" in text[before : match.start()]):
            yield _line(tokens)
            tokens = []
        tokens.append(match)
        before = match.end()
    if tokens:
        yield _line(tokens)


def _line(tokens: Sequence[re.Match[str]]) -> Line:
    return Line(
        tuple(t.group()[:MAXIMUM_LETTERS] for t in tokens),
        tuple(t.start() for t in tokens),
        tuple(t.end() for t in tokens),
    )


@dataclass(frozen=True, slots=True)
class CommonWords:
    """Folded words and affixes that may be features; see :func:`common_words`."""

    words: frozenset[str]
    affixes: frozenset[str]


def common_words(notes: Sequence[LabelledText]) -> CommonWords:
    """Which words name no one.

    A word inside a label that is not of :data:`PUBLIC` never counts, save for particles such as ``de``. Any other
    word counts where it stands in :data:`MINIMUM_NOTES` notes, or inside labels only in
    :data:`MINIMUM_LABELLED_NOTES`; a word of the dictionaries of names only where it is mostly written small. An
    affix counts where :data:`MINIMUM_SHARING` different words, longer than it by three letters, have it, and no
    private word is spelled so.
    """
    outside: Counter[str] = Counter()
    labelled: Counter[str] = Counter()
    capitalised: Counter[str] = Counter()
    written: Counter[str] = Counter()
    private: set[str] = set()
    for note in notes:
        free, inside = set(), set()
        at = 0
        for match in _TOKEN.finditer(note.text):
            word = fold(match.group())
            if not word.isalpha():
                continue
            written[word] += 1
            capitalised[word] += match.group()[0].isupper()
            while at < len(note.spans) and note.spans[at][1] <= match.start():
                at += 1
            if at == len(note.spans) or match.end() <= note.spans[at][0]:
                free.add(word)
            elif note.spans[at][2] in PUBLIC:
                inside.add(word)
            else:
                private.add(word)
        outside.update(free)
        labelled.update(inside)
    names = folded("given_names") | folded("family_names")
    words = {
        word
        for word in written
        if word in _PARTICLES
        or (
            word not in private
            and (outside[word] >= MINIMUM_NOTES or labelled[word] >= MINIMUM_LABELLED_NOTES)
            and (word not in names or capitalised[word] <= 0.1 * written[word])
        )
    }
    sharing: defaultdict[str, int] = defaultdict(int)
    for word in written:
        for affix in _affixes(word):
            sharing[affix] += 1
    return CommonWords(
        frozenset(words),
        frozenset(a for a, n in sharing.items() if n >= MINIMUM_SHARING and a.strip("<>") not in private),
    )


@lru_cache(maxsize=1 << 16)
def _affixes(word: str) -> tuple[str, ...]:
    if not word.isalpha():
        return ()
    return tuple(
        form for size in (2, 3) if len(word) >= size + 3 for form in (f"<{word[:size]}", f"{word[-size:]}>")
    )


@lru_cache(maxsize=1 << 16)
def _form(token: str) -> tuple[str, str]:
    """The token's shape, and the shape with runs of one kind as one."""
    shape = "".join("9" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in token)
    return shape[:8], re.sub(r"(.)\1+", r"\1", shape)


@cache
def _dictionaries() -> tuple[tuple[str, frozenset[str]], ...]:
    names = ("given_names", "family_names", "cities", "countries", "us_states", "conditions", "medications")
    return tuple((name[:2], folded(name)) for name in names)


@lru_cache(maxsize=1 << 16)
def _listed(word: str) -> tuple[str, ...]:
    return tuple(f"d={name}" for name, words in _dictionaries() if word in words)


def features_of(
    lines: Iterable[Line], rules: Sequence[TextFinding], common: CommonWords | None = None
) -> Iterator[tuple[Line, list[list[str]]]]:
    """Each line of a text, and for each of its tokens the features.

    Args:
        lines: :func:`lines_of` one text.
        rules: what the rules found in the text, in order of position.
        common: which words may be features; ``None`` lets all be, for a model that knows only common ones anyway.
    """
    at = 0
    before = ""
    for line in lines:
        said = []
        for start, end in zip(line.starts, line.ends, strict=True):
            while at < len(rules) and rules[at].end <= start:
                at += 1
            found = rules[at] if at < len(rules) and rules[at].start < end else None
            said.append(
                "" if found is None else f"{'B' if found.start >= start else 'I'}-{found.classification}"
            )
        yield line, _features(line, said, before, common)
        before = fold(line.tokens[0])


def _features(line: Line, said: Sequence[str], before: str, common: CommonWords | None) -> list[list[str]]:
    folds = [fold(token) for token in line.tokens]
    words = [word if common is None or not word.isalpha() or word in common.words else "" for word in folds]
    words = ["" if word.isdigit() else word for word in words]
    shapes = [_form(token) for token in line.tokens]
    listed = [_listed(word) for word in folds]
    if common is not None and before not in common.words:
        before = ""
    size = len(folds)
    # Neighbours beyond the line's ends are one word of their own.
    near_words = ["^", "^", *words, "$", "$"]
    near_shapes = ["^", "^", *(short for _, short in shapes), "$", "$"]
    near_said = ["", "", *said, "", ""]
    key, since = "^", 0
    made = []
    for i in range(size):
        shape, short = shapes[i]
        word, rule = words[i], said[i]
        row = ["b", f"s={shape}", f"c={short}", f"l={min(len(folds[i]), 12)}", f"r={rule}", *listed[i]]
        if word:
            row += (f"w={word}", f"w={word}|{short}")
        row += (f"a={a}" for a in _affixes(folds[i]) if common is None or a in common.affixes)
        for step in (-2, -1, 1, 2):
            place = i + 2 + step
            if near_words[place]:
                row.append(f"{step}w={near_words[place]}")
            row.append(f"{step}c={near_shapes[place]}")
            if near_said[place]:
                row.append(f"{step}r={near_said[place]}")
        row += (
            f"{near_shapes[i + 1]}|{short}|{near_shapes[i + 3]}", f"{near_shapes[i]}|{near_shapes[i + 1]}|{short}",
            f"{near_words[i + 1]}|{short}", f"{near_words[i + 1]}|{short}|{near_words[i + 3]}",
            f"k={key}", f"k={key}|{short}", f"k={key}|{min(i - since, 6)}", f"p={before}",
        )  # fmt: skip
        if i and listed[i - 1]:
            row += (f"-1{d}" for d in listed[i - 1])
        if i + 1 < size and listed[i + 1]:
            row += (f"1{d}" for d in listed[i + 1])
        made.append(row)
        if folds[i] == ":" and i:
            # The word before a colon is the name of a form's field.
            key, since = words[i - 1] or "?", i + 1
    return made
