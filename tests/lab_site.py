"""Start a whole lab for tests: a process of its own, in a temporary home, with a config that speaks of it.

`with Lab.start(tmp_path) as lab:` takes free ports, and next to no time for power, boot and connection. Then
`load_config(lab.config)` is the shipped config/, whose references are found in `lab.home`, and `lab.control` looks into
the lab and disturbs it: `lab.control.unplug("esx-01.lab.example", "0/1/3")`.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from passgate.lab import lifecycle

SHIPPED = Path(__file__).parents[1] / "config"
FAST = {
    "power_seconds": 0.05,
    "boot_seconds": 0.1,
    "reconfigure_seconds": 0.02,
    "connect_seconds": 0.02,
    "reboot_seconds": 0.3,
}
Json = dict[str, Any]


class LabError(Exception):
    """Raised when the lab's control API refuses a request; says why."""


class LabControl:
    """Speak to the lab's control API; paths and words are those of `passgate.lab.control`."""

    def __init__(self, url: str, token: str) -> None:
        # It keeps no connection: the lab closes one that was idle for 5 s, maybe just when it is used again.
        limits, bearer = httpx.Limits(max_keepalive_connections=0), {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=bearer, timeout=30, verify=False, limits=limits)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str) -> Json:
        """Read from the control API."""
        return self._answer(self._http.get(path))

    def post(self, path: str, /, **asked: Any) -> Json:
        """Ask the control API for something."""
        return self._answer(self._http.post(path, json=asked))

    def state(self) -> Json:
        """Return VMs, hosts and their USB devices as they are now."""
        return self.get("/state")

    def vm(self, name: str) -> Json:
        """Return the state of the first VM of that name (or managed object id)."""
        return next(one for one in self.state()["vms"] if name in {one["name"], one["ref"]})

    def host(self, name: str) -> Json:
        """Return the state of that host, named in full or by its first label (`esx-01`)."""
        return next(one for one in self.state()["hosts"] if name in {one["name"], one["name"].split(".")[0]})

    def mutations(self) -> list[Json]:
        """Return every call that asked to change something, oldest first: at, wire, method, object, user, accepted."""
        found: list[Json] = self.get("/mutations")["mutations"]
        return found

    def fault(self, method: str, fault: str = "", **how: Any) -> None:
        """Let the next calls of a method fail; fields are those of `passgate.lab.hardware.Fault`."""
        self.post("/faults", method=method, fault=fault, **how)

    def clear_faults(self) -> None:
        """Forget all faults of vCenter and the shells."""
        self.post("/faults", clear=True)

    def unplug(self, host: str, path: str) -> Json:
        """Pull the USB device at that path out of the host."""
        return self.post("/unplug", host=host, path=path)

    def plug(self, host: str, path: str, **device: Any) -> Json:
        """Put a device back that was pulled out (into another port: `to`), or a new one in."""
        return self.post("/plug", host=host, path=path, **device)

    def arbitrator(self, host: str, *, running: bool) -> Json:
        """Start or stop a host's arbitrator behind Passgate's back."""
        return self.post("/arbitrator", host=host, running=running)

    def log(self, host: str, *lines: str, rotate: bool = False) -> Json:
        """Let a host write lines into its vmkernel.log, into a new file if it is rotated."""
        return self.post("/log", host=host, lines=lines, rotate=rotate)

    def service(self, host: str, service: str, **so: Any) -> Json:
        """Set `running`, `policy`, `lingers` of a host's service; a shell whose `TSM-SSH` does not run refuses."""
        return self.post("/service", host=host, service=service, **so)

    def extra(self, vm: str, key: str, value: str | None) -> Json:
        """Set a line of a VM's extra configuration; None removes it."""
        return self.post("/extra", vm=vm, key=key, value=value)

    def set_vm(self, vm: str, **fields: Any) -> Json:
        """Set power, question, template, fault_tolerance ... of a VM, as somebody else's change would."""
        return self.post("/vm", vm=vm, **fields)

    def set_host(self, host: str, **fields: Any) -> Json:
        """Set maintenance, connection, version, dpm of a host, as somebody else's change would."""
        return self.post("/host", host=host, **fields)

    def passthrough(self, host: str, **how: Any) -> Json:
        """Set what a host can pass through; somebody may `enable` or `disable` functions, in effect if `live`."""
        return self.post("/passthrough", host=host, **how)

    def function(self, vm: str, function: str, **extra: str) -> Json:
        """Let a VM have a function of its host in its configuration, with lines of extra configuration."""
        return self.post("/function", vm=vm, function=function, extra=extra)

    def snapshot(self, vm: str, name: str, *, memory: bool = False) -> Json:
        """Let a VM have a snapshot."""
        return self.post("/snapshot", vm=vm, name=name, memory=memory)

    def schedule(self, vm: str, name: str, method: str) -> Json:
        """Let vCenter have a scheduled task for a VM; `method` is the WSDL name of what it does."""
        return self.post("/schedule", vm=vm, name=name, method=method)

    def tag(self, *tags: str, **on: str) -> Json:
        """Let a VM (`vm=`) or host (`host=`) bear these vSphere tags, written `Category/Name`, and no others."""
        return self.post("/tag", tags=list(tags), **on)

    def dpm(self, *, on: bool) -> None:
        """Set whether the cluster powers idle hosts off."""
        self.post("/cluster", dpm=on)

    def attach(self, vm: str, host: str, path: str, *, local: bool = False) -> Json:
        """Give a VM a USB device of a host behind Passgate's back, with vMotion support unless local.

        A VM that is on has it when this returns: what is planned before would be another plan.
        """
        attached = self.post("/attach", vm=vm, host=host, path=path, local=local)
        if self.vm(vm)["power"] == "poweredOn":
            self.settle(vm)
        return attached

    def drs(self, vm: str, behavior: str | None = None, **how: Any) -> None:
        """Override DRS for a VM; without a behavior, take the override away."""
        self.post("/drs", vm=vm, behavior=behavior, **how)

    def reboot(self, host: str) -> Json:
        """Reboot a host behind Passgate's back; what runs on it goes down."""
        return self.post("/reboot", host=host)

    def standby(self, host: str, *, on: bool = False) -> Json:
        """Let power management switch an idle host off, or on again."""
        return self.post("/standby", host=host, on=on)

    def clock(self, *, ahead: float) -> None:
        """Let vCenter's clock be so many seconds ahead of the true time."""
        self.post("/clock", seconds=ahead)

    def rename_vm(self, vm: str, name: str) -> Json:
        """Give a VM another name."""
        return self.post("/rename-vm", vm=vm, name=name)

    def add_vm(self, name: str, **how: Any) -> Json:
        """Add a VM on `host` with the hardware of `like`."""
        return self.post("/add-vm", name=name, **how)

    def slack(self, act: str, **asked: Any) -> Json:
        """Act in the Slack workspace: click, say, state, faults."""
        return self.post(f"/slack/{act}", **asked)

    def settle(self, vm: str) -> Json:
        """Wait until the VM's devices are connected, and its guest has found them."""
        deadline = time.monotonic() + 30
        while True:
            state = self.vm(vm)
            if all(one["connected"] or not one["device"] for one in state["usb"]):
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.01)

    def guest(self, vm: str, path: str, act: str, **how: Any) -> Json:
        """Act inside a guest on the disk at that path: mount, unmount, hold, let-go (passgate.lab.guest_control)."""
        return self.post("/guest", vm=vm, path=path, act=act, **how)

    def expire_sessions(self) -> None:
        """Let all vCenter sessions expire: their next call is refused as not logged in."""
        self.post("/expire")

    def reset(self) -> None:
        """Put the world back as it was at the start, and forget faults and mutations."""
        self.post("/reset")

    @staticmethod
    def _answer(response: httpx.Response) -> Json:
        answer: Json = response.json()
        if response.is_error:
            raise LabError(answer["error"])
        return answer


@dataclass(frozen=True)
class Lab:
    """A lab that runs in a process of its own. `home` is a Passgate home, `config` a config folder for it."""

    home: Path
    config: Path
    control: LabControl
    status: lifecycle.LabStatus

    @classmethod
    def start(cls, home: Path, *, fast: bool = True) -> Self:
        """Start a lab in that home; `fast` lets power operations, boots and connections take next to no time."""
        config = home / "config"
        shutil.copytree(SHIPPED, config, dirs_exist_ok=True)
        if fast:
            text = "".join(f"{name}: {seconds}\n" for name, seconds in FAST.items())
            (config / "lab.yaml").write_text(text, encoding="utf-8")
        status = lifecycle.start(home, config)
        token = (home / "lab/control.token").read_text(encoding="utf-8").strip()
        return cls(home, config, LabControl(status.control, token), status)

    def read(self, name: str) -> str:
        """Return what one of the lab's files below home/lab says."""
        return (self.home / "lab" / name).read_text(encoding="utf-8").removesuffix("\n")

    def stop(self) -> None:
        """Stop the lab."""
        self.control.close()
        lifecycle.stop(self.home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
