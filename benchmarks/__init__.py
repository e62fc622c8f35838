"""Passgate beside its peers: the same work, against the same endpoint, in one run."""
