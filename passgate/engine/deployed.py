"""Offer each runbook as a Prefect flow under its own name, for entry points in module form.

`passgate.engine.deployed.usb_attach` is the flow of the runbook `usb-attach`. The files in flows/ stay free of Prefect,
so that the command line and every planning test run without it. Any Prefect program can load the flows from here, as
`prefect deploy` does; only Passgate's service can run them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from prefect import Flow

from passgate.engine.catalogue import Catalogue
from passgate.engine.flow import flow_of
from passgate.settings import place


def __getattr__(name: str) -> Flow[Any, Any]:
    """Return the flow of that runbook."""
    slug = name.replace("_", "-")
    if name.startswith("_") or slug not in _catalogue().runbooks:
        raise AttributeError(name)
    return _flow(slug)


@cache
def _flow(slug: str) -> Flow[Any, Any]:
    return flow_of(_catalogue().runbook(slug))


@cache
def _catalogue() -> Catalogue:
    return Catalogue(place.content())


def entry_point(slug: str) -> str:
    """Return the module-form entry point of a runbook's flow."""
    return f"{__name__}.{slug.replace('-', '_')}"
