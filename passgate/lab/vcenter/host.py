# ruff: noqa: N803, ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve hosts and their services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.lab import maintenance, reboot
from passgate.lab.hardware import LabHost, Refusal, Task
from passgate.lab.vcenter import pci
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.inventory import GREEN, Entity, local_datastore
from passgate.lab.vcenter.served import Call, Served, refs

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_MEBIBYTE = 1024 * 1024


class Host(Entity):
    """One host."""

    kind = vim.HostSystem
    parent_ref = "domain-c7"

    def __init__(self, estate: Estate, host: LabHost) -> None:
        super().__init__(estate, host.ref)
        self.host = host

    @property
    def name(self) -> str:
        """Return the name."""
        return self.host.name

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Return what a test wants not to be read."""
        return self.host.unreadable

    @property
    def _number(self) -> str:
        return self.host.ref.removeprefix("host-")

    @property
    def runtime(self) -> Any:
        """Return connection, power and maintenance mode."""
        return vim.host.RuntimeInfo(
            connectionState=self.host.connection,
            powerState=self.host.power if self.host.power != "poweredOff" else "unknown",
            standbyMode="in" if self.host.power == "standBy" else "none",
            inMaintenanceMode=self.host.maintenance,
            inQuarantineMode=False,
            bootTime=self.host.boot_time,
            dasHostState=self._das(),
        )

    def _das(self) -> Any:
        """Return what the HA agents say: the first host that works is the master."""
        if self.host.connection != "connected":
            return None
        working = [one for one in self.world.hosts if one.connection == "connected" and not one.maintenance]
        state = "master" if working and working[0] is self.host else "connectedToMaster"
        return vim.cluster.DasFdmHostState(state="uninitialized" if self.host.maintenance else state)

    @property
    def recentTask(self) -> Any:
        """Return the host's last tasks."""
        return refs([vim.Task(ref, None) for ref in self.host.recent_tasks], vim.Task)

    @property
    def capability(self) -> Any:
        """Return what the host can do; what is not named here it says that it can't."""
        return made(
            vim.host.Capability,
            rebootSupported=True,
            maintenanceModeSupported=True,
            shutdownSupported=True,
            standbySupported=True,
            vmotionSupported=True,
            suspendedRelocateSupported=True,
            deviceRebindWithoutRebootSupported=self.host.passthrough.rebinds_live,
        )

    @property
    def summary(self) -> Any:
        """Return the summary."""
        return vim.host.Summary(
            host=self.me,
            hardware=made(
                vim.host.Summary.HardwareSummary,
                vendor="Passgate",
                model="Lab Server",
                uuid=self.host.uuid,
                memorySize=self.host.memory_mb * _MEBIBYTE,
                cpuModel="Lab CPU",
                cpuMhz=2400,
                numCpuPkgs=1,
                numCpuCores=8,
                numCpuThreads=16,
                numNics=1,
                numHBAs=1,
            ),
            runtime=self.runtime,
            config=vim.host.Summary.ConfigSummary(
                name=self.host.name, port=443, product=self._product, vmotionEnabled=True, faultToleranceEnabled=False
            ),
            quickStats=vim.host.Summary.QuickStats(uptime=2_592_000),
            overallStatus=GREEN,
            rebootRequired=self.host.reboot_required,
            managementServerIp="192.0.2.2",
        )

    @property
    def _product(self) -> Any:
        version, build = self.host.version, self.host.build
        return vim.AboutInfo(
            name="VMware ESXi",
            fullName=f"VMware ESXi {version} build-{build}",
            vendor="VMware, Inc.",
            version=version,
            build=build,
            osType="vmnix-x86",
            productLineId="embeddedEsx",
            apiType="HostAgent",
            apiVersion=f"{version}.0",
        )

    @property
    def config(self) -> Any:
        """Return product, management network, services, the USB option, and the states of passthrough."""
        return vim.host.ConfigInfo(
            host=self.me,
            product=self._product,
            network=vim.host.NetworkInfo(
                vnic=[self._vmk0()],
                pnic=pci.network_cards(self.host),
                vswitch=pci.switches(self.host),
                portgroup=pci.port_groups(),
                atBootIpV6Enabled=True,
                ipV6Enabled=True,
            ),
            service=_services(self.host),
            pciPassthruInfo=pci.states(self.host),
            storageDevice=pci.adapters(self.host),
            option=self.estate.fixed(f"EsxHostAdvSettings-{self._number}").prop("setting", None),
            lockdownMode="lockdownDisabled",
            virtualNicManagerInfo=vim.host.VirtualNicManagerInfo(
                netConfig=[self._role(one) for one in ("management", "vmotion")]
            ),
        )

    def _vmk0(self) -> Any:
        return vim.host.VirtualNic(
            device="vmk0",
            key="key-vim.host.VirtualNic-vmk0",
            portgroup="Management Network",
            spec=vim.host.VirtualNic.Specification(
                ip=vim.host.IpConfig(dhcp=False, ipAddress=self.host.ip, subnetMask="255.255.255.0"),
                mac=f"00:50:56:00:00:{int(self._number):02x}",
                mtu=1500,
            ),
        )

    def _role(self, name: str) -> Any:
        return vim.host.VirtualNicManager.NetConfig(
            nicType=name,
            multiSelectAllowed=True,
            candidateVnic=[self._vmk0()],
            selectedVnic=[f"{name}.key-vim.host.VirtualNic-vmk0"],
        )

    @property
    def hardware(self) -> Any:
        """Return system identity and PCI functions."""
        return made(
            vim.host.HardwareInfo,
            systemInfo=vim.host.SystemInfo(vendor="Passgate", model="Lab Server", uuid=self.host.uuid),
            cpuInfo=vim.host.CpuInfo(numCpuPackages=1, numCpuCores=8, numCpuThreads=16, hz=2_400_000_000),
            memorySize=self.host.memory_mb * _MEBIBYTE,
            pciDevice=[pci.device(one) for one in self.host.pci],
        )

    @property
    def configManager(self) -> Any:
        """Return the managers of this host that the lab serves."""
        return vim.host.ConfigManager(
            advancedOption=vim.option.OptionManager(f"EsxHostAdvSettings-{self._number}", None),
            pciPassthruSystem=vim.host.PciPassthruSystem(f"pciPassthruSystem-{self._number}", None),
            serviceSystem=vim.host.ServiceSystem(f"serviceSystem-{self._number}", None),
        )

    @property
    def vm(self) -> Any:
        """Return the VMs that are registered on this host."""
        mine = [self.estate.vm(one) for one in self.world.vms if one.host is self.host]
        return refs(mine, vim.VirtualMachine)

    @property
    def datastore(self) -> Any:
        """Return the datastores: the shared one, and its own."""
        return refs([self.estate.fixed("datastore-9"), self.estate.fixed(local_datastore(self.host))], vim.Datastore)

    @property
    def network(self) -> Any:
        """Return the networks."""
        return refs([self.estate.fixed("network-10")], vim.Network)

    # -- maintenance and reboot ----------------------------------------------------------------------------------

    def EnterMaintenanceMode_Task(
        self, call: Call, timeout: int, evacuatePoweredOffVms: bool | None, maintenanceSpec: Any
    ) -> Any:
        """Enter maintenance mode, as soon as nothing runs here any more."""
        return _started(maintenance.enter(self.world, self.host, call.user, timeout, call.fault))

    def ExitMaintenanceMode_Task(self, call: Call, timeout: int) -> Any:
        """Leave maintenance mode."""
        return _started(maintenance.leave(self.world, self.host, call.user, call.fault))

    def RebootHost_Task(self, call: Call, force: bool) -> Any:
        """Reboot; refused outside maintenance mode unless forced."""
        return _started(reboot.reboot(self.world, self.host, call.user, force=force, fault=call.fault))

    def DisconnectHost_Task(self, call: Call) -> Any:
        """Let go of the host; it works on by itself."""
        return self._connection_task(call, "DisconnectHost_Task", "connected", "disconnected")

    def ReconnectHost_Task(self, call: Call, cnxSpec: Any, reconnectSpec: Any) -> Any:
        """Take hold of a host that was disconnected, or that does not respond though it is up."""
        return self._connection_task(call, "ReconnectHost_Task", "disconnected", "connected")

    def _connection_task(self, call: Call, method: str, before: str, after: str) -> Any:
        host = self.host
        if host.connection != before and (after == "disconnected" or host.connection == "connected"):
            raise Refusal("InvalidState", f"{host.name} is {host.connection}.")

        def work() -> None:
            if call.fault is not None:
                raise Refusal(call.fault.fault, call.fault.message)
            if host.power != "poweredOn":
                raise Refusal("NoHost", f"Unable to communicate with {host.name}.", name=host.name)
            host.connection = after

        return _started(self.world.start_task(method, host, call.user, self.world.settings.power_seconds, work))


