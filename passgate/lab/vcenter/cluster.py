"""Serve the cluster, and what DRS and power management may do in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyVmomi import vim

from passgate.lab.cluster import AUTOMATIC, DrsOverride
from passgate.lab.hardware import Refusal
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.inventory import GREEN, Entity
from passgate.lab.vcenter.served import Call, Served, refs


class Cluster(Entity):
    """The one cluster; HA is on."""

    kind = vim.ClusterComputeResource
    parent_ref = "group-h4"

    @property
    def name(self) -> str:
        """Return the name."""
        return self.world.cluster.name

    @property
    def recentTask(self) -> Any:
        """Return the cluster's last tasks."""
        return refs([vim.Task(ref, None) for ref in self.world.cluster.recent_tasks], vim.Task)

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
        return refs(self.estate.datastores(), vim.Datastore)

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
        known = self.world.cluster
        overrides = [one for one in self.world.hosts if one.dpm is not None]
        return vim.cluster.ConfigInfoEx(
            vmSwapPlacement="vmDirectory",
            dasConfig=vim.cluster.DasConfigInfo(enabled=True, admissionControlEnabled=True, failoverLevel=1),
            drsConfig=vim.cluster.DrsConfigInfo(
                enabled=known.drs, enableVmBehaviorOverrides=True, defaultVmBehavior=known.behavior, vmotionRate=3
            ),
            drsVmConfig=[
                vim.cluster.DrsVmConfigInfo(
                    key=vim.VirtualMachine(ref, None), enabled=one.enabled, behavior=one.behavior
                )
                for ref, one in known.overrides.items()
            ],
            dpmConfigInfo=vim.cluster.DpmConfigInfo(
                enabled=known.dpm, defaultDpmBehavior="automated", hostPowerActionRate=3
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

    # -- configuration -------------------------------------------------------------------------------------------

    def ReconfigureComputeResource_Task(self, call: Call, spec: Any, modify: bool) -> Any:
        """Change DRS, power management and their overrides.

        With `modify` only what the spec names is changed. Without, the spec is the whole configuration: what it does
        not name is put back to its default, overrides too.
        """
        if not isinstance(spec, vim.cluster.ConfigSpecEx):
            raise Refusal("InvalidArgument", "A cluster needs a ClusterConfigSpecEx.", invalidProperty="spec")

        def work() -> None:
            if call.fault is not None:
                raise Refusal(call.fault.fault, call.fault.message)
            self._reconfigure(spec, modify=modify)

        cluster = self.world.cluster
        seconds = self.world.settings.reconfigure_seconds
        task = self.world.start_task(
            "ReconfigureComputeResource_Task", cluster, call.user, seconds, work, locks=False
        )  # fmt: skip
        return vim.Task(task.id, None)

    def _reconfigure(self, spec: Any, *, modify: bool) -> None:
        cluster, hosts = self.world.cluster, {one.ref: one for one in self.world.hosts}
        drs = {} if not modify else dict(cluster.overrides)
        dpm = {ref: one.dpm for ref, one in hosts.items() if one.dpm is not None and modify}
        for change in spec.drsVmConfigSpec:
            _apply(drs, change, "drsVmConfigSpec", lambda info: DrsOverride(_on(info), info.behavior or AUTOMATIC))
        for change in spec.dpmHostConfigSpec:
            _apply(dpm, change, "dpmHostConfigSpec", _on)
        if strangers := dpm.keys() - hosts.keys():
            raise Refusal("InvalidArgument", f"{', '.join(strangers)} is no host.", invalidProperty="dpmHostConfigSpec")
        cluster.overrides = drs
        for ref, host in hosts.items():
            host.dpm = dpm.get(ref)
        wanted = spec.drsConfig or (None if modify else vim.cluster.DrsConfigInfo())
        if wanted is not None:
            cluster.drs = _given(wanted.enabled, cluster.drs if modify else False)
            cluster.behavior = _given(wanted.defaultVmBehavior, cluster.behavior if modify else AUTOMATIC)
        power = spec.dpmConfig or (None if modify else vim.cluster.DpmConfigInfo())
        if power is not None:
            cluster.dpm = _given(power.enabled, cluster.dpm if modify else False)


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _on(info: Any) -> bool:
    return info.enabled is not False


def _apply(entries: dict[str, Any], change: Any, field: str, read: Callable[[Any], Any]) -> None:
    """Carry one add, edit or remove out; each is refused where there is, or is not, an entry already."""
    key = (change.removeKey if change.operation == "remove" else change.info.key)._moId  # noqa: SLF001 - pyVmomi's only name for it
    if (change.operation == "add") == (key in entries):
        raise Refusal(
            "InvalidArgument", f"A specified parameter was not correct: {field}.operation ({change.operation}).",
            invalidProperty=f"{field}.operation",
        )  # fmt: skip
    if change.operation == "remove":
        del entries[key]
    else:
        entries[key] = read(change.info)
