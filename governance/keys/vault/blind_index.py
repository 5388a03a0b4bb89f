"""A hash table from 16-byte blind indexes to ordinals, probed a whole batch at a time.

Open addressing with linear probing, never more than half full. The keys are outputs of a keyed
pseudorandom function, so their own low bits are the hash and nobody without the key can aim for
collisions. Each step of a probe handles every value that is still looking, so the number of numpy
calls is the length of the longest probe.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ordinals = npt.NDArray[np.int64]

_EMPTY = -1
_SMALLEST = 1 << 12


class BlindIndex:
    """Grows with the vault; the keys themselves stay in the vault's array and are handed in."""

    def __init__(self) -> None:
        self.count = 0
        self._slots = np.full(_SMALLEST, _EMPTY, np.int32)

    def extend(self, keys: Bytes) -> None:
        """Take in ``keys[count:]``, shape (n, 16); the earlier rows are those known already."""
        words = keys.view(np.uint64)
        if 2 * len(keys) > self._slots.size:
            self._slots = np.full(1 << (3 * len(keys)).bit_length(), _EMPTY, np.int32)
            self.count = 0
        ordinals = np.arange(self.count, len(keys), dtype=np.int32)
        slots = self._home(words[self.count :])
        while ordinals.size:
            free = self._slots[slots] == _EMPTY
            # Of several that want one slot the last write stays; the rest see that and go on.
            self._slots[slots[free]] = ordinals[free]
            pending = self._slots[slots] != ordinals
            ordinals, slots = ordinals[pending], self._next(slots[pending])
        self.count = len(keys)

    def find(self, keys: Bytes, wanted: Bytes) -> Ordinals:
        """The ordinal of each row of ``wanted``, shape (m, 16), or -1."""
        words, targets = keys.view(np.uint64), wanted.view(np.uint64)
        found = np.full(len(wanted), -1, np.int64)
        if not self.count:
            return found
        looking = np.arange(len(wanted))
        slots = self._home(targets)
        while looking.size:
            candidates = self._slots[slots]
            # Row -1 is compared in vain where a slot is empty; that costs less than leaving it out.
            held, sought = np.take(words, candidates, axis=0), np.take(targets, looking, axis=0)
            same = (held[:, 0] == sought[:, 0]) & (held[:, 1] == sought[:, 1]) & (candidates != _EMPTY)
            found[looking[same]] = candidates[same]
            going = ~same & (candidates != _EMPTY)
            looking, slots = looking[going], self._next(slots[going])
        return found

    def _home(self, words: npt.NDArray[np.uint64]) -> Ordinals:
        return (words[:, 0] & np.uint64(self._slots.size - 1)).astype(np.int64)

    def _next(self, slots: Ordinals) -> Ordinals:
        return (slots + 1) & (self._slots.size - 1)
