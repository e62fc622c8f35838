"""Say who may log in to the simulated vCenter and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

ADD_REMOVE_DEVICE = "VirtualMachine.Config.AddRemoveDevice"
HOST_USB = "VirtualMachine.Config.HostUSBDevice"

PRIVILEGES = (
    "System.Anonymous",
    "System.Read",
    "System.View",
    "Authorization.ModifyPermissions",
    "Global.Settings",
    "Host.Config.AdvancedConfig",
    "Host.Config.Connection",
    "Host.Config.Maintenance",
    "Host.Config.NetService",
    "Host.Config.PciPassthru",
    "Host.Config.Settings",
    "Host.Inventory.EditCluster",
    "Resource.ColdMigrate",
    "Resource.HotMigrate",
    "Sessions.TerminateSession",
    "Sessions.ValidateSession",
    ADD_REMOVE_DEVICE,
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.EditDevice",
    HOST_USB,
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.Rename",
    "VirtualMachine.Config.Resource",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Config.UpgradeVirtualHardware",
    "VirtualMachine.GuestOperations.Execute",
    "VirtualMachine.GuestOperations.Modify",
    "VirtualMachine.GuestOperations.Query",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Interact.Reset",
    "VirtualMachine.Interact.Suspend",
)
"""What the authorization manager lists."""

_MISSING: dict[str, frozenset[str]] = {
    "admin": frozenset(),
    "limited": frozenset({ADD_REMOVE_DEVICE, HOST_USB}),
    "reader": frozenset(one for one in PRIVILEGES if not one.startswith("System.")),
}
"""Privileges that each role lacks."""


@dataclass(frozen=True)
class Account:
    """Hold one account: `role` is admin, limited (may not add or remove devices) or reader."""

    password: str
    role: str = "admin"

    def may(self, privilege: str) -> bool:
        """Say whether the account has the privilege, everywhere: the lab's roles do not differ by object."""
        return privilege not in _MISSING[self.role]
