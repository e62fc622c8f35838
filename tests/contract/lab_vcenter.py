"""Start the lab's vCenter for a test, and reach it with real pyVmomi over TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from passgate.lab.inventory_seed import seeded_world
from passgate.lab.tls import issue, make_ca
from passgate.lab.vcenter import Account, VCenterServer
from passgate.lab.world import World
from passgate.settings.shape import LabWorld

D = vim.vm.device
Q = vmodl.query.PropertyCollector
FAST = LabWorld(power_seconds=0.05, boot_seconds=0.1, reconfigure_seconds=0.05, connect_seconds=0.1, reboot_seconds=0.3)


@dataclass
class Lab:
    """Hold the world, the server in front of it, and a client that is logged in as admin."""

    world: World
    server: VCenterServer
    tls: ssl.SSLContext
    si: Any

    def login(self, user: str, password: str = "secret") -> Any:  # noqa: S107 - the test accounts' password
        """Return another connection."""
        return SmartConnect(host="127.0.0.1", port=self.server.port, user=user, pwd=password, sslContext=self.tls)

    def vm(self, name: str, si: Any = None) -> Any:
        """Return the VM's managed object, on the admin's connection unless told otherwise."""
        return vim.VirtualMachine(self.world.vm(name).ref, (si or self.si)._stub)

    def usb(self, name: str) -> list[Any]:
        """Return the VM's USB device entries as vCenter shows them now."""
        return [one for one in self.vm(name).config.hardware.device if isinstance(one, D.VirtualUSB)]

    def reconfigure(self, name: str, *changes: tuple[str, Any], **spec: Any) -> None:
        """Reconfigure the VM with (operation, device) pairs, and wait for the end."""
        changed = [D.VirtualDeviceSpec(operation=operation, device=device) for operation, device in changes]
        WaitForTask(self.vm(name).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changed, **spec)))


@contextmanager
def running_lab(folder: Path, guest_run: Any = None) -> Iterator[Lab]:
    """Run world and server, and log in."""
    ca = make_ca(folder)
    pair = issue(ca, ["127.0.0.1", "localhost"])
    world = seeded_world(FAST)
    for vm in world.vms:
        vm.hot_add = vm.hot_remove = True  # what is refused while a VM runs is a matter of other tests
    users = {"admin": Account("secret"), "limited": Account("secret", "limited")}
    server = VCenterServer(world, users, guest_run, cert=pair.cert, key=pair.key)
    server.start()
    tls = ssl.create_default_context(cafile=str(ca.cert))
    try:
        lab = Lab(world, server, tls, None)
        lab.si = lab.login("admin")
        yield lab
        Disconnect(lab.si)
    finally:
        server.stop()
        world.close()


def xhci(key: int = -100) -> Any:
    """Return a controller to add."""
    return D.VirtualUSBXHCIController(key=key)


def stick(pattern: str, host: str | None = None, controller: int | None = -100, key: int = -101) -> Any:
    """Return a USB device to add; with a host's name it supports vMotion."""
    backing = (
        D.VirtualUSB.RemoteHostBackingInfo(deviceName=pattern, hostname=host)
        if host
        else D.VirtualUSB.USBBackingInfo(deviceName=pattern)
    )
    return D.VirtualUSB(key=key, controllerKey=controller, connected=True, backing=backing)


def within(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Say whether something becomes true before a deadline that is far beyond what it takes."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
