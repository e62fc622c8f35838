"""Offer each runbook as a Prefect flow under its own name, for entry points in module form.

`passgate.engine.deployed.usb_attach` is the flow of the runbook `usb-attach`. The files in flows/ stay free of Prefect,
so that the command line and every planning test run without it; a plain Prefect process worker finds the flows here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from prefect import Flow

from passgate.engine.flow import flow_of
from passgate.engine.runtime import current


def __getattr__(name: str) -> Flow[Any, Any]:
    """Return the flow of that runbook."""
    if name.startswith("_") or name.replace("_", "-") not in current().catalogue.runbooks:
        raise AttributeError(name)
    return _flow(name.replace("_", "-"))


@cache
def _flow(slug: str) -> Flow[Any, Any]:
    return flow_of(current().catalogue.runbook(slug))


def entry_point(slug: str) -> str:
    """Return the module-form entry point of a runbook's flow."""
    return f"{__name__}.{slug.replace('-', '_')}"
