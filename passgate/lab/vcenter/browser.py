# ruff: noqa: ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve environment browsers: what a host offers to VMs, and what virtual hardware may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.lab.hardware import LabHost, LabVm, Refusal
from passgate.lab.vcenter import pci
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.served import Call, Served
from passgate.lab.vcenter.vm_facts import summary
from passgate.lab.world import Offer

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_D = vim.vm.device
XHCI_SINCE = 8
USB_SINCE = 7
VERSIONS = (7, 8, 11, 13, 14, 15, 17, 18, 19, 20, 21)


class Browser(Served):
    """The browser of one VM, or of the cluster."""

    kind = vim.EnvironmentBrowser

    def __init__(self, estate: Estate, ref: str, vm: LabVm | None) -> None:
        super().__init__(estate, ref)
        self.lab_vm = vm

    @property
    def label(self) -> str:
        """Return the VM's name, so that injected faults can be meant for it."""
        return self.lab_vm.name if self.lab_vm else self.ref

    def _host(self, call: Call, host: Any) -> LabHost:
        if host is not None:
            if self.estate.find(host, call.session) is None:
                raise Refusal("ManagedObjectNotFound", f"The object {host} does not exist.", obj=host)
            return self.world.host(host._moId)  # noqa: SLF001 - pyVmomi's only name for it
        return self.lab_vm.host if self.lab_vm else self.world.hosts[0]

    def QueryConfigTarget(self, call: Call, host: Any) -> Any:
        """Return what the host has for VMs; USB devices only while its arbitrator runs."""
        lab_host = self._host(call, host)
        if lab_host.connection != "connected":
            raise Refusal("HostNotConnected", f"Unable to communicate with the remote host {lab_host.name}.")
        return vim.vm.ConfigTarget(
            numCpus=16,
            numCpuCores=8,
            numNumaNodes=1,
            smcPresent=False,
            maxMemMBOptimalPerf=65536,
            autoVmotion=True,
            usb=[self._usb(one) for one in self.world.offered_usb(lab_host)],
            pciPassthrough=pci.targets(lab_host),
        )

    def _usb(self, offer: Offer) -> Any:
        one = offer.device
        return vim.vm.UsbInfo(
            name=one.name,
            description=one.name,
            vendor=one.vendor,
            product=one.product,
            physicalPath=one.pattern,
            family=list(one.families),
            speed=list(one.speeds),
            summary=summary(self.world, offer.user) if offer.user else None,
        )

    def QueryConfigOptionDescriptor(self, call: Call) -> Any:
        """Return the hardware versions that the hosts run."""
        kind = vim.vm.ConfigOptionDescriptor
        return kind.Array(
            [
                kind(
                    key=f"vmx-{one:02d}", description=f"Hardware version {one}", createSupported=True,
                    defaultConfigOption=one == VERSIONS[-1], runSupported=True, upgradeSupported=True,
                )
                for one in VERSIONS
            ]
        )  # fmt: skip

    def QueryConfigOption(self, call: Call, key: str | None, host: Any) -> Any:
        """Return what VMs of a hardware version may have."""
        self._host(call, host)
        default = f"vmx-{self.lab_vm.hardware_version:02d}" if self.lab_vm else f"vmx-{VERSIONS[-1]}"
        version = key or default
        if version not in {f"vmx-{one:02d}" for one in VERSIONS}:
            return None
        return _option(version, self.lab_vm)

    def QueryConfigOptionEx(self, call: Call, spec: Any) -> Any:
        """Return what VMs of a hardware version may have."""
        return self.QueryConfigOption(call, spec.key if spec else None, spec.host if spec else None)


def _option(version: str, vm: LabVm | None) -> Any:
    number = int(version.removeprefix("vmx-"))
    add, remove = (vm.hot_add, vm.hot_remove) if vm else (True, True)
    plug = {"deprecated": False, "plugAndPlay": add, "hotRemoveSupported": remove}
    on_pci = {**plug, "controllerType": _D.VirtualPCIController, "devices": _int(0, 127)}
    auto = vim.option.BoolOption(supported=True, defaultValue=False)
    options: list[Any] = [_D.VirtualDeviceOption(type=_D.VirtualPCIController, deprecated=False)]
    if number >= USB_SINCE:
        options += [
            _D.VirtualUSBOption(type=_D.VirtualUSB, controllerType=_D.VirtualUSBController, **plug),
            _D.VirtualUSBControllerOption(
                type=_D.VirtualUSBController, autoConnectDevices=auto, ehciSupported=auto,
                supportedSpeeds=["low", "full", "high"], **on_pci,
            ),
        ]  # fmt: skip
    if number >= XHCI_SINCE:
        options.append(
            _D.VirtualUSBXHCIControllerOption(
                type=_D.VirtualUSBXHCIController, autoConnectDevices=auto,
                supportedSpeeds=["low", "full", "high", "superSpeed"], **on_pci,
            )
        )  # fmt: skip
    return made(
        vim.vm.ConfigOption,
        version=version,
        description=f"Hardware version {number}",
        hardwareOptions=made(
            vim.vm.VirtualHardwareOption,
            hwVersion=number,
            virtualDeviceOption=options,
            numUSBControllers=_int(0, int(number >= USB_SINCE)),
            numUSBXHCIControllers=_int(0, int(number >= XHCI_SINCE)),
        ),
    )


def _int(low: int, high: int) -> Any:
    return vim.option.IntOption(min=low, max=high, defaultValue=low)
