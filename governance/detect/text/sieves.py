"""Which rows are worth an expression: one pass of numpy over the bytes of an Arrow column.

Each byte gets the classes it belongs to, and each row the union of its bytes' classes. Capitalised words are
hashed and looked up, so that only rows with a word of the dictionaries in a name's or a place's surroundings are
read word by word. A row may be let through in vain and is never held back: the tests compare with no sieve at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from governance.detect.text import lexicon

DIGITS, MARKS, CAPITALS, PERSON, LEXICON = 1, 2, 4, 8, 16
"""What a row may hold: what needs a digit, a colon or an equals sign; addresses of the net, keys and tokens; what
starts with a capital; a person of the dictionaries; any of their words."""

WINDOW = 1 << 16
"""Bytes looked at together; the arrays of one window stay in the cache."""
_TRIED, _WORTH, _SHORT_ROW = 1_024, 0.5, 4_096
"""Rows looked at to learn whether most are quiet, the share that may not be, and the bytes a row may have for that."""
_CONTEXT = 32
_WORD_BYTES = 16
_BITS = 20
TOKEN = 20
"""Letters, digits, ``+/_-`` in a row of which a token is made: vendors' keys and random tokens are as long."""

_STATED, _MARKED, _TOKEN, _MIDDLE, _UPPER = 1, 2, 4, 8, 16
_LETTERS = np.zeros(256, np.uint8)
_LETTERS[ord("A") : ord("Z") + 1] = _LETTERS[ord("a") : ord("z") + 1] = 255
# Leads of punctuation and pictures, and the marks of Latin-1, end a word; all other bytes above ASCII go on with it.
_LETTERS[0x80:] = 255
_LETTERS[[0xC2, 0xE2, 0xEF, 0xF0]] = 0

# A stop counts before a letter only: names of hosts, not ends of sentences.
_LOUD = ~np.isin(np.arange(256), [*b".?>[\\]^`"])
# Random tokens have letters of both cases; a capital that opens a row counts beside a digit (Hauptstraße 12).
_ROW = np.array(
    [
        (DIGITS if union & _STATED else 0)
        | (MARKS if union & _MARKED or (union & _TOKEN and union & _UPPER) else 0)
        | (CAPITALS if union & _MIDDLE or (union & _UPPER and union & _STATED) else 0)
        for union in range(32)
    ],
    np.uint8,
)


def rows(texts: pa.Array) -> NDArray[np.uint8]:
    """For each row the sieves that let it through, shape (n,); null is 0. Takes ``string`` or ``large_string``."""
    flags = np.zeros(len(texts), np.uint8)
    offsets, _ = _buffers(texts)
    if not len(flags) or offsets[-1] == offsets[0]:
        return flags
    if offsets[-1] - offsets[0] <= _SHORT_ROW * len(texts) and _loud(texts.slice(0, _TRIED)).mean() <= _WORTH:
        loud = np.flatnonzero(_loud(texts))
        flags[loud] = _read(texts.take(pa.array(loud)))
    else:
        flags = _read(texts)
    if texts.null_count:
        flags[texts.is_null().to_numpy(zero_copy_only=False)] = 0
    return flags


def _read(texts: pa.Array) -> NDArray[np.uint8]:
    flags, unions = np.zeros(len(texts), np.uint8), np.zeros(len(texts), np.uint8)
    offsets, data = _buffers(texts)
    for start in range(int(offsets[0]), int(offsets[-1]), WINDOW):
        _window(data, offsets, start, min(start + WINDOW, int(offsets[-1])), unions, flags)
    flags |= _ROW[unions]
    return flags


