"""Describe what a change is about, as policy and calendar see it."""

from __future__ import annotations

from passgate.model.frozen import Frozen


class Target(Frozen):
    """Hold one VM or host that a change is about, and what belongs to it.

    `host` of a VM is where it runs, `cluster` of both may be empty; tags are `Category/Name`; `owners` are person ids.
    """

    kind: str
    name: str
    host: str = ""
    cluster: str = ""
    tags: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
