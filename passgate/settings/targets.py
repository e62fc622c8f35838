"""Describe config/targets.yaml: which environment VMs and hosts are in, and who owns them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.rules import Selector
from passgate.settings.values import Settings

EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Glob = Annotated[str, Field(min_length=1, max_length=200)]


class Things(Settings):
    """Name VMs and hosts, by any of these glob patterns. A VM is also named by its host, its cluster and its tags."""

    vms: tuple[Glob, ...] = Field(default=(), description="Over the names of VMs")
    hosts: tuple[Glob, ...] = Field(default=(), description="Over the names of hosts, and of the hosts that VMs are on")
    clusters: tuple[Glob, ...] = Field(default=(), description="Over the names of their clusters")
    tags: tuple[Glob, ...] = Field(default=(), description="Over vSphere tags, written Category/Name")

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if not (self.vms or self.hosts or self.clusters or self.tags):
            raise PydanticCustomError("things", "at least one of vms, hosts, clusters and tags")
        return self


class Owners(Things):
    """Name those who own VMs and hosts; a policy may want their approval (`owners: true`)."""

    people: tuple[str, ...] = Field(default=(), description="Person ids of config/people.yaml")
    groups: tuple[str, ...] = Field(default=(), description="Groups of config/people.yaml; each member is an owner")

    @model_validator(mode="after")
    def _are_somebody(self) -> Self:
        if not (self.people or self.groups):
            raise PydanticCustomError("owners", "at least one of people and groups")
        return self


class Targets(Settings):
    """Say what the VMs and hosts of this site are to policies and calendar. A thing may be in several environments."""

    environments: dict[EnvironmentName, Things] = Field(default_factory=dict, description="Name -> what is in it")
    owners: tuple[Owners, ...] = Field(default=(), description="Whoever is named by any entry that fits is an owner")

    def speaks_of_tags(self, selectors: Iterable[Selector]) -> bool:
        """Say whether anything in config/ asks for tags, so that they have to be read from vCenter."""
        return any(set(one.tags) - {"*"} for one in selectors) or any(
            one.tags for one in (*self.environments.values(), *self.owners)
        )