def _loud(texts: pa.Array) -> NDArray[np.bool_]:
    """Which rows have a byte that any class but small letters, blanks and marks between words is made of, shape (n,).

    A quarter of what reading all classes costs; rows without such a byte can have no flag.
    """
    found = np.zeros(len(texts), np.bool_)
    offsets, data = _buffers(texts)
    for start in range(int(offsets[0]), int(offsets[-1]), 4 * WINDOW):
        end = min(start + 4 * WINDOW, int(offsets[-1]))
        part = data[start:end]
        loud = _within(part, ord("-"), ord("`"))
        if part.max() >= 0xC3:
            loud |= _within(part, 0xC3, 0xD9)
        first = int(np.searchsorted(offsets, offsets.dtype.type(start), "right")) - 1
        last = int(np.searchsorted(offsets, offsets.dtype.type(end), "left"))
        ends = np.append(np.maximum(offsets[first:last].astype(np.int64) - start, 0), end - start)
        at = np.flatnonzero(loud)
        says = _LOUD[part[at]]
        if not says.all():
            # Most of what is left in prose are stops at the ends of sentences and of rows.
            quiet, at = at[~says], at[says]
            quiet = quiet[_LETTERS[data[np.minimum(quiet + start + 1, len(data) - 1)]] != 0]
            row = np.searchsorted(ends, quiet, "right")
            found[first + row[ends[np.minimum(row, len(ends) - 1)] != quiet + 1] - 1] = True
        found[first:last] |= np.diff(np.searchsorted(at, ends)) > 0
    return found


def bounded(texts: pa.Array) -> bool:
    """Whether every text starts and ends with a character of ASCII that shows."""
    offsets, data = _buffers(texts)
    filled = np.flatnonzero(np.diff(offsets))
    ends = np.concatenate((data[offsets[filled]], data[offsets[filled + 1] - 1]))
    return bool(_within(ends, ord("!"), ord("~")).all())


def with_digit(texts: pa.Array) -> NDArray[np.bool_]:
    """Whether each row of a ``string`` or ``large_string`` array has a digit of ASCII, shape (n,); null has one."""
    offsets, data = _buffers(texts)
    if len(offsets) <= len(texts):
        return np.ones(len(texts), np.bool_)
    first, last = int(offsets[0]), int(offsets[-1])
    found = np.zeros(len(texts), np.bool_)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        digits = _within(data[first:last], ord("0"), ord("9"))
        found[filled] = np.logical_or.reduceat(digits, offsets[filled] - first)
    if texts.null_count:
        found |= texts.is_null().to_numpy(zero_copy_only=False)
    return found


def _buffers(texts: pa.Array) -> tuple[NDArray[np.signedinteger], NDArray[np.uint8]]:
    wide = pa.types.is_large_string(texts.type)
    _, places, values = texts.buffers()
    if places is None or values is None:
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    offsets: NDArray[Any] = np.frombuffer(places, np.int64 if wide else np.int32)
    return offsets[texts.offset : texts.offset + len(texts) + 1], np.frombuffer(values, np.uint8)


def _window(
    data: NDArray[np.uint8],
    offsets: NDArray[np.signedinteger],
    start: int,
    end: int,
    unions: NDArray[np.uint8],
    flags: NDArray[np.uint8],
) -> None:
    """Add to each row's classes of bytes and flags of names what the bytes ``[start, end)`` of the column say."""
    # A number of another width would make numpy copy all offsets.
    wide = offsets.dtype.type
    first = int(np.searchsorted(offsets, wide(start), "right")) - 1
    last = int(np.searchsorted(offsets, wide(end), "left"))
    begins = np.maximum(offsets[first:last].astype(np.int64), start) - start
    size = end - start
    # Room on both sides, so that a neighbour can be asked for without looking at ends.
    room = np.zeros(size + 2 * _CONTEXT, np.uint8)
    low, high = max(start - _CONTEXT, int(offsets[0])), min(end + _CONTEXT, int(offsets[-1]))
    room[low - start + _CONTEXT : high - start + _CONTEXT] = data[low:high]
    classes, words = _classified(room, size)
    # What stands before a row's first byte is another row's.
    heads = begins[int(offsets[first]) < start :]
    opens = _is_upper(room[_CONTEXT + heads])
    classes[heads] = (classes[heads] & np.uint8(0xFF ^ _MIDDLE)) | opens.view(np.uint8) * np.uint8(_UPPER)
    words[heads] = opens
    # Nor does what stands behind its last byte: a stop there joins nothing.
    tails = (offsets[first + 1 : last + 1] - start - 1)[np.diff(offsets[first : last + 1]) > 0]
    tails = tails[(tails >= 0) & (tails < size)]
    classes[tails[room[_CONTEXT + tails] == ord(".")]] &= np.uint8(0xFF ^ _MARKED)
    filled = np.flatnonzero(np.diff(begins, append=size))
    unions[first:last][filled] |= np.bitwise_or.reduceat(classes, begins[filled])
    at = np.flatnonzero(words)
    if len(at):
        _names(room, at, begins, flags[first:last], offsets[first + 1 : last + 1] - start)


