"""Free text with its identifiers replaced by type tags.

First what structured columns of the same row know, wherever it stands; then what the text detectors
find. Both work on whole arrays; only rows that hold something are rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect.classifications import taxonomy
from governance.detect.detectors.registry import Detectors, DetectorsLike, resolve
from governance.detect.detectors.validators import named
from governance.detect.text import lexicon
from governance.detect.text.engine import TextEngine, engine
from governance.detect.text.hits import Hits
from governance.detect.text.known_values import without_known
from governance.detect.text.noticed import Noticed
from governance.detect.text.splicing import bytes_of, cut, spliced

TAGS: Mapping[str, str] = {
    "person_name": "NAME", "given_name": "NAME", "family_name": "NAME", "email": "EMAIL", "phone": "PHONE",
    "street_address": "ADDRESS", "city": "CITY", "postal_code": "ZIP", "date_of_birth": "DATE", "date": "DATE", "ssn": "SSN",
    "national_id": "ID", "passport": "ID", "driver_license": "ID", "medical_record_number": "MRN", "health_plan_id": "ID",
    "account_number": "ID", "npi": "ID", "iban": "IBAN", "credit_card": "CARD", "ip_address": "IP", "mac_address": "DEVICE",
    "device_id": "DEVICE", "vehicle_id": "ID", "url": "URL", "username": "USERNAME", "customer_id": "ID",
    "geo_coordinates": "GEO", "secret": "SECRET",
}  # fmt: skip
"""The tag of each classification of the package whose values are removed where a structured column knows them."""

_WORTH_ARROW = 64
"""Rows from which compiling an expression anew, as Arrow does at each call, is made good."""
MAXIMUM_ROWS = 131_072
MAXIMUM_BYTES = 32 << 20
"""Text worked on together, unless a row alone is longer."""


@lru_cache(maxsize=8)
def known_tags(detectors: Detectors) -> Mapping[str, str]:
    """:data:`TAGS`, and the tag of each classification of a team that identifies: confidential or more, no opinion or state
    of a person (GDPR Art. 9)."""
    own = {d.classification: d.tag for d in reversed(detectors.text)}
    return {
        name: own.get(name, "ID")
        for name, entry in detectors.taxonomy.items()
        if name not in taxonomy()
        and entry.sensitivity in ("confidential", "restricted")
        and entry.special_category is None
    } | dict(TAGS)


def redact(
    texts: pa.Array,
    known: Mapping[str, pa.Array | Sequence[pa.Array]] | None = None,
    detectors: DetectorsLike = None,
    *,
    noticed: Noticed | None = None,
) -> pa.Array:
    """Replace identifiers in texts by tags such as ``[EMAIL]``.

    Args:
        texts: ``string`` or ``large_string`` (also dictionary-encoded), length n.
        known: by classification, an array of length n or several: what structured columns say of the same row. Their
            values are removed wherever they stand in the row's text, in any case, names also word by word.
        detectors: what is known, or the paths of a team's files.
        noticed: what a scan with the same detectors noticed of the same texts.

    Returns:
        An array of the same length, ``string`` or ``large_string``; null stays null and an untouched
        text is returned as it was. What no rule and no known value names stays in the text.
    """
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    if pa.types.is_null(texts.type):
        return texts.cast(pa.string())
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        texts = texts.cast(pa.large_string())
    team = resolve(detectors)
    matcher, tags = engine(team), known_tags(team)
    parts = []
    step = min(MAXIMUM_ROWS, max(1, MAXIMUM_BYTES * len(texts) // max(texts.nbytes, 1)))
    for start in range(0, len(texts), step):
        part = texts.slice(start, step)
        if noticed is None:
            flags = matcher.sieved(part)
            hits = matcher.hits(part, flags)
        else:
            flags, hits = matcher.recalled(part, noticed.within(start, start + len(part)))
        if known:
            given = {
                name: [array.slice(start, step) for array in _listed(arrays)]
                for name, arrays in known.items()
                if name in tags
            }
            rows, rewritten = without_known(part, flags, given, tags)
            if len(rows):
                part = _placed(part, rows, rewritten)
                hits = hits.replaced(rows, matcher.hits(rewritten))
        parts.append(_without_found(part, hits, matcher))
    return pa.concat_arrays(parts) if parts else texts


def _without_found(texts: pa.Array, hits: Hits, detectors: TextEngine) -> pa.Array:
    if not len(hits.rows):
        return texts
    holders: list[list[int]] = [[] for _ in detectors.detectors]
    for place, found in enumerate(hits.detectors):
        for index in found:
            holders[index].append(place)
    flagged = texts.take(pa.array(hits.rows))
    harmless = {place for index in detectors.harmless for place in holders[index]}
    veiled = np.array([at for at in sorted(harmless) if not _VEILS.search(hits.texts[at])], dtype=np.int64)
    if len(veiled):
        flagged = _placed(
            flagged, veiled, _rewritten(flagged.take(pa.array(veiled)), partial(_veiled, detectors))
        )
    for index, detector in enumerate(detectors.detectors):
        if not detector.redact or not holders[index]:
            continue
        at = np.array(holders[index], dtype=np.int64)
        rows = flagged.take(pa.array(at))
        if detector.redact_unchecked:
            # Twice: a span that shares its boundary character with the one before it is passed over once.
            for _ in range(2):
                rows = pc.replace_substring_regex(rows, detector.expression, rf"\1[{detector.tag}]\3")
        else:
            rows = _checked_rows(detectors, index, rows)
        flagged = _placed(flagged, at, rows)
    flagged = _without_names(flagged, hits)
    if len(veiled):
        flagged = _placed(flagged, veiled, _rewritten(flagged.take(pa.array(veiled)), _unveiled))
    return _placed(texts, hits.rows, flagged)


_VEIL = bytes.maketrans(b"0123456789.", bytes(range(0x0E, 0x19)))
_VEILS = re.compile(rb"[\x0e-\x18]")
_UNVEIL = bytes.maketrans(bytes(range(0x0E, 0x19)), b"0123456789.")
"""Digits and stops of what is harmless become characters that no detector knows, until the others have looked."""


def _veiled(detectors: TextEngine, text: bytes) -> bytes:
    for index in detectors.harmless:
        for start, end in detectors.found(index, text):
            text = text[:start] + text[start:end].translate(_VEIL) + text[end:]
    return text


def _unveiled(text: bytes) -> bytes:
    return text.translate(_UNVEIL)


def _without_names(flagged: pa.Array, hits: Hits) -> pa.Array:
    at = np.flatnonzero(hits.lexicon)
    if not len(at):
        return flagged
    return _placed(flagged, at, _rewritten(flagged.take(pa.array(at)), _named))


def _checked_rows(detectors: TextEngine, index: int, rows: pa.Array) -> pa.Array:
    """Texts without the spans of a detector that have passed its validator."""
    detector = detectors.detectors[index]
    if len(rows) < _WORTH_ARROW or detector.validator == "iban":
        return _rewritten(rows, partial(_checked, detectors, index))
    # A search from Python costs twenty times as much: Arrow finds the first span of all rows, most have no other.
    found = pc.extract_regex_span(
        rows, f"(?P<before>{detector.before})(?P<span>{detector.pattern})(?:{detector.after})"
    )
    spans = found.field("span").values.to_numpy(zero_copy_only=False).reshape(-1, 2).astype(np.int64)
    offsets, data = bytes_of(rows)
    begins = offsets[:-1] + spans[:, 0]
    ends = begins + spans[:, 1]
    values = cut(rows, begins, ends).dictionary_encode()
    check = named(str(detector.validator))
    valid = [
        bool(value) and check(value.decode("utf-8", "replace").strip())
        for value in values.dictionary.cast(pa.large_binary()).to_pylist()
    ]
    once = np.array(valid, np.bool_)[values.indices.to_numpy(zero_copy_only=False)]
    # Whatever stands in brackets already may be a tag.
    once &= (spans[:, 0] == 0) | (data[np.maximum(begins - 1, 0)] != ord("["))
    replaced = spliced(
        rows, begins, ends, [f"[{detector.tag}]".encode()], np.zeros(len(rows), np.int64), ~once
    )
    again = pc.match_substring_regex(replaced, detector.expression).fill_null(True)
    left = np.flatnonzero(again.to_numpy(zero_copy_only=False))
    if not len(left):
        return replaced
    return _placed(replaced, left, _rewritten(rows.take(pa.array(left)), partial(_checked, detectors, index)))


def _checked(detectors: TextEngine, index: int, text: bytes) -> bytes:
    tag = detectors.detectors[index].tag
    return _spliced(text, [(start, end, tag) for start, end in detectors.found(index, text)])


def _named(text: bytes) -> bytes:
    tags = lexicon.REDACTED
    return _spliced(text, [(s, e, tags[kind]) for s, e, kind in lexicon.byte_lookup(text) if kind in tags])


def _spliced(text: bytes, spans: list[tuple[int, int, str]]) -> bytes:
    pieces, position = [], 0
    for start, end, tag in spans:
        if text[start - 1 : start] == b"[" and text[end : end + 1] == b"]":
            continue
        pieces += [text[position:start], b"[", tag.encode(), b"]"]
        position = end
    return b"".join([*pieces, text[position:]])


def _rewritten(rows: pa.Array, rewrite: Callable[[bytes], bytes]) -> pa.Array:
    wide = pa.types.is_large_string(rows.type)
    raw = rows.cast(pa.large_binary() if wide else pa.binary()).to_pylist()
    return pa.array([rewrite(text) for text in raw], pa.large_binary() if wide else pa.binary()).view(
        rows.type
    )


def _placed(texts: pa.Array, rows: NDArray[np.int64], replacements: pa.Array) -> pa.Array:
    if len(rows) == len(texts):
        return replacements
    mask = np.zeros(len(texts), dtype=np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(texts, pa.array(mask), replacements)


def _listed(given: pa.Array | Sequence[pa.Array]) -> Sequence[pa.Array]:
    return (given,) if isinstance(given, pa.Array) else given
