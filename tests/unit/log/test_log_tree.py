"""The tree against the published vectors of RFC 6962's reference implementation, and its definition."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import LogError
from governance.log import tree

# The eight leaf inputs and roots of certificate-transparency (merkletree/merkle_tree_test.cc).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


class MemoryTree:
    """Nodes as a storage keeps them, and a count of the reads."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tree.Node, bytes] = {}
        self.read_count = 0
        self.frontier = tree.Frontier()
        self.roots = [self.frontier.root()]
        for index, leaf in enumerate(leaves):
            completed = self.frontier.append(tree.leaf_hash(leaf))
            assert len(completed) == tree.completed_by(index)
            for level, value in enumerate(completed):
                node = (level, index >> level)
                assert tree.home(node) == index
                self.nodes[node] = value
            self.roots.append(self.frontier.root())

    def read(self, nodes: list[tree.Node]) -> list[bytes]:
        self.read_count += len(nodes)
        return [self.nodes[node] for node in nodes]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 writes it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = naive_split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH as RFC 6962 §2.1.1 writes it."""
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF as RFC 6962 §2.1.2 writes it."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def test_published_roots() -> None:
    published = MemoryTree(LEAVES)
    assert published.roots == ROOTS
    assert [tree.root(size, published.read) for size in range(9)] == ROOTS


@pytest.mark.parametrize(("case", "expected"), INCLUSION.items())
def test_published_inclusion_proofs(case: tuple[int, int], expected: list[str]) -> None:
    index, size = case
    proof = tree.inclusion_proof(index, size, MemoryTree(LEAVES).read)
    assert [value.hex() for value in proof] == expected
    tree.verify_inclusion(index, size, tree.leaf_hash(LEAVES[index]), proof, ROOTS[size])


@pytest.mark.parametrize(("case", "expected"), CONSISTENCY.items())
def test_published_consistency_proofs(case: tuple[int, int], expected: list[str]) -> None:
    first, second = case
    proof = tree.consistency_proof(first, second, MemoryTree(LEAVES).read)
    assert [value.hex() for value in proof] == expected
    tree.verify_consistency(first, second, proof, ROOTS[first], ROOTS[second])


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70), st.data())
def test_equals_the_recursive_definition(leaves: list[bytes], data: st.DataObject) -> None:
    grown = MemoryTree(leaves)
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    assert tree.root(size, grown.read) == grown.roots[size] == naive_root(leaves[:size])
    path = tree.inclusion_proof(index, size, grown.read)
    assert path == naive_path(index, leaves[:size])
    tree.verify_inclusion(index, size, tree.leaf_hash(leaves[index]), path, grown.roots[size])
    proof = tree.consistency_proof(first, size, grown.read)
    assert proof == naive_subproof(first, leaves[:size], True)
    tree.verify_consistency(first, size, proof, grown.roots[first], grown.roots[size])


@given(st.integers(2, 70), st.data())
def test_refuses_what_was_changed(size: int, data: st.DataObject) -> None:
    leaves = [str(number).encode() for number in range(size)]
    grown = MemoryTree(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = tree.inclusion_proof(index, size, grown.read)
    leaf, root = tree.leaf_hash(leaves[index]), grown.roots[size]
    position = data.draw(st.integers(0, len(path) - 1))
    wrong = [*path[:position], bytes(32), *path[position + 1 :]]
    for arguments in (
        (index, size, leaf, wrong, root),
        (index, size, leaf, path[:-1], root),
        (index, size, leaf, [*path, bytes(32)], root),
        (index, size, bytes(32), path, root),
        (index, size, leaf, path, bytes(32)),
        ((index + 1) % size, size, leaf, path, root),
        (size, size, leaf, path, root),
        (-1, size, leaf, path, root),
    ):
        with pytest.raises(LogError) as caught:
            tree.verify_inclusion(*arguments)
        assert caught.value.code == "GOV-504"

    first = data.draw(st.integers(1, size - 1))
    proof = tree.consistency_proof(first, size, grown.read)
    position = data.draw(st.integers(0, len(proof) - 1))
    for arguments in (
        (first, size, [*proof[:position], bytes(32), *proof[position + 1 :]], grown.roots[first], root),
        (first, size, proof[:-1], grown.roots[first], root),
        (first, size, [*proof, bytes(32)], grown.roots[first], root),
        (first, size, proof, bytes(32), root),
        (first, size, proof, grown.roots[first], bytes(32)),
        (size, first, proof, grown.roots[first], root),
        (size, size, [bytes(32)], root, root),
        (size, size, [], root, bytes(32)),
        (0, size, [], bytes(32), root),
        (0, size, [bytes(32)], grown.roots[0], root),
    ):
        with pytest.raises(LogError) as caught:
            tree.verify_consistency(*arguments)
        assert caught.value.code == "GOV-503"


def test_every_size_up_to_a_hundred() -> None:
    grown = MemoryTree([bytes([number]) for number in range(100)])
    for second in range(101):
        for first in range(second + 1):
            proof = tree.consistency_proof(first, second, grown.read)
            tree.verify_consistency(first, second, proof, grown.roots[first], grown.roots[second])


def test_a_proof_reads_logarithmically_many_nodes() -> None:
    grown = MemoryTree([b""] * 5000)
    for index in (0, 1, 2500, 4095, 4096, 4999):
        grown.read_count = 0
        tree.inclusion_proof(index, 4999 + 1, grown.read)
        assert grown.read_count <= 2 * 13


@given(st.integers(0, 1 << 40))
def test_a_frontier_holds_one_node_for_each_one_bit(size: int) -> None:
    nodes = tree.subtrees(0, size)
    assert len(nodes) == size.bit_count()
    assert sum(1 << level for level, _ in nodes) == size


def test_a_frontier_refuses_the_wrong_number_of_nodes() -> None:
    with pytest.raises(ValueError, match="one bit"):
        tree.Frontier(3, [bytes(32)])


def test_out_of_range_proofs_are_refused() -> None:
    grown = MemoryTree(LEAVES)
    with pytest.raises(LogError, match="GOV-504"):
        tree.inclusion_proof(8, 8, grown.read)
    with pytest.raises(LogError, match="GOV-503"):
        tree.consistency_proof(5, 4, grown.read)
