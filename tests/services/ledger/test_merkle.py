"""The Merkle tree of the log is that of RFC 9162, by its own definition and by an implementation that is not ours."""

from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from services.ledger import merkle


class Tree:
    """Stored nodes, as a database keeps them."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.writes: list[int] = []
        for size, data in enumerate(leaves):
            placed = merkle.completed_by(size, merkle.leaf_hash(data), self.node)
            self.writes.append(len(placed))
            for level, index, digest in placed:
                self.nodes[level, index] = digest

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


def by_definition(leaves: list[bytes]) -> bytes:
    """Section 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


# Certificate Transparency's own reference inputs: leaves of RFC 6962's test vectors, with the roots that go with them.
CT_LEAVES = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    bytes(range(0x60, 0x70)),
]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("size", sorted(CT_ROOTS))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    tree = Tree(CT_LEAVES[:size])
    assert merkle.root(size, tree.node).hex() == CT_ROOTS[size]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_root_follows_the_definition(leaves: list[bytes]) -> None:
    tree, frontier = Tree(leaves), merkle.Frontier()
    for data in leaves:
        frontier.append(merkle.leaf_hash(data))
    assert merkle.root(len(leaves), tree.node) == by_definition(leaves) == frontier.root()


def test_an_append_writes_two_nodes_on_average() -> None:
    tree = Tree([bytes([n % 256]) for n in range(1024)])
    assert sum(tree.writes) == 2 * 1024 - 1
    assert max(tree.writes) == 11


@settings(max_examples=40)
@given(st.integers(1, 60), st.data())
def test_proofs_are_those_of_pymerkle(size: int, data: st.DataObject) -> None:
    leaves = [f"entry {n}".encode() for n in range(size)]
    tree, theirs = Tree(leaves), pymerkle.InmemoryTree.init_from_entries(leaves, algorithm="sha256")
    assert merkle.root(size, tree.node) == theirs.get_root(size)
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    proof = theirs.prove_inclusion(index + 1, size)
    pymerkle.verify_inclusion(tree.node(0, index), theirs.get_root(size), proof)
    ours = merkle.inclusion_proof(index, size, tree.node)
    assert [tree.node(0, index), *ours] == proof.path
    assert merkle.verify_inclusion(tree.node(0, index), index, size, ours, theirs.get_root(size))
    ours = merkle.consistency_proof(first, size, tree.node)
    assert merkle.verify_consistency(first, size, theirs.get_root(first), theirs.get_root(size), ours)


@given(st.integers(1, 40), st.data())
def test_an_inclusion_proof_holds_for_its_leaf_place_and_tree_only(size: int, data: st.DataObject) -> None:
    tree = Tree([bytes([n]) for n in range(size)])
    index = data.draw(st.integers(0, size - 1))
    root, leaf = merkle.root(size, tree.node), tree.node(0, index)
    proof = merkle.inclusion_proof(index, size, tree.node)
    assert merkle.verify_inclusion(leaf, index, size, proof, root)
    other = data.draw(st.integers(0, size - 1))
    assert merkle.verify_inclusion(leaf, other, size, proof, root) == (other == index)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"another"), index, size, proof, root)
    assert not merkle.verify_inclusion(leaf, index, size, [*proof, bytes(32)], root)
    assert not merkle.verify_inclusion(leaf, index, size, proof, bytes(32))
    assert not merkle.verify_inclusion(leaf, size, size, proof, root)
    if proof:
        assert not merkle.verify_inclusion(leaf, index, size, proof[:-1], root)


@given(st.integers(1, 40), st.data())
def test_a_consistency_proof_fails_for_a_rewritten_past(size: int, data: st.DataObject) -> None:
    leaves = [bytes([n]) for n in range(size)]
    first = data.draw(st.integers(1, size))
    tree = Tree(leaves)
    old, new = merkle.root(first, tree.node), merkle.root(size, tree.node)
    proof = merkle.consistency_proof(first, size, tree.node)
    assert merkle.verify_consistency(first, size, old, new, proof)
    rewritten = Tree([b"rewritten", *leaves[1:]])
    forged = merkle.consistency_proof(first, size, rewritten.node)
    assert not merkle.verify_consistency(first, size, old, merkle.root(size, rewritten.node), forged)
    assert not merkle.verify_consistency(first, size, old, new, [*proof, bytes(32)])
    assert not merkle.verify_consistency(first, size, bytes(32), new, proof)


def test_what_no_tree_has_cannot_be_proven() -> None:
    tree = Tree([b"a", b"b"])
    for index in (-1, 2):
        with pytest.raises(InvalidInput, match="has no leaf"):
            merkle.inclusion_proof(index, 2, tree.node)
    for first, second in ((0, 2), (3, 2)):
        with pytest.raises(InvalidInput, match="not the beginning"):
            merkle.consistency_proof(first, second, tree.node)
        assert not merkle.verify_consistency(first, second, b"", b"", [])