def _started(task: Task) -> Any:
    return vim.Task(task.id, None)


def _services(host: LabHost) -> Any:
    return vim.host.ServiceInfo(
        service=[
            vim.host.Service(
                key=one.key, label=one.label, required=False, uninstallable=False, running=one.running,
                policy=one.policy,
            )
            for one in host.services.values()
        ]
    )  # fmt: skip


class Services(Served):
    """One host's services; usbarbitrator is not among them (reference 3.1)."""

    kind = vim.host.ServiceSystem

    def __init__(self, estate: Estate, ref: str, host: LabHost) -> None:
        super().__init__(estate, ref)
        self.host = host

    @property
    def label(self) -> str:
        """Return the host's name."""
        return self.host.name

    @property
    def serviceInfo(self) -> Any:
        """Return the services."""
        return _services(self.host)

    def StartService(self, call: Call, id: str) -> None:  # noqa: A002 - the WSDL's name
        """Start a service."""
        self._service(id).running = True
        self.world.changed()

    def RestartService(self, call: Call, id: str) -> None:  # noqa: A002 - the WSDL's name
        """Start a service anew; one that does not run is refused."""
        if not self._service(id).running:
            raise Refusal("InvalidState", f"{id} does not run on {self.host.name}.")
        self.world.changed()

    def StopService(self, call: Call, id: str) -> None:  # noqa: A002 - the WSDL's name
        """Stop a service."""
        self._service(id).running = False
        self.world.changed()

    def UpdateServicePolicy(self, call: Call, id: str, policy: str) -> None:  # noqa: A002 - the WSDL's name
        """Say when a service starts by itself."""
        self._service(id).policy = policy
        self.world.changed()

    def RefreshServices(self, call: Call) -> None:
        """Do nothing: the answer is always fresh."""

    def _service(self, key: str) -> Any:
        if self.host.connection != "connected":
            raise Refusal("HostNotConnected", f"Unable to communicate with the remote host {self.host.name}.")
        try:
            return self.host.services[key]
        except KeyError:
            raise Refusal("NotFound", f"{self.host.name} has no service {key}.") from None
