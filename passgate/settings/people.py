"""Describe config/people.yaml: who may speak to Passgate, what groups they are in, and who stands in for whom."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.values import Settings


class Absence(Settings):
    """Say when a person is away, and who decides in their place meanwhile."""

    since: AwareDatetime = Field(description="First moment away, with its offset: 2026-12-24T00:00:00+01:00")
    until: AwareDatetime = Field(description="First moment back")
    delegate: str | None = Field(default=None, description="Person id of who decides in their place; none: nobody does")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until <= self.since:
            raise PydanticCustomError("absence", "until must be later than since")
        return self


class Person(Settings):
    """Name one person; `slack` is the Slack user id, `groups` are named freely and used in policies."""

    id: str = Field(pattern=r"^[a-z][a-z0-9._-]{0,62}$", description="Lower case, such as alice or a.archer")
    name: str = Field(description="As people read it")
    slack: str | None = Field(
        default=None, pattern=r"^[UW][A-Z0-9]{2,}$", description="Slack user id such as U012ABCDEF, not the name"
    )
    email: str | None = Field(default=None, description="For your own use; Passgate does not write mail yet")
    groups: tuple[str, ...] = Field(default=(), description="Named freely; policies speak of them")
    absences: tuple[Absence, ...] = Field(default=(), description="When away, and who decides in their place")


class People(Settings):
    """config/people.yaml: who may speak to Passgate."""

    people: tuple[Person, ...]
    slack_groups: dict[str, Annotated[str, Field(pattern=r"^S[A-Z0-9]{2,}$")]] = Field(
        default_factory=dict,
        description="Group -> id of a Slack user group, such as S0123ABCD: who is listed in the group counts only "
        "while they are in that one too. It is asked anew at each decision",
    )
