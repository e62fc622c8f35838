"""Identify hosts and VMs: what a plan may hold of them."""

from __future__ import annotations

from passgate.model.frozen import Frozen


class HostId(Frozen):
    """Identify a host: managed object id, the name that vCenter uses, hardware UUID."""

    ref: str
    name: str
    uuid: str


class VmId(Frozen):
    """Identify a VM: managed object id, name, instance UUID, and the host that it is registered on."""

    ref: str
    name: str
    uuid: str
    host: HostId
