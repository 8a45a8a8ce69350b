"""Merkle trees: every proof against the definition of RFC 6962, written down naively, and against the file verifier."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import HistoryIncomplete
from app.domain.merkle import EMPTY_ROOT, TILE_NODES, MerkleTree, fold, leaf_hash, node_hash
from tools.verify_evidence import Refuted, is_consistent, root_of_inclusion

SMALL = 70
"""All sizes up to here, with all indexes and all older sizes: past 64 leaves, so seven levels."""

LARGE = 3 * TILE_NODES + 77
"""Past one tile, so that kept roots take part."""


def leaves(number: int) -> list[bytes]:
    return [leaf_hash(sha256(str(n).encode()).digest()) for n in range(number)]


def naive_root(nodes: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not nodes:
        return sha256(b"").digest()
    if len(nodes) == 1:
        return nodes[0]
    split = 1
    while split * 2 < len(nodes):
        split *= 2
    return sha256(b"\x01" + naive_root(nodes[:split]) + naive_root(nodes[split:])).digest()


def naive_path(index: int, nodes: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(nodes) == 1:
        return []
    split = 1
    while split * 2 < len(nodes):
        split *= 2
    if index < split:
        return [*naive_path(index, nodes[:split]), naive_root(nodes[split:])]
    return [*naive_path(index - split, nodes[split:]), naive_root(nodes[:split])]


def naive_consistency(old: int, nodes: Sequence[bytes], *, is_whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if old == len(nodes):
        return [] if is_whole else [naive_root(nodes)]
    split = 1
    while split * 2 < len(nodes):
        split *= 2
    if old <= split:
        return [*naive_consistency(old, nodes[:split], is_whole=is_whole), naive_root(nodes[split:])]
    return [*naive_consistency(old - split, nodes[split:], is_whole=False), naive_root(nodes[:split])]


def tree_over(nodes: list[bytes], read: list[tuple[int, int]] | None = None) -> MerkleTree:
    """A tree that reads tiles as the ledger keeps them: leaves, and roots of complete subtrees."""

    def tile(level: int, number: int) -> list[bytes]:
        if read is not None:
            read.append((level, number))
        below = nodes
        for _ in range(level):
            complete = len(below) // TILE_NODES
            below = [fold(below[n * TILE_NODES : (n + 1) * TILE_NODES]) for n in range(complete)]
        return below[number * TILE_NODES : (number + 1) * TILE_NODES]

    return MerkleTree(tile)


def test_a_leaf_and_a_node_are_hashed_apart() -> None:
    assert leaf_hash(b"x") == sha256(b"\x00x").digest()
    assert node_hash(b"l", b"r") == sha256(b"\x01lr").digest()


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert MerkleTree(lambda level, number: []).root(0) == EMPTY_ROOT == sha256(b"").digest()


PUBLISHED = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
"""The test vectors of Certificate Transparency."""


@pytest.mark.parametrize("size", ROOTS)
def test_the_published_vectors_hold(size: int) -> None:
    nodes = [leaf_hash(bytes.fromhex(one)) for one in PUBLISHED[:size]]
    assert tree_over(nodes).root(size).hex() == ROOTS[size]


@pytest.mark.parametrize("size", range(1, SMALL))
def test_every_proof_of_every_small_tree_is_that_of_the_standard_and_verifies(size: int) -> None:
    nodes = leaves(size)
    tree = tree_over(nodes)
    root = naive_root(nodes)
    assert tree.root(size) == root
    for index in range(size):
        path = tree.inclusion(index, size)
        assert path == naive_path(index, nodes)
        assert len(path) <= size.bit_length()
        assert root_of_inclusion(nodes[index], index, size, path) == root
    for old in range(1, size + 1):
        path = tree.consistency(old, size)
        assert path == naive_consistency(old, nodes)
        assert is_consistent(old, naive_root(nodes[:old]), size, root, path)


NODES = leaves(LARGE)
BIG = tree_over(NODES)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_proofs_of_trees_of_several_tiles_are_those_of_the_standard(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, LARGE))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    nodes = NODES[:size]
    assert BIG.root(size) == naive_root(nodes)
    assert BIG.inclusion(index, size) == naive_path(index, nodes)
    assert BIG.consistency(old, size) == naive_consistency(old, nodes)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_proof_verifies_anything_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, SMALL))
    nodes = NODES[:size]
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
    path, root = naive_path(index, nodes), naive_root(nodes)
    wrong = [
        (nodes[other], index, size, path),
        (nodes[index], other, size, path),
        (nodes[index], index, size, path[:-1]),
        (nodes[index], index, size, [*path, path[-1]]),
        (nodes[index], index, size, [sha256(path[0]).digest(), *path[1:]]),
    ]
    for leaf, at, of, nodes_given in wrong:
        try:
            assert root_of_inclusion(leaf, at, of, nodes_given) != root
        except Refuted:
            continue


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_history_with_another_leaf_is_consistent_with_no_older_head_that_has_it(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, SMALL))
    old = data.draw(st.integers(1, size - 1))
    changed = data.draw(st.integers(0, old - 1))
    nodes = NODES[:size]
    rewritten = [*nodes[:changed], leaf_hash(b"another"), *nodes[changed + 1 :]]
    kept = naive_root(nodes[:old])
    for path in (naive_consistency(old, rewritten), naive_consistency(old, nodes)):
        assert not is_consistent(old, kept, size, naive_root(rewritten), path)


def test_a_proof_reads_few_tiles_whatever_the_size() -> None:
    read: list[tuple[int, int]] = []
    size = 2 * TILE_NODES * TILE_NODES + 5 * TILE_NODES + 3
    sparse = MerkleTree(lambda level, number: (read.append((level, number)), [EMPTY_ROOT] * TILE_NODES)[1])
    assert len(sparse.inclusion(12_345, size)) <= size.bit_length()
    assert len(set(read)) <= 6, "the tiles above the leaf, and those at the end of the tree"


def test_a_tree_that_lacks_leaves_says_so() -> None:
    with pytest.raises(HistoryIncomplete, match="lacks transactions between 1 and 8"):
        tree_over(leaves(6)).root(8)


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_a_leaf_outside_of_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(Refuted):
        root_of_inclusion(EMPTY_ROOT, index, size, [])
