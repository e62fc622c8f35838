"""Hash events into the Merkle tree of RFC 6962, and prove that one is in it or that a tree only grew."""

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


def inclusion(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the hashes that lead from the leaf at `index` up to the root (RFC 6962, 2.1.1)."""
    if len(leaves) == 1:
        return ()
    cut = _split(len(leaves))
    left, right = leaves[:cut], leaves[cut:]
    if index < cut:
        return (*inclusion(left, index), root(right))
    return (*inclusion(right, index - cut), root(left))


def consistency(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the hashes that prove that the tree of `old_size` leaves is the beginning of this one (2.1.2)."""

    def below(part: Sequence[bytes], old: int, whole: bool) -> tuple[bytes, ...]:
        if old == len(part):
            return () if whole else (root(part),)
        cut = _split(len(part))
        if old <= cut:
            return (*below(part[:cut], old, whole), root(part[cut:]))
        return (*below(part[cut:], old - cut, whole=False), root(part[:cut]))

    return below(leaves, old_size, whole=True) if old_size else ()


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


def consistent(old_size: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether the proof shows that the old tree is the beginning of the new one (RFC 9162, 2.1.4.2)."""
    if old_size == size:
        return not proof and old_root == new_root
    if not old_size < size or old_size < 0:
        return False
    if not old_size:
        return not proof and old_root == EMPTY
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if not last:
            return False
        if at & 1 or at == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, other)
        at, last = at >> 1, last >> 1
    return not last and old == old_root and new == new_root
