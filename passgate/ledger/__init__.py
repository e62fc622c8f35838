"""Canonical bytes, Merkle tree, signatures, verification."""
