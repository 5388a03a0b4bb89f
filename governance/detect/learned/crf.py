"""A conditional random field over tokens (CRFsuite, extra ``train``), kept as one file with its card.

The file is a line that names the format, the card as one line of JSON, and CRFsuite's model. The card holds the
SHA-256 of the model; the digest of the whole file is what a caller pins. A model is data that a C library reads:
load only those your own people trained.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from governance.detect.learned.features import Line, features_of, lines_of
from governance.detect.learned.labelled import Span
from governance.detect.text.engine import TextFinding
from governance.errors import SettingError

FORMAT = b"governance-crf-1\n"
MAXIMUM_BYTES = 200 << 20
_PIN = "@sha256:"
_CARD_KEYS = {"classifications", "model_sha256", "scores", "training_sha256"}


class CrfModel:
    """A trained model. Make one by :func:`load_model`; it may be shared by threads, which take turns.

    Attributes:
        digest: SHA-256 of the file, ``sha256:…``.
        card: what it was trained on and how well it did; holds no text of the notes.
    """

    def __init__(self, model: bytes, card: Mapping[str, Any], digest: str) -> None:
        self.card = card
        self.digest = digest
        self.classifications: frozenset[str] = frozenset(card["classifications"])
        self._model = model
        self._tagger = library().Tagger()
        self._tagger.open_inmemory(model)
        self._turn = threading.Lock()

    def findings(
        self, texts: Sequence[str], rules: Sequence[Sequence[TextFinding]]
    ) -> list[list[TextFinding]]:
        """The model's findings of each text, in order of position; the score is the least of the probabilities that
        the model gives the tags of the span. ``rules`` are what the rules found, length n."""
        return [self._found(text, list(found)) for text, found in zip(texts, rules, strict=True)]

    def _found(self, text: str, rules: list[TextFinding]) -> list[TextFinding]:
        tagged: list[tuple[int, int, str, float]] = []
        with self._turn:
            for line, features in features_of(lines_of(text), rules):
                tags = self._tagger.tag(features)
                tagged += (
                    (start, end, tag, self._tagger.marginal(tag, place))
                    for place, (start, end, tag) in enumerate(zip(line.starts, line.ends, tags, strict=True))
                    if tag != "O"
                )
        return [TextFinding(*found) for found in _joined(text, tagged)]


CrfLike: TypeAlias = CrfModel | str | Path | None
"""A model, or the path of its file; ``PATH@sha256:…`` pins the file's digest."""


def _joined(
    text: str, tagged: Sequence[tuple[int, int, str, float]]
) -> Iterator[tuple[int, int, str, float]]:
    """Spans of runs of tags: ``I`` goes on where nothing but white space stands between."""
    current: tuple[int, int, str, float] | None = None
    for start, end, tag, probability in tagged:
        head, kind = tag[0], tag[2:]
        if current and head == "I" and kind == current[2] and not _untagged(text, current[1], start):
            current = (current[0], end, kind, min(current[3], probability))
            continue
        if current:
            yield current
        current = (start, end, kind, probability)
    if current:
        yield current


def _untagged(text: str, start: int, end: int) -> bool:
    return not text[start:end].isspace() if end > start else False


def tags_of(line: Line, spans: Sequence[Span]) -> list[str]:
    """For each token ``O``, or ``B-`` or ``I-`` and the type of the span it overlaps; ``spans`` are in order."""
    tags = []
    at = 0
    open_span: Span | None = None
    for start, end in zip(line.starts, line.ends, strict=True):
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        span = spans[at] if at < len(spans) and spans[at][0] < end else None
        # A span that began on an earlier line goes on here.
        goes_on = span is not None and (span == open_span or span[0] < line.starts[0])
        tags.append("O" if span is None else f"{'I' if goes_on else 'B'}-{span[2]}")
        open_span = span
    return tags


def library() -> Any:
    """python-crfsuite. Raises GOV-902 where the extra is not installed."""
    try:
        import pycrfsuite
    except ImportError:
        raise SettingError(
            "GOV-902",
            "a trained model of names needs python-crfsuite",
            "pip install 'airflow-governance[train]'",
        ) from None
    return pycrfsuite


def digest_of(data: bytes) -> str:
    """SHA-256 as ``sha256:…``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file_of(model: bytes, card: Mapping[str, Any]) -> bytes:
    """The file's bytes of a model and its card."""
    stated = {**card, "model_sha256": digest_of(model)}
    return FORMAT + json.dumps(stated, sort_keys=True, ensure_ascii=False).encode() + b"\n" + model


def load_model(model: CrfLike) -> CrfModel:
    """A model as given, or from its file.

    Raises:
        SettingError: GOV-121 when the file cannot be read, is no model or is not what its card or the pin says;
            GOV-902 when the extra ``train`` is not installed.
    """
    if isinstance(model, CrfModel):
        return model
    path, _, pin = str(model).partition(_PIN)
    try:
        if Path(path).stat().st_size > MAXIMUM_BYTES:
            raise _refused(path, f"is larger than {MAXIMUM_BYTES >> 20} MiB")
        data = Path(path).read_bytes()
    except OSError as fault:
        raise _refused(path, f"cannot be read: {fault.strerror}") from None
    digest = digest_of(data)
    if pin and digest != f"sha256:{pin}":
        raise _refused(path, "is not the pinned one")
    return _parsed(path, data, digest)


@lru_cache(maxsize=2)
def _parsed(path: str, data: bytes, digest: str) -> CrfModel:
    head, _, model = data.removeprefix(FORMAT).partition(b"\n")
    if not data.startswith(FORMAT):
        raise _refused(path, "is no model of this format")
    try:
        card = json.loads(head)
    except (ValueError, RecursionError):
        raise _refused(path, "has no readable card") from None
    if not isinstance(card, dict) or not card.keys() >= _CARD_KEYS:
        raise _refused(path, "has no complete card")
    if card["model_sha256"] != digest_of(model):
        raise _refused(path, "was altered after its training")
    return CrfModel(model, card, digest)


def _refused(path: str, reason: str) -> SettingError:
    return SettingError(
        "GOV-121", f"the model {path} {reason}", "use the file as `governance detect train` wrote it"
    )
