"""Serve the cluster."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.inventory import GREEN, Entity
from passgate.lab.vcenter.served import Served, refs


class Cluster(Entity):
    """The one cluster: DRS and HA are on, power management is off; a host may override the latter."""

    kind = vim.ClusterComputeResource
    title = "Cluster-01"
    parent_ref = "group-h4"

    def children(self) -> list[Served]:
        """Return the hosts and the pool."""
        return [*self.estate.hosts(), self.estate.fixed("resgroup-8")]

    @property
    def host(self) -> Any:
        """Return the hosts."""
        return refs(self.estate.hosts(), vim.HostSystem)

    @property
    def resourcePool(self) -> Any:
        """Return the root pool."""
        return self.estate.fixed("resgroup-8").me

    @property
    def datastore(self) -> Any:
        """Return the datastores."""
        return refs([self.estate.fixed("datastore-9")], vim.Datastore)

    @property
    def network(self) -> Any:
        """Return the networks."""
        return refs([self.estate.fixed("network-10")], vim.Network)

    @property
    def environmentBrowser(self) -> Any:
        """Return the browser for new VMs."""
        return self.estate.fixed("envbrowser-7").me

    @property
    def configurationEx(self) -> Any:
        """Return HA, DRS and power management."""
        overrides = [one for one in self.world.hosts if one.dpm is not None]
        return vim.cluster.ConfigInfoEx(
            vmSwapPlacement="vmDirectory",
            dasConfig=vim.cluster.DasConfigInfo(enabled=True, admissionControlEnabled=True, failoverLevel=1),
            drsConfig=vim.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="fullyAutomated", vmotionRate=3),
            dpmConfigInfo=vim.cluster.DpmConfigInfo(
                enabled=self.world.dpm, defaultDpmBehavior="automated", hostPowerActionRate=3
            ),
            dpmHostConfig=[
                vim.cluster.DpmHostConfigInfo(key=self.estate.fixed(one.ref).me, enabled=bool(one.dpm))
                for one in overrides
            ],
        )

    @property
    def configuration(self) -> Any:
        """Return HA and DRS in the older form."""
        known = self.configurationEx
        return vim.cluster.ConfigInfo(dasConfig=known.dasConfig, drsConfig=known.drsConfig)

    @property
    def summary(self) -> Any:
        """Return the summary."""
        count = len(self.world.hosts)
        return made(
            vim.ClusterComputeResource.Summary,
            numHosts=count,
            numEffectiveHosts=sum(one.connection == "connected" and not one.maintenance for one in self.world.hosts),
            numCpuCores=8 * count,
            numCpuThreads=16 * count,
            overallStatus=GREEN,
        )
