"""Give a simulated host its tools: lsusb, esxcli, chkconfig, init scripts and the few that operators pipe them into."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from passgate.lab import esxi_output, smartcards
from passgate.lab.esxi_files import FileTools
from passgate.lab.esxi_shell import Output, Tool, run
from passgate.lab.hardware import HostUsb, LabHost
from passgate.lab.world import World

FORMATTERS = ("json", "csv", "xml", "keyvalue")
USAGE = 1
NC_WORDS = 5
"""Exit status of ESXi's tools for words that they don't know."""


class HostTools:
    """The tools of one host; every mutating one is recorded in the world's log of mutations."""

    def __init__(self, world: World, host: LabHost, user: str) -> None:
        self._world = world
        self._host = host
        self._user = user
        self._files = FileTools(world, host, self._record)
        self._esxcli: dict[str, Callable[[list[str], str], Output]] = {
            "hardware usb passthrough device list": self._passthrough_list,
            "hardware usb passthrough device enable": lambda words, _: self._passthrough_set(words, enable=True),
            "hardware usb passthrough device disable": lambda words, _: self._passthrough_set(words, enable=False),
            "system uuid get": lambda _, __: Output(f"{host.uuid}\n"),
            "system version get": self._version,
            "storage core device list": self._disks,
        }

    def run(self, line: str, stdin: Callable[[], str] = str) -> Output:
        """Run a command line with these tools; `stdin` is asked for what a client sends, by what reads it."""
        return run(line, self.all(), write=self._files.write, stdin=stdin)

    def all(self) -> dict[str, Tool]:
        """Return the tools by the names under which a shell finds them."""
        return {
            **self._files.all(),
            "lsusb": self._lsusb,
            "lspci": self._lspci,
            "esxcli": self._run_esxcli,
            "localcli": self._run_esxcli,
            "chkconfig": self._chkconfig,
            "/etc/init.d/usbarbitrator": self._usbarbitrator,
            "/etc/init.d/pcscd": self._pcscd,
            "ps": self._ps,
            "nc": self._nc,
            "grep": grep,
            "egrep": grep,
            "echo": echo,
            "true": lambda _, __: Output(),
            "false": lambda _, __: Output(status=1),
            "hostname": lambda _, __: Output(f"{self._host.name}\n"),
            "vmware": lambda _, __: Output(f"VMware ESXi {self._host.version} build-{self._host.build}\n"),
        }

    # -- USB -----------------------------------------------------------------------------------------------------

    def _usb(self) -> list[HostUsb]:
        """Return the buses' root hubs and what is plugged in, as lsusb orders them."""
        with self._world.lock:
            plugged = list(self._host.own_usb)
            state = self._host.passthrough
            mine = [one for one in self._host.pci if one.id not in state.active]
        roots = [_root_hub(bus, one.id if state.names_buses else None) for one in mine for bus in one.buses]
        return sorted([*roots, *plugged], key=lambda one: (one.bus, one.dev))

    def _lsusb(self, words: list[str], _: str) -> Output:
        known = {"": esxi_output.lsusb, "-v": esxi_output.lsusb_verbose, "-t": esxi_output.lsusb_tree}
        show = known.get(" ".join(words))
        if show is None:
            return Output("", "Usage: lsusb [options]...\nList USB devices\n", USAGE)
        return Output(show(self._usb()))

    def _passthrough_rows(self) -> list[esxi_output.Row]:
        """Return what the arbitrator may offer; hubs, keyboards and the boot device are filtered, and kept readers."""
        with self._world.lock:
            running = self._host.arbitrator_running
            return [
                {
                    "Bus": one.bus,
                    "Dev": one.dev,
                    "VendorId": f"{one.vendor:x}",
                    "ProductId": f"{one.product:x}",
                    "Enabled": running and one.passthrough,
                    "Can Connect to VM": _can_connect(one, running=running),
                    "Name": one.name,
                }
                for one in self._host.own_usb
                if one.offered and not smartcards.is_kept(self._host, one)
            ]

    def _passthrough_list(self, _: list[str], formatter: str) -> Output:
        rows = self._passthrough_rows()
        return Output(
            esxi_output.formatted(rows, formatter, kind="PassthroughDevice") if formatter else esxi_output.table(rows)
        )

    def _passthrough_set(self, words: list[str], *, enable: bool) -> Output:
        device = re.sub(r"^(-d|--device)[ =]", "", " ".join(words))
        with self._world.lock:
            names = {
                f"{one.bus}:{one.dev}:{one.vendor:x}:{one.product:x}": one for one in self._host.own_usb if one.offered
            }
            found = names.get(device)
            verb = "enable" if enable else "disable"
            self._record(f"esxcli hardware usb passthrough device {verb} -d {device}", accepted=found is not None)
            if found is None:
                return Output("", f"Unable to {verb} passthrough: no such device {device}\n", USAGE)
            found.passthrough = enable
            self._world.changed()
        return Output()

    # -- network -------------------------------------------------------------------------------------------------

    def _nc(self, words: list[str], _: str) -> Output:
        """Try a connection, as `nc -z -w SECONDS ADDRESS PORT` does; hosts of the lab answer on 443 and 902."""
        if len(words) != NC_WORDS or words[:2] != ["-z", "-w"] or not words[2].isdecimal():
            return Output("", "usage: nc -z -w timeout host port\n", USAGE)
        address, port = words[3:]
        with self._world.lock:
            there = next((one for one in self._world.hosts if one.ip == address and one.power == "poweredOn"), None)
            opened = there is not None and (port == "443" or (port == "902" and there.answers_902))
        if not opened:
            return Output("", "", USAGE)
        return Output(f"Connection to {address} {port} port [tcp/*] succeeded!\n")

    # -- services ------------------------------------------------------------------------------------------------

    def _usbarbitrator(self, words: list[str], _: str) -> Output:
        verb = " ".join(words)
        world, host = self._world, self._host
        if verb == "status":
            return Output(f"usbarbitrator is {'running' if host.arbitrator_running else 'stopped'}\n")
        if verb not in {"start", "stop", "restart"}:
            return Output("", "Usage: usbarbitrator {start|stop|restart|status}\n", USAGE)
        self._record(f"/etc/init.d/usbarbitrator {verb}")
        said = ""
        if verb in {"stop", "restart"}:
            world.stop_arbitrator(host)
            said += "stopping usbarbitrator...\nusbarbitrator stopped\n"
        if verb in {"start", "restart"}:
            world.start_arbitrator(host)
            said += "usbarbitrator started\n"
        return Output(said)

    def _pcscd(self, words: list[str], _: str) -> Output:
        verb, service = " ".join(words), self._host.services["pcscd"]
        if verb == "status":
            return Output(f"pcscd is {'running' if service.running else 'stopped'}\n")
        if verb not in {"start", "stop"}:
            return Output("", "Usage: pcscd {start|stop|status}\n", USAGE)
        self._record(f"/etc/init.d/pcscd {verb}")
        with self._world.lock:
            service.running = verb == "start"
            self._world.changed()
        return Output(f"pcscd {'started' if verb == 'start' else 'stopped'}\n")

    def _chkconfig(self, words: list[str], _: str) -> Output:
        with self._world.lock:
            autostart = {"usbarbitrator": self._host.arbitrator_autostart}
            autostart |= {key: one.policy == "on" for key, one in self._host.services.items()}
            if words == ["--list"]:
                return Output("".join(_autostart(name, on=on) for name, on in sorted(autostart.items())))
            match words:
                case [name, *rest] if name not in autostart:
                    return Output("", f"Service '{name}' does not exist: {' '.join(rest)}\n", USAGE)
                case [name] | [name, "--list"]:
                    return Output(_autostart(name, on=autostart[name]))
                case [name, ("on" | "off") as wanted]:
                    self._record(f"chkconfig {name} {wanted}")
                    if name == "usbarbitrator":
                        self._host.arbitrator_autostart = wanted == "on"
                    else:
                        self._host.services[name].policy = wanted
                    self._world.changed()
                    return Output()
        return Output("", "Usage: chkconfig [--list] | name [--list|on|off]\n", USAGE)

    def _ps(self, _: list[str], __: str) -> Output:
        running = ["hostd", "vpxa"]
        running += ["usbarbitrator"] if self._host.arbitrator_running else []
        pcscd = self._host.services["pcscd"]
        running += ["pcscd"] if pcscd.running or pcscd.lingers else []
        lines = [f"{2098838 + at}  {2098838 + at}  {name:24}  {name}" for at, name in enumerate(running)]
        return Output("\n".join(["WID      CID      World Name                Command", *lines]) + "\n")

    # -- the host ------------------------------------------------------------------------------------------------

    def _run_esxcli(self, words: list[str], _: str) -> Output:
        formatter = ""
        if words and words[0].startswith("--formatter="):
            formatter = words[0].partition("=")[2]
            words = words[1:]
            if formatter not in FORMATTERS:
                return Output("", f"Error: Invalid value for option --formatter: {formatter}\n", USAGE)
        for count in range(len(words), 0, -1):
            command = self._esxcli.get(" ".join(words[:count]))
            if command:
                return command(words[count:], formatter)
        return Output("", f"Error: Unknown command or namespace {' '.join(words)}\n", USAGE)

    def _version(self, _: list[str], formatter: str) -> Output:
        rows = [
            {
                "Product": "VMware ESXi",
                "Version": self._host.version,
                "Build": f"Releasebuild-{self._host.build}",
                "Update": self._host.version.rpartition(".")[2],
                "Patch": "0",
            }
        ]
        if formatter:
            return Output(esxi_output.formatted(rows, formatter, kind="VersionGet", one=True))
        return Output(esxi_output.stanzas(rows))

    def _disks(self, _: list[str], formatter: str) -> Output:
        """List the system disk and the USB disks that vmkernel holds: the boot stick, and all without an arbitrator."""
        with self._world.lock:
            sticks = [
                one
                for one in self._host.own_usb
                if "storage" in one.families and (one.boot or not (self._host.arbitrator_running and one.passthrough))
            ]
        boots_from_usb = any(one.boot for one in sticks)
        rows = [_disk("t10.NVMe____SAMSUNG_MZVLB512", "NVMe", "SAMSUNG MZVLB512", boot=not boots_from_usb)]
        for number, one in enumerate(sticks, start=32):
            maker, _space, model = one.name.partition(" ")
            rows.append(_disk(f"mpx.vmhba{number}:C0:T0:L0", maker[:8], model[:16], usb=True, boot=one.boot))
        if formatter:
            return Output(esxi_output.formatted(rows, formatter, kind="ScsiDevice"))
        return Output(esxi_output.stanzas(rows, title="Device"))

    def _lspci(self, _: list[str], __: str) -> Output:
        return Output("".join(f"{esxi_output.pci_line(one)}\n" for one in self._host.pci))

    def _record(self, line: str, *, accepted: bool = True) -> None:
        self._world.record("ssh", line, self._host.name, self._user, accepted=accepted)


