"""Run programs inside the lab's guests. What a guest sees on USB is what the world has connected to its VM."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

from passgate.lab.guest_devices import Inside
from passgate.lab.guests import linux, windows
from passgate.lab.world import World

GONE: Final = 255
"""Exit code of a program whose guest went away under it."""


class GuestMachines:
    """The guests of all VMs of one world. Who may log in is the business of the wire in front of them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self, vm_name: str, program_path: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
        """Run a program to its end and return its exit code; `files` is the guest's disk, read and written."""
        with self._world.lock:
            vm = self._world.vm(vm_name)
            if not self._world.tools_running(vm):
                return GONE
            devices = self._world.guest_devices(vm)

        def told(what: str) -> None:
            self._world.record("inside", what, vm.name, vm.guest_user, accepted=True)

        guest = windows if vm.is_windows else linux
        return guest.run(Inside(vm, devices, told), program_path, arguments, files)
