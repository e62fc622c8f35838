"""Read and change hosts: each method reads what it must, asks for authority, sends one call, and waits for its end."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from pyVmomi import vim

from passgate.connect.vsphere.parsing import plain_name, ref_of
from passgate.connect.vsphere.passing import SettingPassthrough
from passgate.connect.vsphere.reading import Row, props_of, query, read_one_host, retrieve, steps
from passgate.connect.vsphere.waiting import wait_until
from passgate.errors import PassgateError, RefusedError, UnconfirmedError
from passgate.model.inventory import Host, HostId

MAINTENANCE = timedelta(minutes=15)
"""How long a host may take to empty itself, unless the plan says otherwise (reference vSphere 6.3: user value)."""
BACKSTOP = timedelta(minutes=1)
"""How much longer than ourselves vCenter waits before it gives up by itself, should we be gone by then."""
REBOOT = "hostsystem.reboot"
"""How vCenter calls the task of a reboot, whatever it thinks of capitals."""
CANCELLED = 30.0
"""Seconds until a task that was cancelled must have ended."""


class HostsConnector(SettingPassthrough):
    """Read and change hosts through one session, as `passgate.engine.ports.Hosts` says."""

    def host(self, host: HostId) -> Host:
        """Read one host anew, without its USB devices; its cluster in a second round trip."""
        return read_one_host(self._session, host)

    # -- maintenance and reboot ----------------------------------------------------------------------------------

    def enter_maintenance(self, host: HostId, *, within: timedelta = MAINTENANCE) -> None:
        """Enter maintenance mode; being in it already counts as done.

        vCenter's task does not fail while a VM can't leave, it goes on. After `within` it is cancelled, and the error
        names the VMs that still run there; the host is then as open as before.
        """
        doing = f"put {host.name} into maintenance mode"
        if self.host(host).maintenance:
            return
        seconds = int((within + BACKSTOP).total_seconds())
        task = self._host_call(
            "enter_maintenance", host, doing,
            lambda one: one.EnterMaintenanceMode_Task(timeout=seconds, evacuatePoweredOffVms=False),
        )  # fmt: skip
        try:
            self._await(task, doing=doing, subject=host.name, within=within)
        except UnconfirmedError as error:
            self._give_up(host, task, doing, within, error)

    def exit_maintenance(self, host: HostId) -> None:
        """Leave maintenance mode; not being in it counts as done."""
        doing = f"take {host.name} out of maintenance mode"
        if not self.host(host).maintenance:
            return
        task = self._host_call(
            "exit_maintenance", host, doing,
            lambda one: one.ExitMaintenanceMode_Task(timeout=int(self._task_within.total_seconds())),
        )  # fmt: skip
        self._await(task, doing=doing, subject=host.name)

    def reboot(self, host: HostId) -> None:
        """Ask the host to reboot, and return when it has accepted; only a newer boot time says that it came back.

        Never forced: outside maintenance mode the host refuses. A reboot that it has accepted since its last boot
        counts as done: the host goes down some time after it, and must not be asked twice over a crash of ours.
        """
        doing = f"reboot {host.name}"
        if self._has_accepted(host, doing):
            return
        task = self._host_call("reboot", host, doing, lambda one: one.RebootHost_Task(force=False))
        self._await(task, doing=doing, subject=host.name)

    def _has_accepted(self, host: HostId, doing: str) -> bool:
        """Say whether the host's recent tasks hold a reboot that waits, runs, or ended well since it was booted."""
        walk = query.TraversalSpec(name="tasks", type=vim.HostSystem, path="recentTask", skip=False)
        start = query.ObjectSpec(
            obj=self._session.object(vim.HostSystem, host.ref), skip=False, selectSet=[walk]
        )  # fmt: skip
        spec = query.FilterSpec(
            objectSet=[start],
            propSet=[
                props_of(vim.HostSystem, ("runtime.bootTime",)),
                props_of(vim.Task, ("info.descriptionId", "info.state", "info.completeTime")),
            ],
        )
        rows = retrieve(self._session, spec, doing=doing, subject=host.name)
        booted = rows.pop(host.ref, Row()).get("runtime.bootTime")
        mine = [row for row in rows.values() if str(row.get("info.descriptionId")).casefold() == REBOOT]
        return any(
            str(row.get("info.state")) in {"queued", "running"}
            or (str(row.get("info.state")) == "success" and booted and row.get("info.completeTime", booted) > booted)
            for row in mine
        )

    def reconnect(self, host: HostId) -> None:
        """Let vCenter take hold of the host again; a connected one counts as done."""
        doing = f"reconnect {host.name}"
        if self.host(host).connection == "connected":
            return
        task = self._host_call("reconnect", host, doing, lambda one: one.ReconnectHost_Task())
        self._await(task, doing=doing, subject=host.name)

    def _give_up(self, host: HostId, task: Any, doing: str, within: timedelta, late: UnconfirmedError) -> None:
        """Cancel the task, see that it has ended, and say who stands in the way. Raises, unless it ended well."""
        with suppress(PassgateError):  # it may have ended meanwhile; how is read below
            self._send("cancel_task", f"host:{host.ref}", task, lambda one: one.CancelTask(), doing=doing,
                       subject=host.name)  # fmt: skip
        ended = wait_until(
            self._session,
            {task: ("info.state",)},
            lambda seen: True if seen.get(str(ref_of(task)), {}).get("info.state") in {"success", "error"} else None,
            CANCELLED,
            doing=doing,
            subject=host.name,
        )
        if self.host(host).maintenance:
            return
        if ended is None:
            raise late
        stuck = self._running(host)
        raise RefusedError(
            f"Could not {doing} within {within}: {listed(stuck)}. The task was cancelled; the host is open as before.",
            fault="VmsCannotLeave",
            hint="Move these VMs to another host or shut them down, then try again.",
            subject=host.name,
        ) from late

    def _running(self, host: HostId) -> tuple[str, ...]:
        start = query.ObjectSpec(
            obj=self._session.object(vim.HostSystem, host.ref), skip=True,
            selectSet=[steps("host", vim.HostSystem, "vm")],
        )  # fmt: skip
        spec = query.FilterSpec(
            objectSet=[start], propSet=[props_of(vim.VirtualMachine, ("name", "runtime.powerState"))]
        )
        rows = retrieve(self._session, spec, doing=f"list the VMs of {host.name}", subject=host.name)
        on = (row for row in rows.values() if str(row.get("runtime.powerState")) == "poweredOn")
        return tuple(sorted(plain_name(row.get("name", "a VM without a name")) for row in on))

    # -- services ------------------------------------------------------------------------------------------------

    def start_service(self, host: HostId, key: str) -> None:
        """Start a service of the host; a running one counts as done."""
        if not self._service(host, key).running:
            self._service_call("start_service", host, f"start {key} on {host.name}", lambda one: one.StartService(key))

    def stop_service(self, host: HostId, key: str) -> None:
        """Stop a service of the host; a stopped one counts as done."""
        if self._service(host, key).running:
            self._service_call("stop_service", host, f"stop {key} on {host.name}", lambda one: one.StopService(key))

    def set_service_policy(self, host: HostId, key: str, policy: str) -> None:
        """Say when a service starts by itself: `on` with the host, `off`, or `automatic` with its ports."""
        if self._service(host, key).policy != policy:
            doing = f"let {key} on {host.name} start by the policy {policy}"
            self._service_call("set_service_policy", host, doing, lambda one: one.UpdateServicePolicy(key, policy))

    def _service(self, host: HostId, key: str) -> Any:
        now = self.host(host)
        found = now.service(key)
        if found is None:
            raise RefusedError(
                f"{host.name} lists no service {key}.",
                fault="NotFound",
                hint=f"It lists: {', '.join(sorted(one.key for one in now.services or ())) or 'none'}.",
                subject=host.name,
            )
        return found

    def _service_call(self, action: str, host: HostId, doing: str, start: Any) -> None:
        spec = query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=self._session.object(vim.HostSystem, host.ref), skip=False)],
            propSet=[props_of(vim.HostSystem, ("configManager.serviceSystem",))],
        )
        row = retrieve(self._session, spec, doing=doing, subject=host.name).get(host.ref, Row())
        system = row.get("configManager.serviceSystem")
        if system is None:
            raise RefusedError(
                f"Could not {doing}: vCenter offers no service manager for this host.",
                fault="NotFound",
                hint="Look whether the host is connected, and whether Passgate's account may read it.",
                subject=host.name,
            )
        target = self._session.object(vim.host.ServiceSystem, str(ref_of(system)))
        self._send(action, f"host:{host.ref}", target, start, doing=doing, subject=host.name)

    # -- power management ----------------------------------------------------------------------------------------

    def power_management(self, host: HostId) -> bool | None:
        """Read the host's own override of power management (DPM); None: it follows its cluster."""
        known = self._overrides(host, f"read the power management of {host.name}")[1].get(host.ref)
        return known.enabled is not False if known else None

    def set_power_management(self, host: HostId, enabled: bool | None) -> None:
        """Override power management (DPM) for the host, or with None take the override away.

        Whether that is an add, an edit or a removal follows from what is there now, because vSphere does not say what
        an add over an existing entry does (reference vSphere 4).
        """
        doing = f"{'take away the override of' if enabled is None else 'override'} power management for {host.name}"
        cluster, overrides = self._overrides(host, doing)
        known = overrides.get(host.ref)
        if (known.enabled is not False if known else None) is enabled:
            return
        key = self._session.object(vim.HostSystem, host.ref)
        kind = vim.cluster.DpmHostConfigSpec
        if enabled is None:
            change = kind(operation="remove", removeKey=key)
        else:
            info = vim.cluster.DpmHostConfigInfo(key=key, enabled=enabled, behavior=known.behavior if known else None)
            change = kind(operation="edit" if known else "add", info=info)
        spec = vim.cluster.ConfigSpecEx(dpmHostConfigSpec=[change])
        # modify=True merges; without it the whole configuration of the cluster would be replaced by this.
        task = self._send(
            "set_power_management", f"host:{host.ref}", cluster,
            lambda one: one.ReconfigureComputeResource_Task(spec=spec, modify=True), doing=doing, subject=host.name,
        )  # fmt: skip
        self._await(task, doing=doing, subject=host.name)

    def _overrides(self, host: HostId, doing: str) -> tuple[Any, dict[str, Any]]:
        """Return the host's cluster, and its overrides of power management by host."""
        walk = query.TraversalSpec(name="parent", type=vim.HostSystem, path="parent", skip=False)
        start = query.ObjectSpec(
            obj=self._session.object(vim.HostSystem, host.ref), skip=True, selectSet=[walk]
        )  # fmt: skip
        spec = query.FilterSpec(
            objectSet=[start], propSet=[props_of(vim.ClusterComputeResource, ("configurationEx",))]
        )  # fmt: skip
        rows = retrieve(self._session, spec, doing=doing, subject=host.name)
        for ref, row in rows.items():
            entries = getattr(row.get("configurationEx"), "dpmHostConfig", None) or ()
            cluster = self._session.object(vim.ClusterComputeResource, ref)
            return cluster, {str(ref_of(one.key)): one for one in entries}
        raise RefusedError(
            f"Could not {doing}: {host.name} is in no cluster.",
            fault="NotFound",
            hint="Power management is a matter of clusters; a host of its own is never powered off by it.",
            subject=host.name,
        )

    def _host_call(self, action: str, host: HostId, doing: str, start: Any) -> Any:
        target = self._session.object(vim.HostSystem, host.ref)
        return self._send(action, f"host:{host.ref}", target, start, doing=doing, subject=host.name)


def listed(stuck: tuple[str, ...]) -> str:
    """Return in words who still runs there."""
    return f"still running there: {', '.join(stuck)}" if stuck else "no VM runs there any more, yet it did not end"
