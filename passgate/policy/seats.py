"""Seat people at requirements: each approval that is needed is a seat, and one person sits on one seat. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def seated(needed: Sequence[int], may_sit: Mapping[str, Collection[int]]) -> tuple[int, ...]:
    """Return how many seats of each requirement are taken, when as many people as possible have one.

    `needed` is how many seats each requirement has, `may_sit` the requirements, by position, that each person may sit
    at. A largest matching between people and seats by augmenting paths (Kuhn 1955). Who comes first is seated first,
    and nobody who has a seat loses it, so that one more approval never makes less of what was there.
    """
    at: list[list[str]] = [[] for _ in needed]

    def seat(person: str, tried: set[int]) -> bool:
        for one in may_sit[person]:
            if one in tried:
                continue
            tried.add(one)
            if len(at[one]) < needed[one]:
                at[one].append(person)
                return True
            for other in at[one]:
                if seat(other, tried):
                    at[one][at[one].index(other)] = person
                    return True
        return False

    for person in may_sit:
        seat(person, set())
    return tuple(len(people) for people in at)


def can_fill(needed: Sequence[int], may_sit: Mapping[str, Collection[int]]) -> bool:
    """Say whether these people could take all seats."""
    return seated(needed, may_sit) == tuple(needed)
