"""Names, places, organisations, groups and dates by a pinned spaCy pipeline (extra ``ner``), English only.

Only the ``ner`` component is loaded. Its labels are those of OntoNotes 5.0; what of them is an identifier, and how
often it is right, is decided here: spaCy itself gives no probabilities.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice, pairwise
from typing import Any, TypeAlias

from governance.detect.detectors.dictionaries import fold, folded
from governance.detect.learned.features import UNREADABLE
from governance.detect.learned.weights import verified
from governance.detect.text.engine import TextFinding
from governance.errors import SettingError

PIECE = 10_000
"""Characters of one piece of a long text; the memory that NER needs grows with it."""
_BATCH = 64
_ZONE = 256
_UNUSED = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")

SCORES: dict[str, tuple[float, float]] = {
    "person_name": (0.2, 0.6), "given_name": (0.7, 0.9), "organization": (0.25, 0.83), "city": (0.45, 0.75),
    "country": (0.97, 0.97), "jurisdiction": (0.6, 0.6), "ethnicity": (0.4, 0.4), "religion": (0.75, 0.75),
    "political_opinion": (0.6, 0.6), "date": (0.4, 0.4), "age": (0.95, 0.95),
}  # fmt: skip
"""How often a finding was right on the labelled English sets, without and with a dictionary's word, a company's
form or a day's number in it; see docs/detection.md."""

_ENGLISH = re.compile(
    r"\b(?:the|and|of|to|is|in|for|with|my|was|on|at|this|that|are|have|you|it|he|she|his|her|i)\b", re.I
)
_OTHER = re.compile(
    r"\b(?:el|la|los|las|de|del|que|y|con|por|una|un|le|les|des|du|et|est|dans|pour|der|die|das|und|ist|nicht|mit"
    r"|ein|eine|het|een|van|il|di|che|per|não|uma|och|att|är)\b",
    re.I,
)
_UNSPACED = re.compile(r"\S{80,}")
_WORD = re.compile(r"[^\W\d_]+")
_LEADING = re.compile(
    r"(?:(?:the|RT|a|an|A|An|this|This|my|My|Dear|Hi|Hello|Hey|Mr|Mrs|Ms|Miss|Dr|Prof|Mx)\b\.?\s*(?=.)|[^\w#]+)+"
)
_TRAILING = re.compile(
    r"(?:\s*['’]\s?s\b|\s+[0-9][0-9:.,-]*|[^\w.)]+|(?<![A-Z])(?<!Inc)(?<!Corp)(?<!Ltd)(?<!Co)\.)+$"
)
_BREAK = re.compile(
    r"\S*@\S*|\S*://\S*|\S*www\.\S*|\bRT\b|&\w+;?|[:|\"“”\n]|\s[-–]\s|\s['’](?=\s)|\S*[0-9]{5}\S*"
)
_COMPANY = re.compile(
    r"(?:\b(?:inc|llc|ltd|corp|corporation|group|gmbh|plc|company|co|bank|university|hospital|clinic)\b\.?)",
    re.I,
)
_YEAR = r"(?:1[89]|20)[0-9]{2}"
_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_DATE = re.compile(
    rf"(?<![0-9-]){_YEAR}(?![0-9])|(?<![0-9])[0-9]{{1,2}}(?P<by>[/.-])[0-9]{{1,2}}(?P=by)[0-9]{{2,4}}(?![0-9-])"
    rf"|\b{_MONTH}\s*[0-9]{{1,2}}|\b[0-9]{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}",
    re.I,
)
_PART_OF_DATE = re.compile(rf"{_DAY}|{_MONTH}", re.I)
_BEFORE_DATE = re.compile(r"(?:(?:the|this|last|next|on|in|of|since|early|late|mid)[\s-]+)+", re.I)
_AGE = re.compile(
    r"\b(1?[0-9]{1,2})(?=[ -]?(?:years?|yrs?)[ -](?:old|of[ -]age)|[ -]?y/?o\b)|(?<=\bage of )1?[0-9]{1,2}\b",
    re.I,
)
_NO_NAME = re.compile(
    r"iban|atm|asap|llc|psc|ssn|rt|lol|lmao|omg|wtf|tbh|btw|fyi|ff|dm|id|dob|mrn|npi|url|ip|pin|cvv|po|box|apt|suite"
    r"|street|inc|fax|tel|zip|isbn|gt|lt|amp|quot",
    re.I,
)


class NerModel:
    """A loaded pipeline. Make one by :func:`load`; it may be shared by threads, which take turns."""

    def __init__(self, name: str, digest: str, pipeline: Any) -> None:
        self.name = name
        self.digest = digest
        self._pipeline = pipeline
        self._turn = threading.Lock()

    def findings(self, texts: Sequence[str]) -> list[list[TextFinding]]:
        """The findings of each text, in order of position; texts in other languages than English have none.

        Long texts are read in pieces of :data:`PIECE` characters, cut at white space. A NUL or a lone surrogate is
        read as an unknown character.
        """
        found: list[list[TextFinding]] = [[] for _ in texts]
        pieces = (
            (_UNSPACED.sub(_blank, piece.translate(UNREADABLE)), (place, offset))
            for place, text in enumerate(texts)
            if english(text)
            for piece, offset in _pieces(text)
        )
        with self._turn:
            while several := list(islice(pieces, _ZONE)):
                # Outside of a zone the vocabulary keeps every new word for ever.
                with self._pipeline.memory_zone():
                    self._read(several, found)
        return found

    def _read(self, pieces: list[tuple[str, tuple[int, int]]], found: list[list[TextFinding]]) -> None:
        read = self._pipeline.pipe(pieces, as_tuples=True, batch_size=_BATCH, n_process=1)
        for document, (place, offset) in read:
            text = document.text
            for entity in document.ents:
                found[place].extend(
                    TextFinding(start + offset, end + offset, classification, score)
                    for start, end, classification, score in _said(
                        text, entity.start_char, entity.end_char, entity.label_
                    )
                )


