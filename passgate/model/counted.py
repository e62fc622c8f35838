"""Say how many there are of something, as people say it."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return the number with its noun: `1 host`, `3 hosts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
