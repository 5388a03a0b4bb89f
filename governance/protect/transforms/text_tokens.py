"""Type tags of redacted text that carry their value, sealed: ``[EMAIL:token]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.keys.text_tokens import ALPHABET, TextKey

RowKeys: TypeAlias = Callable[[npt.NDArray[np.int64]], Sequence[TextKey | None]]
"""Row numbers of a batch, ascending → the key of each row, ``None`` where nothing may be sealed."""

_NAME = r"[A-Z][A-Z0-9_]{0,15}"
_TAG = re.compile(rf"\[({_NAME})\]")
_TOKEN = re.compile(rf"\[({_NAME}):([{ALPHABET}]+)\]")


def with_tokens(before: pa.Array, redacted: pa.Array, keys: RowKeys) -> pa.Array:
    """Put a token into each tag that redaction wrote.

    Only rows that redaction changed are looked at. Where two found spans touch, or the text between them stands in one
    of them too, a token may hold a part of its neighbour's value; together they hold exactly what was taken out.
    A row whose tags cannot be traced to its text, or that has no key, keeps tags without tokens.
    """
    changed = pc.fill_null(pc.not_equal(before, redacted), False)
    rows = np.flatnonzero(changed.to_numpy(zero_copy_only=False)).astype(np.int64)
    if not len(rows):
        return redacted
    at = pa.array(rows)
    tagged = redacted.take(at).to_pylist()
    for place, (text, key) in enumerate(zip(before.take(at).to_pylist(), keys(rows), strict=True)):
        if key is not None:
            tagged[place] = _sealed(text, tagged[place], key)
    return pc.replace_with_mask(redacted, changed, pa.array(tagged, redacted.type))


def without_tokens(texts: pa.Array, keys: RowKeys) -> pa.Array:
    """Put the values back. What does not open stays as it is: it was sealed for others, forged, or its key is gone."""
    holding = pc.fill_null(pc.match_substring_regex(texts, _TOKEN.pattern), False)
    rows = np.flatnonzero(holding.to_numpy(zero_copy_only=False)).astype(np.int64)
    if not len(rows):
        return texts
    opened = texts.take(pa.array(rows)).to_pylist()
    for place, key in enumerate(keys(rows)):
        if key is not None:
            opened[place] = _opened(opened[place], key)
    return pc.replace_with_mask(texts, holding, pa.array(opened, texts.type))


def _sealed(text: str, tagged: str, key: TextKey) -> str:
    pieces = _TAG.split(tagged)
    values = _taken_out(text, pieces[::2])
    if values is None:
        return tagged
    for place, value in enumerate(values):
        tag = pieces[2 * place + 1]
        pieces[2 * place + 1] = f"[{tag}:{key.seal(value, tag)}]"
    return "".join(pieces)


def _taken_out(text: str, kept: list[str]) -> list[str] | None:
    """What stood between the pieces that were kept, in order; ``None`` where they are not those of the text."""
    if not text.startswith(kept[0]):
        return None
    values, position = [], len(kept[0])
    for piece in kept[1:-1]:
        end = text.find(piece, position + 1)
        if end < 0:
            return None
        values.append(text[position:end])
        position = end + len(piece)
    end = len(text) - len(kept[-1])
    if len(kept) == 1 or end <= position or not text.endswith(kept[-1]):
        return None
    return [*values, text[position:end]]


def _opened(text: str, key: TextKey) -> str:
    def value(found: re.Match[str]) -> str:
        opened = key.open(found[2], found[1])
        return found[0] if opened is None else opened

    return _TOKEN.sub(value, text)
