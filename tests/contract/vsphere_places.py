"""What the vSphere contract runs against: govmomi's simulator, as a vCenter and as an ESXi host alone, and the lab.

Each place starts in milliseconds, so every test gets one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from passgate.connect.vsphere import Scope, Session, VSphereConnector, read_inventory
from passgate.lab import tls
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.vcenter import Account, VCenterServer
from passgate.lab.world import World
from passgate.model.inventory import Host, Inventory, Vm
from passgate.settings.shape import LabWorld
from tests.independent.vcenter_of_govmomi import Endpoint, vcenter

FAST = LabWorld(
    power_seconds=0.05, boot_seconds=0.05, reconfigure_seconds=0.02, connect_seconds=0.0, reboot_seconds=0.3
)
STICK = "0/1/3"
"""Where the Verbatim stick is, on the host of both places' VM."""


@dataclass
class Place:
    """Hold one vCenter, and the names of what every test finds there.

    `vm` is on, has no USB controller, and runs on the host of the stick. `twins` is a host with two equal dongles.
    `standalone` is an ESXi host without a vCenter, which tells no privileges but roles. `world` is the lab's, to change
    things behind Passgate's back; govmomi's simulator has none.
    """

    endpoint: Endpoint
    vm: str
    twins: str
    standalone: bool = False
    world: World | None = None
    opened: ExitStack = field(default_factory=ExitStack)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def session(self, *, user: str | None = None, password: str | None = None, timeout: float = 30.0) -> Session:
        """Open a session; it is closed with the place."""
        at = self.endpoint
        secret = at.password if password is None else password
        session = Session(at.url, ca=at.ca, user=user or at.user, password=lambda: secret, timeout=timeout)
        return self.opened.enter_context(session)

    def connector(self, session: Session | None = None, **how: Any) -> VSphereConnector:
        """Return a connector with authority for everything; `asked` keeps what it asked authority for."""
        return VSphereConnector(session or self.session(), lambda *one: self.asked.append(one), **how)

    def read(self, session: Session | None = None, **scope: Any) -> Inventory:
        """Read the inventory; without a scope, the VM and its host's USB devices in depth."""
        return read_inventory(session or self.session(), Scope(**(scope or {"vms": (self.vm,), "usb": True})), "test")

    def found(self, session: Session | None = None) -> tuple[Vm, Host]:
        """Return the VM and its host, in depth."""
        return self.read(session).vm_and_host(self.vm)


@contextmanager
def govmomi(folder: Path, guest: Path | None = None) -> Iterator[Place]:
    """Run govmomi's simulator, with that guest in its VMs if one is given; skips where it can't be built."""
    ca = tls.make_ca(folder)
    pair = tls.issue(ca, ["127.0.0.1"])
    with vcenter(pair.cert, pair.key, ca.cert.read_text(), guest=guest) as endpoint:
        place = Place(endpoint, vm="DC0_H0_VM0", twins="DC0_H0")
        with place.opened:
            yield place


@contextmanager
def esx(folder: Path) -> Iterator[Place]:
    """Run govmomi's simulator as an ESXi host that stands alone, without a vCenter; skips where it can't be built."""
    ca = tls.make_ca(folder)
    pair = tls.issue(ca, ["127.0.0.1"])
    with vcenter(pair.cert, pair.key, ca.cert.read_text(), model="esx") as endpoint:
        place = Place(endpoint, vm="ha-host_VM0", twins="localhost.localdomain", standalone=True)
        with place.opened:
            yield place


@contextmanager
def lab(folder: Path) -> Iterator[Place]:
    """Run the lab's vCenter in this process."""
    ca = tls.make_ca(folder)
    pair = tls.issue(ca, ["127.0.0.1"])
    world = seeded_world(FAST)
    users = {"admin": Account("pass"), "limited": Account("pass", "limited"), "reader": Account("pass", "reader")}
    server = VCenterServer(world, users, cert=pair.cert, key=pair.key)
    server.start()
    try:
        place = Place(
            Endpoint(server.url, ca.cert.read_text(), "admin", "pass"),
            vm="win-01",
            twins="esx-02.lab.example",
            world=world,
        )
        with place.opened:
            yield place
    finally:
        server.stop()
        world.close()


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {"govmomi": govmomi, "esx": esx, "lab": lab}