def _within(data: NDArray[np.uint8], low: int, high: int) -> NDArray[np.bool_]:
    # Unsigned numbers wrap, so one comparison does for both ends.
    inside: NDArray[np.bool_] = (data - np.uint8(low)) <= np.uint8(high - low)
    return inside


def _is_upper(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return _within(data, ord("A"), ord("Z")) | _within(data, 0xC3, 0xD9)


def _classified(room: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The classes of each byte of the middle of ``room``, and where a capitalised word of Latin letters starts."""

    def at(array: NDArray[Any], by: int = 0) -> NDArray[Any]:
        return array[_CONTEXT + by : _CONTEXT + by + size]

    letters = _within(room | np.uint8(0x20), ord("a"), ord("z"))
    here, before = at(room), at(room, -1)
    upper = _within(here, ord("A"), ord("Z"))
    words = upper & ~at(letters, -1)
    middle = words
    high = _within(here, 0xC3, 0xD9)
    if high.any():
        high &= ~at(letters, -1)
        high &= (here != 0xC3) | (at(room, 1) < 0x9F)
        upper, middle = upper | high, words | high
        words = words | (high & _LEADS[here])
    marked = here == ord("@")
    marked |= here == ord("_")
    dash, dot = here == ord("-"), here == ord(".")
    slash, colon = here == ord("/"), here == ord(":")
    if dash.any():
        marked |= dash & ((before == ord("-")) | (before == ord("k")) | (before == ord("t")))
        marked |= dash & (
            (at(room, -2) == ord("x")) | ((at(room, 3) == ord("-")) & (at(room, 6) == ord("-")))
        )
    if slash.any():
        marked |= slash & (at(room, 1) == ord("/"))
    if colon.any():
        marked |= colon & (at(room, 3) == ord(":"))
    if dot.any():
        marked |= dot & at(letters, 1) & (before > ord(" "))
    # Digits, colon and equals sign lie side by side, and so do + , - . / and the digits.
    stated = _within(here, ord("0"), ord("="))
    token = letters | _within(room, ord("+"), ord("9"))
    token |= room == ord("_")
    token = token[_CONTEXT : _CONTEXT + size + _CONTEXT // 2]
    for by in (1, 2, 4, 8, 4):
        token = token[:-by] & token[by:]
    classes = stated.view(np.uint8) * np.uint8(_STATED)
    for mask, bit in ((marked, _MARKED), (middle, _MIDDLE), (upper, _UPPER)):
        classes |= mask.view(np.uint8) * np.uint8(bit)
    if token.any():
        classes[: len(token)] |= token[:size].view(np.uint8) * np.uint8(_TOKEN)
    return classes, words


def _names(
    room: NDArray[np.uint8],
    at: NDArray[np.intp],
    begins: NDArray[np.int64],
    flags: NDArray[np.uint8],
    ends: NDArray[np.signedinteger],
) -> None:
    """Look up the capitalised words that start at ``at``; rows ``[begins, ends)`` of the window get their flags."""
    row = np.searchsorted(begins, at, "right") - 1
    room_words, letters = _overlapping(room), _overlapping(_LETTERS.take(room))
    place = at + _CONTEXT
    low, lows = room_words[place], ~letters[place]
    high, highs = room_words[place + 8], ~letters[place + 8]
    # The bits below the lowest byte that is no letter; all of them where there is none.
    one = np.uint64(1)
    lows &= ~lows + one
    lows -= one
    highs &= ~highs + one
    highs -= one
    highs &= -(lows == _ALL).astype(np.uint64)
    left = np.minimum(ends[row] - at, _WORD_BYTES)
    lows &= _PREFIX[np.minimum(left, 8)]
    highs &= _PREFIX[np.maximum(left - 8, 0)]
    kinds = _table()[_hashed(low & lows, high & highs)]
    hit = np.flatnonzero(kinds)
    if not len(hit):
        return
    kinds, row = kinds[hit], row[hit]
    length = _bytes_set(lows[hit]) + _bytes_set(highs[hit])
    place = place[hit]
    following, second = room[place + length], room[place + length + 1]
    before, earlier = room[place - 1], room[place - 2]
    long = length >= _WORD_BYTES
    dotted = (before == ord(" ")) & (earlier == ord(".")) & _INITIALS[room[place - 3]]
    joined = ((following == ord(" ")) | (following == ord("-"))) & _OPENS[second]
    person = ((kinds & (_GIVEN | _AMBIGUOUS)) != 0) & (joined | long)
    person |= ((kinds & _FAMILY) != 0) & (
        (following == ord(",")) | ((before == ord(".")) & _INITIALS[earlier]) | dotted | long
    )
    # A family name that somebody says or asks after: a blank and a lower-case letter of such a verb.
    person |= ((kinds & _FAMILY) != 0) & (following == ord(" ")) & _SPEAKERS[second]
    some = person | ((kinds & (_GIVEN | _PLACE)) != 0)
    flags[row[some]] |= LEXICON
    flags[row[person]] |= PERSON


_LEADS = np.zeros(256, np.bool_)
_LEADS[ord("A") : ord("Z") + 1] = _LEADS[0xC3:0xC6] = True
"""Bytes with which the dictionaries' words start."""
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_PREFIX = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)
_OPENS = ~np.isin(np.arange(256), [*b"abcefghijkmnopqrstuwxz0123456789 "])
"""Bytes with which the second word of a name may start: any but a lower-case letter that starts no particle."""
_SPEAKERS = np.isin(np.arange(256), [*b"stareqwcdbkm"])
_INITIALS = np.zeros(256, np.bool_)
_INITIALS[ord("A") : ord("Z") + 1] = _INITIALS[0x80:] = True
"""Bytes that an initial before a stop ends with."""
_GIVEN, _AMBIGUOUS, _FAMILY, _PLACE = 1, 2, 4, 8


def _overlapping(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """At each byte the eight that start there, as one little-endian number."""
    return np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))


