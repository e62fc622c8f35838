"""Read and change hosts: each method reads what it must, asks for authority, sends one call, and waits for its end."""

from __future__ import annotations

from passgate.connect.vsphere.acting import Acting
from passgate.connect.vsphere.reading import read_one_host
from passgate.model.inventory import Host, HostId


class HostsConnector(Acting):
    """Read and change hosts through one session, as `passgate.engine.ports.Hosts` says."""

    def host(self, host: HostId) -> Host:
        """Read one host anew, without its USB devices; its cluster in a second round trip."""
        return read_one_host(self._session, host)
