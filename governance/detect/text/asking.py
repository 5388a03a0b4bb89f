"""Which detectors of a group match which texts, with as few calls from Python as the texts allow.

A call costs several times what matching a short text does. So texts of which few match anything are asked in
blocks, joined by line ends, and where one or two detectors match, Arrow asks each of them of all texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2
from numpy.typing import NDArray

_MEMORY = 256 << 20
_SAMPLED = 128
_SHORT = 64
"""Bytes of a text up to which a call costs more than the match."""
_BLOCK = 64
_QUIET = 0.02
"""The share of a sample that may match anything where blocks are worth it: most of them then match nothing."""
_FEW = 2
WORTH_ARROW = 64
"""Rows from which compiling an expression anew, as Arrow does at each call, is made good."""
WORTH_BLOCKS = 512
WORTH_SAMPLING = 8_192


def options() -> Any:
    """RE2 options with room for the automata of whole groups, and silent."""
    stated = re2.Options()
    stated.max_mem = _MEMORY
    stated.log_errors = False
    return stated


class Group:
    """Detectors that are asked together. ``members``: their indexes; ``expressions``: theirs, without captures.

    ``joinable`` says that a line end before and behind a text is to the expressions what its ends are.
    """

    def __init__(self, members: Sequence[int], expressions: Sequence[str], *, joinable: bool) -> None:
        self.members, self.expressions, self.joinable = list(members), list(expressions), joinable
        compiled = re2.Set.SearchSet(options())
        for expression in expressions:
            compiled.Add(expression)
        compiled.Compile()
        # The wrapper only encodes strings; called for every flagged row it costs a quarter of the match.
        self.match: Callable[[bytes], list[int]] = getattr(compiled, "_set", compiled).Match

    def asked(
        self, flagged: Sequence[bytes], column: Callable[[NDArray[np.intp]], pa.Array]
    ) -> tuple[NDArray[np.int64], list[tuple[int, ...]]]:
        """For each text the place of its detectors in a list of combinations, and that list.

        ``column`` gives some of the texts, by their places, as an Arrow array.
        """
        codes = np.zeros(len(flagged), np.int64)
        known: dict[tuple[int, ...], int] = {(): 0}
        places = np.arange(len(flagged))
        if len(places) >= WORTH_BLOCKS and self.joinable:
            places = self._loud(flagged, column, codes, known)
        if len(places) >= WORTH_SAMPLING:
            places = self._alike(flagged, column, places, codes, known)
        some = flagged if len(places) == len(flagged) else [flagged[place] for place in places.tolist()]
        codes[places] = [known.setdefault(hit, len(known)) for hit in map(tuple, map(self.match, some))]
        return codes, [tuple(sorted([self.members[each] for each in hit])) for hit in known]

    def _loud(
        self,
        flagged: Sequence[bytes],
        column: Callable[[NDArray[np.intp]], pa.Array],
        codes: NDArray[np.int64],
        known: dict[tuple[int, ...], int],
    ) -> NDArray[np.intp]:
        """Settle what blocks of texts say; the places left to ask."""
        sample = flagged[:: len(flagged) // _SAMPLED]
        found = [self.match(text) for text in sample]
        quiet = sum(map(bool, found)) <= _QUIET * len(sample)
        alone = len({each for hit in found for each in hit}) <= _FEW
        if not quiet and not (alone and sum(map(len, sample)) <= _SHORT * len(sample)):
            return np.arange(len(flagged))
        matching: set[int] = set()
        loud: list[NDArray[np.intp]] = [np.zeros(0, np.intp)]
        for start in range(0, len(flagged), _BLOCK):
            block = flagged[start : start + _BLOCK]
            if hit := self.match(b"\n".join(block)):
                matching.update(hit)
                loud.append(np.arange(start, start + len(block)))
        places = np.concatenate(loud)
        if len(places) < WORTH_ARROW or len(matching) > _FEW:
            return places
        some, ordered = column(places), sorted(matching)
        held = np.zeros(len(places), np.int64)
        try:
            for bit, each in enumerate(ordered):
                held |= (
                    as_bool(pc.match_substring_regex(some, self.expressions[each])).astype(np.int64) << bit
                )
        except pa.ArrowInvalid:  # more than its automata hold
            return places
        for bits in range(1, 1 << len(ordered)):
            combination = tuple(each for bit, each in enumerate(ordered) if bits >> bit & 1)
            codes[places[held == bits]] = known.setdefault(combination, len(known))
        return places[:0]

    def _alike(
        self,
        flagged: Sequence[bytes],
        column: Callable[[NDArray[np.intp]], pa.Array],
        places: NDArray[np.intp],
        codes: NDArray[np.int64],
        known: dict[tuple[int, ...], int],
    ) -> NDArray[np.intp]:
        """Settle texts that hold one and the same thing, as those of a column of addresses do; the places left.

        Arrow matches them all: with each detector that matches most of a sample, and with all others together.
        """
        sample = [flagged[place] for place in places[:: len(places) // _SAMPLED].tolist()]
        if sum(map(len, sample)) > _SHORT * len(sample):
            return places
        hit, times = Counter(map(tuple, map(self.match, sample))).most_common(1)[0]
        if not hit or times < 0.9 * len(sample):
            return places
        some = column(places)
        others = "|".join(each for n, each in enumerate(self.expressions) if n not in hit)
        other = np.zeros(len(places), np.bool_)
        try:
            if others:
                other |= as_bool(pc.match_substring_regex(some, others))
            for each in hit:
                other |= ~as_bool(pc.match_substring_regex(some, self.expressions[each]))
        except pa.ArrowInvalid:  # more than its automata hold
            return places
        codes[places[~other]] = known.setdefault(hit, len(known))
        return places[other]


def as_bool(mask: pa.Array) -> NDArray[np.bool_]:
    """A mask of Arrow as numpy's; null is False."""
    filled: NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return filled