@cache
def load() -> NerModel:
    """The best pinned weights that are installed, loaded once.

    Raises:
        SettingError: GOV-902 when spaCy or the weights are not installed, GOV-121 when the weights are not the bytes
            that are pinned or do not load.
    """
    weights, folder = verified()
    try:
        import spacy
    except ImportError:
        raise SettingError(
            "GOV-902", "names by a model need spaCy", "pip install 'airflow-governance[ner]'"
        ) from None
    try:
        pipeline = spacy.load(folder, exclude=_UNUSED)
    except (OSError, ValueError, KeyError):
        raise SettingError(
            "GOV-121",
            f"the weights of {weights.distribution} do not load in spaCy {spacy.__version__}",
            "install the versions of constraints.txt",
        ) from None
    return NerModel(weights.name, weights.digest, pipeline)


def english(text: str) -> bool:
    """Whether a text may be English: it holds no more function words of other languages than English ones."""
    head = text[:4_000]
    return len(_OTHER.findall(head)) <= len(_ENGLISH.findall(head))


def _blank(run: re.Match[str]) -> str:
    # spaCy's tokenizer takes the square of the length of a run without white space, and no name is so long.
    return " " * len(run.group())


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    start = 0
    while start < len(text):
        end = min(start + PIECE, len(text))
        if end < len(text):
            cut = max(text.rfind("\n", start, end), text.rfind(" ", start, end))
            end = cut + 1 if cut > start else end
        yield text[start:end], start
        start = end


def _said(text: str, start: int, end: int, label: str) -> Iterator[tuple[int, int, str, float]]:
    """An entity as findings of the taxonomy: cut to the name itself, or nothing where it is none."""
    if label in ("DATE", "TIME"):
        yield from _dated(text, start, end)
        return
    if label not in _READERS:
        return
    for name_start, name_end in _names(text, start, end):
        name = text[name_start:name_end]
        if len(name) < 2 or _NO_NAME.fullmatch(name) or not any(c.isalpha() for c in name):
            continue
        classification, supported = _READERS[label](name)
        if classification:
            yield name_start, name_end, classification, SCORES[classification][supported]


def _names(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of an entity between what is no part of a name: addresses, mark-up, line ends, colons."""
    breaks = [(start, start), *((m.start(), m.end()) for m in _BREAK.finditer(text, start, end)), (end, end)]
    for (_, after), (before, _) in pairwise(breaks):
        leading = _LEADING.match(text, after, before)
        after = leading.end() if leading else after
        trailing = _TRAILING.search(text[after:before])
        before = after + trailing.start() if trailing else before
        if before > after:
            yield after, before


def _dated(text: str, start: int, end: int) -> Iterator[tuple[int, int, str, float]]:
    if age := _AGE.search(text, start, min(end + 8, len(text))):
        yield age.start(), age.end(), "age", SCORES["age"][1]
        return
    said = _BEFORE_DATE.match(text, start, end)
    start = said.end() if said else start
    whole = _DATE.search(text, start, end) is not None
    if end - start < 40 and (whole or _PART_OF_DATE.fullmatch(text, start, end)):
        yield start, end, "date", SCORES["date"][whole]


def _person(name: str) -> _Said:
    words = _WORD.findall(name)
    if any(c.isdigit() for c in name) or len(words) > 5:
        return _NOTHING
    if fold(name) in folded("countries"):
        return "country", True
    known = any(fold(word) in _people() for word in words)
    if name.islower() and not known:
        return _NOTHING
    return "given_name" if len(words) == 1 and _given(words) else "person_name", known


def _organisation(name: str) -> _Said:
    words = _WORD.findall(name)
    company = _COMPANY.search(name) is not None
    if name.islower() and not company:
        return _NOTHING
    if len(words) <= 3 and not company:
        if _given(words):
            return "person_name" if len(words) > 1 else "given_name", False
        if fold(name) in folded("countries"):
            return "country", True
    return "organization", company


def _place(name: str) -> _Said:
    said = fold(name)
    for dictionary, classification in (
        ("countries", "country"),
        ("us_states", "jurisdiction"),
        ("cities", "city"),
    ):
        if said in folded(dictionary):
            return classification, True
    words = _WORD.findall(name)
    if not words or name.islower() or any(c.isdigit() for c in name):
        return _NOTHING
    if _given(words):
        return "person_name" if len(words) > 1 else "given_name", False
    return "city", False


@cache
def _people() -> frozenset[str]:
    return frozenset().union(
        *(folded(f"{wide}{kind}_names") for wide in ("", "text_") for kind in ("given", "family"))
    )


def _given(words: Sequence[str]) -> bool:
    said = fold(words[0]) if words else ""
    return said in folded("given_names") and said not in folded("ambiguous_given_names")


def _group(name: str) -> _Said:
    said = fold(name)
    if said in folded("religions"):
        return "religion", True
    if said in folded("political"):
        return "political_opinion", True
    return _NOTHING if any(c.isdigit() for c in name) else ("ethnicity", False)


_Said: TypeAlias = tuple[str, bool]
"""A classification, and whether a dictionary or a form supports it; ``""`` where the entity is nothing of ours."""

_NOTHING: _Said = ("", False)
_READERS: dict[str, Callable[[str], _Said]] = {
    "PERSON": _person, "ORG": _organisation, "GPE": _place, "LOC": _place, "FAC": _place, "NORP": _group,
}  # fmt: skip
