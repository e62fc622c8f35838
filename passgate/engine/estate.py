"""Put the connectors together: one reading of vCenter and shells, and systems for reading or for acting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from passgate.connect.esxi_shell.follow import LogFollowers
from passgate.connect.esxi_shell.shell import EsxiShell
from passgate.connect.esxi_shell.wire import ShellAccess
from passgate.connect.guest.connector import GuestConnector, Login
from passgate.connect.vsphere.connector import VSphereConnector
from passgate.connect.vsphere.hosts import HostsConnector
from passgate.connect.vsphere.passthrough import with_passthrough
from passgate.connect.vsphere.reading import Scope, read_inventory
from passgate.connect.vsphere.session import Session
from passgate.connect.vsphere.surroundings import with_surroundings
from passgate.connect.vsphere.tags import Tags
from passgate.engine.joining import joined
from passgate.engine.notes import Notebook
from passgate.engine.steps import Ask, Reads, Runbook, Systems
from passgate.engine.survey import Survey
from passgate.errors import ConfigError, PassgateError
from passgate.model.drift import Declaration, Declared
from passgate.model.guest import GuestUsb
from passgate.model.inventory import GuestFamily, Host, Inventory, Power, Vm
from passgate.model.pci import ConfirmedBus
from passgate.settings.load import resolve
from passgate.settings.shape import Config
from passgate.settings.values import FromEnv, FromFile

THREADS = 32
"""How many blocking calls to the outside may wait at once; each holds a thread, none holds a processor."""

P = ParamSpec("P")
T = TypeVar("T")
Authorize = Callable[[str, str], None]


class Estate:
    """Reach the systems that config names. Connections are made at first use and kept."""

    def __init__(self, config: Config, home: Path) -> None:
        self._config = config
        self._home = home
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="estate")

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread of our own, so that slow systems never starve other work."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))

    def close(self) -> None:
        """Log out and close all connections that were made."""
        if "session" in self.__dict__:
            self.session.close()
        if "shell" in self.__dict__ and self.shell:
            self.shell.close()
        if "logs" in self.__dict__:
            self.logs.close()
        if "survey" in self.__dict__:
            self.survey.close()
        self._threads.shutdown(wait=False)

    @cached_property
    def session(self) -> Session:
        """Return the session with vCenter."""
        site = self._config.site.vcenter
        return Session(
            self._text(site.url),
            user=self._text(site.user),
            password=partial(self._text, site.password),
            ca=self._text(site.ca) if site.ca is not None else None,
            timeout=site.timeout.total_seconds(),
        )

    @cached_property
    def tags(self) -> Tags:
        """Return the way to read vSphere tags, which speaks another protocol at the same address."""
        site = self._config.site.vcenter
        return Tags(
            self._text(site.url),
            user=self._text(site.user),
            password=partial(self._text, site.password),
            ca=self._text(site.ca) if site.ca is not None else None,
            timeout=site.timeout.total_seconds(),
        )

    @cached_property
    def shell(self) -> EsxiShell | None:
        """Return the ESXi shells, or None where config names none."""
        access = self._shell_access
        return EsxiShell(access) if access else None

    @cached_property
    def survey(self) -> Survey:
        """Return the way to read many hosts at once."""
        access = self._shell_access
        return Survey(self.session, EsxiShell(access) if access else None, self._config.service.hosts_at_once)

    @cached_property
    def logs(self) -> LogFollowers:
        """Return the way to follow hosts' logs."""
        return LogFollowers(self._shell_access)

    @cached_property
    def _shell_access(self) -> ShellAccess | None:
        shell = self._config.site.shell
        if shell is None:
            return None
        return ShellAccess(
            user=shell.user,
            known_hosts=self._text(shell.known_hosts),
            key=self._text(shell.key) if shell.key else None,
            password=self._text(shell.password) if shell.password else None,
            port=shell.port,
            addresses=json.loads(self._text(shell.addresses)) if shell.addresses else {},
            timeout=shell.timeout,
        )

    @cached_property
    def guest(self) -> GuestConnector:
        """Return the way into guests, for looking only."""
        return GuestConnector(self.session, self._logins)

    @property
    def _logins(self) -> list[Login]:
        return [
            Login(GuestFamily(one.family), one.user, partial(self._text, one.password), one.vms)
            for one in self._config.site.guests
        ]

    def acting_under(self, authorize: Authorize) -> Systems:
        """Return systems whose mutating calls ask that authority first."""
        return Systems(
            VSphereConnector(self.session, authorize),
            HostsConnector(self.session, authorize),
            self._needed_shell().acting_under(authorize),
            GuestConnector(self.session, self._logins, authorize),
            survey=self.survey,
            logs=self.logs.reader(""),
            notes=Notebook(),
            declaration=declaration(self._config),
        )

    def _needed_shell(self) -> EsxiShell:
        return self.shell or EsxiShell(ShellAccess(user="", known_hosts=""))

    async def read_for(self, runbook: Runbook, ask: Ask) -> Inventory:  # type: ignore[type-arg]  # any runbook will do
        """Read what planning that ask needs."""
        wants = runbook.reads
        scope = Scope(vms=ask.vms(), hosts=ask.hosts(), usb=Reads.USB in wants, pci=Reads.PCI in wants)
        return await self.read(scope, guests=Reads.GUEST in wants)

    async def read(self, scope: Scope, *, guests: bool = False) -> Inventory:
        """Read vCenter once, then the shells of the hosts in scope and the guests of the named VMs side by side."""
        site = await self.in_thread(read_inventory, self.session, scope, self._config.site.vcenter.name)
        named = [vm for vm in site.vms if {vm.name, vm.uuid} & set(scope.vms)]
        away = {entry.hostname for vm in named for entry in vm.usb if entry.hostname not in {None, vm.host.name}}
        if near := {*scope.hosts, *filter(None, away)}:
            site = await self.in_thread(with_surroundings, self.session, site, near, scope.vms)
        if scope.pci:
            site = self._with_confirmed(await self.in_thread(with_passthrough, self.session, site, scope))
        with_shells, asked = await asyncio.gather(
            self._with_shells(site, scope), self._asked_guests(site, scope) if guests else _nothing()
        )
        joined_up: Inventory = with_shells.model_copy(update=asked)
        return joined_up

    def _with_confirmed(self, site: Inventory) -> Inventory:
        """Add what people confirmed of USB buses; a record for a host that is not there says nothing."""
        for host in site.hosts:
            mine = tuple(
                ConfirmedBus(bus=one.bus, address=one.address, confirmed_by=one.confirmed_by, at=one.at.isoformat())
                for one in self._config.site.pci.controllers
                if one.host == host.name
            )
            if mine:
                site = site.with_host(host.model_copy(update={"confirmed": mine}))
        return site

    async def _asked_guests(self, site: Inventory, scope: Scope) -> dict[str, Any]:
        """Ask the guests of the named VMs; one that is silent leaves its reason, and the checks judge it."""

        async def ask(vm: Vm) -> tuple[GuestUsb, ...] | str:
            if not vm.guest_ready:
                return f"the guest of {vm.name} does not answer: VMware Tools are not ready for guest operations"
            try:
                return await self.in_thread(self.guest.usb, vm)
            except ConfigError:
                raise
            except PassgateError as error:
                return f"{error.message} {error.hint}".strip()

        named = [vm for vm in site.vms if {vm.name, vm.uuid} & set(scope.vms) and vm.power is Power.ON]
        said = dict(zip((vm.ref for vm in named), await asyncio.gather(*map(ask, named)), strict=True))
        return {
            "guests": {ref: one for ref, one in said.items() if not isinstance(one, str)},
            "guest_errors": {ref: one for ref, one in said.items() if isinstance(one, str)},
        }

    async def _with_shells(self, site: Inventory, scope: Scope) -> Inventory:
        if not scope.usb:
            return site
        named = [vm for vm in site.vms if {vm.name, vm.uuid} & set(scope.vms)]
        homes = {entry.hostname for vm in named for entry in vm.usb if entry.hostname}
        wanted = {vm.host.ref for vm in named} | homes | set(scope.hosts)
        near = [host for host in site.hosts if scope.all_hosts or {host.ref, host.name} & wanted]
        for host in await asyncio.gather(*(self._with_shell(host) for host in near)):
            site = site.with_host(host)
        return site

    async def _with_shell(self, host: Host) -> Host:
        """Add what only the shell knows; a shell that can't be read leaves its reason, and the checks judge it."""
        if self.shell is None:
            return host.model_copy(update={"shell_error": "config/site.yaml names no shell"})
        try:
            reading = await self.in_thread(self.shell.read_usb, host.id)
        except ConfigError:
            raise
        except PassgateError as error:
            return host.model_copy(update={"shell_error": f"{error.message} {error.hint}".strip()})
        return joined(host, reading)

    def _text(self, reference: str | FromEnv | FromFile) -> str:
        return resolve(reference, self._home)


async def _nothing() -> dict[str, Any]:
    return {}


def declaration(config: Config) -> Declaration:
    """Return the declared attachments, with what names in config/devices.yaml stand for."""
    names = {name: one.selector for name, one in config.devices.devices.items()}
    declared = tuple(
        Declared(vm=one.vm, device=one.device, selector=names.get(one.device, one.device), vmotion=one.vmotion)
        for one in config.attachments.attachments
    )
    return Declaration(devices=declared, whole=config.attachments.whole)
