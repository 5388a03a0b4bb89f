"""The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1), without any storage.

A *node* is ``(level, index)``: the root of the complete subtree over the leaves
``[index << level, (index + 1) << level)``. A complete subtree never changes, so nodes are written
once, together with the leaf that completes them. Everything else (the root of a tree whose size is
no power of two, the ragged right side of a proof) is folded from at most ``log2(size)`` nodes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TypeAlias

from governance.errors import LogError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node: TypeAlias = tuple[int, int]
Span: TypeAlias = tuple[int, int]
ReadNodes: TypeAlias = Callable[[Sequence[Node]], Sequence[bytes]]

_REMEDY = "Do not trust this entry; run `governance log verify` on the store it came from."


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf), 32 bytes (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed_by(index: int) -> int:
    """How many nodes leaf ``index`` completes, itself included: one more than its trailing one bits."""
    return (index ^ (index + 1)).bit_length()


def home(node: Node) -> int:
    """The leaf index that completes ``node``, which is where a storage keeps it."""
    level, index = node
    return ((index + 1) << level) - 1


class Frontier:
    """The complete subtrees of a growing tree, largest first: all that an append needs.

    Args:
        size: number of leaves so far.
        roots: hashes of :func:`subtrees` ``(0, size)``, in that order.
    """

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if len(roots) != size.bit_count():
            raise ValueError("a frontier holds one hash for each one bit of its size")
        self.size = size
        self._roots = list(roots)

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf hash; return the nodes it completes, level 0 (the leaf hash itself) first."""
        completed = [leaf]
        index = self.size
        while index & 1:
            leaf = node_hash(self._roots.pop(), leaf)
            completed.append(leaf)
            index >>= 1
        self._roots.append(leaf)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The Merkle tree hash at the current size."""
        return _fold(self._roots) if self._roots else EMPTY_ROOT

    def copy(self) -> Frontier:
        """An independent copy."""
        return Frontier(self.size, self._roots)


def subtrees(begin: int, end: int) -> list[Node]:
    """The complete subtrees that cover ``[begin, end)``, left to right, largest first.

    ``begin`` is a multiple of the largest power of two that fits, as in every split of the RFC.
    """
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def root(size: int, read: ReadNodes) -> bytes:
    """MTH(D[0:size])."""
    return _resolve([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: ReadNodes) -> list[bytes]:
    """PATH(index, D[size]), leaf upwards (RFC 6962 §2.1.1).

    Raises:
        LogError: GOV-504 when ``index`` is not below ``size``.
    """
    if not 0 <= index < size:
        raise LogError("GOV-504", f"entry {index} is not in a tree of size {size}", _REMEDY)
    return _resolve(_path(index, 0, size), read)


def consistency_proof(first: int, second: int, read: ReadNodes) -> list[bytes]:
    """PROOF(first, D[second]) (RFC 6962 §2.1.2); empty when ``first`` is 0 or equals ``second``.

    Raises:
        LogError: GOV-503 when ``first`` is larger than ``second``.
    """
    if not 0 <= first <= second:
        raise LogError("GOV-503", f"a tree of size {second} cannot contain one of size {first}", _REMEDY)
    if first in (0, second):
        return []
    return _resolve(_subproof(first, 0, second, whole=True), read)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that leaf hash ``leaf`` is at ``index`` in the tree (RFC 9162 §2.1.3.2).

    Raises:
        LogError: GOV-504 when it is not.
    """
    if not 0 <= index < size:
        raise LogError("GOV-504", f"entry {index} is not in a tree of size {size}", _REMEDY)
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise LogError("GOV-504", f"the inclusion proof of entry {index} is too long", _REMEDY)
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        position >>= 1
        last >>= 1
    if last or not hmac.compare_digest(computed, root):
        raise LogError("GOV-504", f"entry {index} is not under the root of size {size}", _REMEDY)


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Check that the second tree extends the first (RFC 9162 §2.1.4.2).

    Raises:
        LogError: GOV-503 when it does not.
    """
    if not _consistent(first, second, list(proof), first_root, second_root):
        raise LogError(
            "GOV-503",
            f"the tree of size {second} does not extend the tree of size {first}",
            "The log was rolled back, forked or edited; run `governance log verify` before using it.",
        )


def _consistent(first: int, second: int, path: list[bytes], first_root: bytes, second_root: bytes) -> bool:
    if not 0 <= first <= second:
        return False
    if first == second:
        return not path and hmac.compare_digest(first_root, second_root)
    if first == 0:
        return not path and hmac.compare_digest(first_root, EMPTY_ROOT)
    if first.bit_count() == 1:
        path.insert(0, first_root)
    if not path:
        return False
    position, last = first - 1, second - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and hmac.compare_digest(old, first_root) and hmac.compare_digest(new, second_root)


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (k in the RFC)."""
    return 1 << ((size - 1).bit_length() - 1)


def _path(index: int, begin: int, end: int) -> list[Span]:
    spans = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    return spans[::-1]


def _subproof(first: int, begin: int, end: int, *, whole: bool) -> list[Span]:
    if first == end:
        return [] if whole else [(begin, end)]
    middle = begin + _split(end - begin)
    if first <= middle:
        return [*_subproof(first, begin, middle, whole=whole), (middle, end)]
    return [*_subproof(first, middle, end, whole=False), (begin, middle)]


def _fold(roots: Sequence[bytes]) -> bytes:
    folded = roots[-1]
    for left in reversed(roots[:-1]):
        folded = node_hash(left, folded)
    return folded


def _resolve(spans: Sequence[Span], read: ReadNodes) -> list[bytes]:
    """The hash of each span, with one read for all of them."""
    nodes: list[Node] = []
    ends = []
    for begin, end in spans:
        while begin < end:
            level = (end - begin).bit_length() - 1
            nodes.append((level, begin >> level))
            begin += 1 << level
        ends.append(len(nodes))
    hashes = read(nodes)
    if len(nodes) == len(spans):
        return list(hashes)
    return [_fold(hashes[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
