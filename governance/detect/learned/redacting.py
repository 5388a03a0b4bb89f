"""Redaction that also knows what models find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from governance.detect.detectors.registry import DetectorsLike
from governance.detect.learned.crf import CrfLike
from governance.detect.text.engine import TextFinding, classify_text
from governance.detect.text.redaction import MAXIMUM_ROWS, TAGS, redact

MODEL_TAGS: Mapping[str, str] = {**TAGS, "organization": "ORG"}
"""The tag of what is replaced; ages, countries and states stay, as they do without a model."""
MINIMUM_SCORES: Mapping[str, float] = {"organization": 0.5}
"""Organisations the model is unsure of are mostly none; of people and places rather too much is removed."""


def redact_with_models(
    texts: pa.Array,
    known: Mapping[str, pa.Array | Sequence[pa.Array]] | None = None,
    detectors: DetectorsLike = None,
    *,
    ner: bool = False,
    crf: CrfLike = None,
) -> pa.Array:
    """:func:`governance.detect.redact`, after the findings of models were replaced by their tags.

    Args:
        texts: ``string`` or ``large_string`` (also dictionary-encoded), length n.
        known: by classification, what structured columns say of the same row; see :func:`governance.detect.redact`.
        detectors: what is known, or the paths of a team's files.
        ner: whether the pinned English model reads them.
        crf: a model of one's own, see :func:`governance.detect.classify_text`.

    Raises:
        SettingError: GOV-121 or GOV-902, see :func:`governance.detect.learned.supplemented`.
    """
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    parts = [
        _tagged(texts.slice(start, MAXIMUM_ROWS), detectors, ner, crf)
        for start in range(0, len(texts), MAXIMUM_ROWS)
    ]
    return redact(pa.concat_arrays(parts) if parts else texts, known, detectors)


def _tagged(texts: pa.Array, detectors: DetectorsLike, ner: bool, crf: CrfLike) -> pa.Array:
    values = texts.to_pylist()
    found = classify_text([value or "" for value in values], detectors, ner=ner, crf=crf)
    return pa.array(
        [value and tagged(value, findings) for value, findings in zip(values, found, strict=True)], texts.type
    )


def tagged(text: str, findings: Sequence[TextFinding]) -> str:
    """A text with its findings, in order and without overlaps, replaced by tags such as ``[NAME]``."""
    pieces, position = [], 0
    for finding in findings:
        tag = MODEL_TAGS.get(finding.classification)
        if tag is None or finding.score < MINIMUM_SCORES.get(finding.classification, 0.0):
            continue
        pieces += [text[position : finding.start], f"[{tag}]"]
        position = finding.end
    return "".join([*pieces, text[position:]])
