"""Read the server's clock."""

from __future__ import annotations

from datetime import datetime

from pyVmomi import vim

from passgate.connect.vsphere.session import Session


def read_clock(session: Session) -> datetime:
    """Return the server's present time, with its time zone."""
    instance = session.object(vim.ServiceInstance, "ServiceInstance")
    now: datetime = session.read("read vCenter's clock", session.address, lambda _: instance.CurrentTime())
    return now
