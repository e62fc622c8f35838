"""Say of whom it has to be seen at the moment of a decision that they still are in a Slack user group. Pure.

config/people.yaml lists who may be in a group; where it binds the group to a user group of Slack, they count only while
they are in that one too. So nobody who can edit user groups in Slack makes an approver of somebody, and who is taken
out there counts no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from passgate.model.change import Change
from passgate.model.decision import Decision
from passgate.policy.votes import ballot_of
from passgate.settings.people import People


class Proof(NamedTuple):
    """Name who has to be in the Slack user group of at least one of these groups."""

    person: str
    groups: tuple[str, ...]


def proofs(  # noqa: PLR0917 - the parts of one question
    change: Change, gate: str, person: str, decisions: Collection[Decision], at: datetime, people: People
) -> tuple[Proof, ...]:
    """Return what has to be proven before that person decides there; nothing where the list of people is enough.

    For each requirement that the vote could count for, and for whoever is away whose place the person takes. Who is
    named by a policy themselves, owns what is changed, or is in a group that is not bound needs no proof.
    """
    asked = ballot_of(change, gate, decisions)
    bound, listed = people.slack_groups, {one.id: one.groups for one in people.people}
    found: dict[Proof, None] = {}
    for position, away in asked.may_sit(person, at).items():
        for who in away or (person,):
            by = _groups_of(who, asked.requirements[position].groups, listed)
            # Who came in by escalation alone is none of the requirement's own.
            late = (group for one in asked.asked.escalations if who in one.voters for group in one.groups)
            by = by or (_groups_of(who, late, listed) if who not in asked.requirements[position].voters else ())
            if by and all(group in bound for group in by):
                found[Proof(who, by)] = None
    return tuple(found)


def members_only(people: People, members: Mapping[str, frozenset[str]]) -> People:
    """Return the people, without the groups whose Slack user group they are not in. `members` are Slack user ids."""
    return people.model_copy(
        update={
            "people": tuple(
                one.model_copy(
                    update={
                        "groups": tuple(
                            group for group in one.groups if group not in members or one.slack in members[group]
                        )
                    }
                )
                for one in people.people
            )
        }
    )


def _groups_of(person: str, groups: Iterable[str], listed: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(group for group in groups if group in listed.get(person, ())))
