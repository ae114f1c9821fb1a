"""The Merkle tree of RFC 9162, section 2.1: hashes, roots, inclusion and consistency proofs, and their verification.

Pure. Where the hashes are kept is the store's business: functions that need one ask for it by its place. A place is
(level, index): the root of the complete subtree over the leaves index * 2**level .. (index + 1) * 2**level - 1.
Complete subtrees never change: an append writes two places on average, a root or a proof reads O(log n) of them.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from domain.errors import InvalidInput

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]
"""Hash of the complete subtree at (level, index); level 0 are the leaf hashes."""

Placed = tuple[int, int, bytes]
"""(level, index, hash) of a complete subtree."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256 of 0x00 and its bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of 0x01 and the hashes of both children."""
    return sha256(b"\x01" + left + right).digest()


def completed_by(size: int, leaf: bytes, node: NodeAt) -> list[Placed]:
    """What an append writes: the leaf hash at index `size` and every subtree that it completes, lowest first."""
    placed: list[Placed] = [(0, size, leaf)]
    level, index, current = 0, size, leaf
    while index % 2:
        current = node_hash(node(level, index - 1), current)
        level, index = level + 1, index // 2
        placed.append((level, index, current))
    return placed


def root(size: int, node: NodeAt) -> bytes:
    """Root hash of the first `size` leaves; for none the hash of nothing."""
    return EMPTY_ROOT if size == 0 else _range_root(0, size, node)


def inclusion_proof(index: int, size: int, node: NodeAt) -> list[bytes]:
    """Sibling hashes from the leaf at `index` to the root of the first `size` leaves (section 2.1.3.1)."""
    if not 0 <= index < size:
        raise InvalidInput.of("tree_size", f"the tree of {size} leaves has no leaf {index}")
    start, end, path = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(start, middle, node))
            start = middle
    path.reverse()
    return path


def consistency_proof(first: int, second: int, node: NodeAt) -> list[bytes]:
    """Hashes which show that the tree of `first` leaves is the beginning of the tree of `second` (section 2.1.4.1)."""
    if not 1 <= first <= second:
        raise InvalidInput.of("first_tree_size", f"a tree of {first} leaves is not the beginning of one of {second}")
    start, end, whole, path = 0, second, True, list[bytes]()
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_range_root(middle, end, node))
            end = middle
        else:
            path.append(_range_root(start, middle, node))
            start, whole = middle, False
    if not whole:
        path.append(_range_root(start, end, node))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """True if the proof shows the leaf hash at `index` in the tree of `size` leaves with this root (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, current = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            current = node_hash(sibling, current)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and current == root_hash


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """True if the proof shows that the first tree is the beginning of the second (2.1.4.2)."""
    if not 1 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old == first_root and new == second_root


class Frontier:
    """A tree that only grows and only knows its root: the roots of its complete subtrees, largest first.

    For whoever walks through a log once and needs the root at some sizes on the way.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Adds a leaf hash."""
        current, index = leaf, self.size
        while index % 2:
            current, index = node_hash(self._peaks.pop(), current), index // 2
        self._peaks.append(current)
        self.size += 1

    def root(self) -> bytes:
        """Root hash of all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        current = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            current = node_hash(peak, current)
        return current


def _split(count: int) -> int:
    """The largest power of two below `count` (which is at least 2)."""
    return 1 << (count - 1).bit_length() - 1


def _range_root(start: int, end: int, node: NodeAt) -> bytes:
    """Root over the leaves start..end-1 as section 2.1.1 splits them; `start` is a place where such a range begins."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_root(start, middle, node), _range_root(middle, end, node))