class _GrepArguments(argparse.ArgumentParser):
    """Read grep's arguments; an error is grep's own, not an end of this process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


_GREP = _GrepArguments(prog="grep", add_help=False)
_GREP.add_argument("-e", dest="patterns", action="append", default=[])
for _flag in ("-i", "-v", "-E", "-q", "-c"):
    _GREP.add_argument(_flag, dest=_flag[1], action="store_true")
_GREP.add_argument("words", nargs="*")


def grep(words: Sequence[str], text: str) -> Output:
    """Return the lines that match any of the patterns; status 1 when none does."""
    try:
        asked = _GREP.parse_args(list(words))
        patterns = asked.patterns or [asked.words.pop(0)]
        found = [re.compile(one, re.IGNORECASE if asked.i else 0) for one in patterns]
    except (ValueError, IndexError, re.error):
        return Output("", "Usage: grep [-ivEqc] PATTERN\n", 2)
    lines = [line for line in text.splitlines() if any(one.search(line) for one in found) is not asked.v]
    out = f"{len(lines)}\n" if asked.c else "".join(f"{line}\n" for line in lines)
    return Output("" if asked.q else out, "", 0 if lines else 1)


def echo(words: Sequence[str], _: str) -> Output:
    """Write the words."""
    return Output(" ".join(words[1:])) if words[:1] == ["-n"] else Output(" ".join(words) + "\n")


def _root_hub(bus: int, controller: str | None) -> HostUsb:
    """Return a bus's own hub; its serial is the controller's PCI address, as usbutils prints it (reference 2.5)."""
    return HostUsb(
        0x0E0F, 0x8003 if bus == 1 else 0x8002, "VMware, Inc. Root Hub", f"0/{bus}", controller, bus, 1, ("hub",),
        offered=False,
    )  # fmt: skip


def _can_connect(one: HostUsb, *, running: bool) -> str:
    if not running:
        return "no (usbarbitrator is not running)"
    return "yes (passthrough enabled)" if one.passthrough else "no (passthrough disabled)"


def _autostart(name: str, *, on: bool) -> str:
    return f"{name:24}{'on' if on else 'off'}\n"


def _disk(name: str, vendor: str, model: str, *, usb: bool = False, boot: bool = False) -> dict[str, object]:
    return {
        "Device": name,
        "Display Name": f"Local {'USB' if usb else vendor} Direct-Access ({name})",
        "Device Type": "Direct-Access",
        "Vendor": vendor,
        "Model": model,
        "Is Local": True,
        "Is Removable": usb,
        "Is Boot Device": boot,
        "Is USB": usb,
        "Is Boot USB Device": usb and boot,
    }