def _bytes_set(masks: NDArray[np.uint64]) -> NDArray[np.int64]:
    counted: NDArray[np.int64] = np.searchsorted(_PREFIX, masks).astype(np.int64)
    return counted


def _hashed(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = low * np.uint64(0x9E3779B97F4A7C15) + high * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    hashed: NDArray[np.uint64] = (mixed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(64 - _BITS)
    return hashed


@cache
def _table() -> NDArray[np.uint8]:
    """The kinds of the dictionaries' words by hash; two words may share a place."""
    table = np.zeros(1 << _BITS, np.uint8)
    for kind, words in _vocabulary().items():
        heads = _heads(words)
        table[_hashed(heads[:, 0].copy(), heads[:, 1].copy())] |= np.uint8(kind)
    return table


def _vocabulary() -> Mapping[int, Iterable[str]]:
    given, ambiguous, family, places = lexicon.words()
    return {_GIVEN: given, _AMBIGUOUS: ambiguous, _FAMILY: family, _PLACE: places}


def _heads(words: Iterable[str]) -> NDArray[np.uint64]:
    """The bytes that :func:`_names` reads of dictionaries' words, as two numbers each: letters up to the first
    that is none, at most 16."""
    data = (
        np.array([word.encode() for word in words], f"S{_WORD_BYTES}").view(np.uint8).reshape(-1, _WORD_BYTES)
    )
    letters = np.minimum.accumulate(_LETTERS[data], axis=1)
    return (data & letters).view("<u8")
