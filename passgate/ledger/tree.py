"""Hash events into the Merkle tree of RFC 6962, and prove that one is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""


def leaf_hash(body: bytes) -> bytes:
    """Hash an event's bytes; the prefix stops a leaf from posing as a node."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into the one above them."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(edge: Sequence[bytes], size: int, leaf: bytes) -> tuple[bytes, ...]:
    """Return the right edge after one more leaf.

    The edge holds the roots of the complete subtrees, widest first: one for each 1 in the binary form of `size`.
    """
    grown = list(edge)
    while size & 1:
        leaf = node_hash(grown.pop(), leaf)
        size >>= 1
    return (*grown, leaf)


def edge_root(edge: Sequence[bytes]) -> bytes:
    """Return the root that a right edge stands for."""
    if not edge:
        return EMPTY
    *wider, found = edge
    for subtree in reversed(wider):
        found = node_hash(subtree, found)
    return found


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes."""
    edge: tuple[bytes, ...] = ()
    for size, leaf in enumerate(leaves):
        edge = grow(edge, size, leaf)
    return edge_root(edge)


def _split(size: int) -> int:
    """Return the greatest power of two below `size`: where RFC 6962 cuts a tree in two."""
    return 1 << (size - 1).bit_length() - 1


class Tree:
    """Hold a tree from a leaf on: the right edge of what is before it, and the leaves that follow.

    That is enough for the root and for proofs of these leaves, however much is before them.
    """

    def __init__(self, leaves: Sequence[bytes], start: int = 0, edge: Sequence[bytes] = ()) -> None:
        self.start = start
        self.size = start + len(leaves)
        self._nodes: dict[tuple[int, int], bytes] = {}
        """Hash of each known subtree, by its first leaf and the one after its last."""
        first = 0
        for place, node in zip(_ones(start), edge, strict=True):
            self._nodes[first, first + place] = node
            first += place
        self._nodes |= {(at, at + 1): leaf for at, leaf in enumerate(leaves, start)}

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """Return the hashes that lead from the leaf at `index` up to the root (RFC 6962, 2.1.1)."""
        first, end = 0, self.size
        path: list[bytes] = []
        while end - first > 1:
            cut = first + _split(end - first)
            path.append(self._node(cut, end) if index < cut else self._node(first, cut))
            first, end = (first, cut) if index < cut else (cut, end)
        return tuple(reversed(path))

    def _node(self, first: int, end: int) -> bytes:
        found = self._nodes.get((first, end))
        if found is None:
            cut = first + _split(end - first)
            found = self._nodes[first, end] = node_hash(self._node(first, cut), self._node(cut, end))
        return found


def _ones(size: int) -> list[int]:
    """Return the powers of two that make up a number, the greatest first: the sizes of its complete subtrees."""
    return [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Say whether the proof leads from that leaf to that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for other in proof:
        if not last:
            return False
        if at & 1 or at == last:
            found = node_hash(other, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, other)
        at, last = at >> 1, last >> 1
    return not last and found == expected
