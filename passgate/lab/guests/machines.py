"""Run programs inside the lab's guests. What a guest sees on USB is what the world has connected to its VM."""

from __future__ import annotations

from collections.abc import MutableMapping

from passgate.lab.guests import linux, windows
from passgate.lab.hardware import LabVm, Refusal
from passgate.lab.world import World


class GuestMachines:
    """The guests of all VMs of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def check_login(self, vm_name: str, user: str, password: str) -> None:
        """Refuse with vSphere's own fault unless the guest has booted and knows the account."""
        vm = self._booted(vm_name)
        known = user.casefold() == vm.guest_user.casefold() if vm.is_windows else user == vm.guest_user
        if not known or password != vm.guest_password:
            raise Refusal("InvalidGuestLogin", "Failed to authenticate with the guest operating system.")

    def run(self, vm_name: str, program_path: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
        """Run a program to its end and return its exit code; `files` is the guest's disk, read and written."""
        vm = self._booted(vm_name)
        devices = self._world.connected_usb(vm)
        if vm.is_windows:
            return windows.run(vm, devices, program_path, arguments, files)
        return linux.run(vm, devices, program_path, arguments, files)

    def _booted(self, vm_name: str) -> LabVm:
        vm = self._world.vm(vm_name)
        if not self._world.tools_running(vm):
            raise Refusal("GuestOperationsUnavailable", "The guest operations agent could not be contacted.")
        return vm
