"""Let tests and the demo look into the lab and disturb it, over HTTP with a bearer token.

    GET  /state        VMs, hosts and their USB devices as they are now
    GET  /mutations    every call over any wire that asked to change something, oldest first
    GET  /calls        how many requests vCenter got since the start, by method; a peer's share is a difference of two
    POST /faults       the fields of hardware.Fault; {"clear": true} forgets all
    POST /unplug       {"host", "path"}                  pull a USB device out
    POST /plug         {"host", "path", ...}             put one back (into another port with "to"), or a new one in
    POST /arbitrator   {"host", "running", "autostart"}
    POST /service      {"host", "service", "running", "policy", "lingers"}  TSM-SSH not running: the shell refuses
    POST /log          {"host", "lines", "rotate"}   let a host write lines into its vmkernel.log, or begin a new file
    POST /extra        {"vm", "key", "value"}            set a line of the VM's extra configuration; null removes it
    POST /file         {"path", "text"}                  put a file on the datastore, in place of the one that is there
    GET  /files        the files that were put beside those of the VMs, and the text of each VM's VMX file
    POST /host         {"host", ...}                     set maintenance, connection, version, dpm, name and the like
    POST /reboot       {"host"}                          somebody reboots the host, without asking anybody
    POST /standby      {"host", "on"}                    let power management switch an idle host off, or on again
    POST /cluster      {"dpm", "drs", "behavior"}        what DRS and power management may do by themselves
    POST /drs          {"vm", "behavior", "enabled"}     override DRS for a VM; no behavior: take the override away
    POST /clock        {"seconds"}                       let vCenter's clock be so far ahead (or behind)
    POST /vm           {"vm", ...}                       set power, question, template, host and the like
    POST /guest        {"vm", "path", "act", ...}        act inside a guest: see guest_control.py
    POST /attach       {"vm", "host", "path", "local"}   give a VM a USB device, with vMotion support unless local
    POST /rename-vm    {"vm", "name"}                    any name, duplicates and hostile ones too
    POST /add-vm       {"name", "host", "like"}          a new VM with the hardware of another one, without its devices
    POST /passthrough  {"host", ...}                     set iommu, rebinds_live, forgets, names_buses, system_id; let
                                                         somebody "enable" or "disable" functions, in effect if "live"
    POST /function     {"vm", "function", "extra"}       let a VM have a function of its host in its configuration
    POST /snapshot     {"vm", "name", "memory"}          let a VM have a snapshot
    POST /schedule     {"vm", "name", "method"}          let vCenter have a scheduled task for a VM
    POST /tag          {"vm" or "host", "tags"}          let a VM or host bear these vSphere tags, as Category/Name
    POST /expire       {}                                let all vCenter sessions expire
    POST /slack/{act}  act as a person (click, say, ...), see the workspace (state), order faults (faults)
    POST /reset        put the world back as it was at the start, and forget faults and mutations

An answer is JSON; a request that can't be carried out gets status 409 (or 400) and `{"error": why}`.
"""

from __future__ import annotations

import copy
import hmac
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from passgate.lab import guest_control, pci_control
from passgate.lab.cluster import DrsOverride
from passgate.lab.hardware import Fault, HostUsb, LabHost, LabVm, VirtualPci, VirtualUsb
from passgate.lab.inventory_seed import seeded_world, usb_controller
from passgate.lab.reboot import power_down_idle, power_up, restart
from passgate.lab.slack import ActError, SlackServer
from passgate.lab.vcenter import VCenterServer
from passgate.lab.vmfs import written
from passgate.lab.world import World

Json = dict[str, Any]
START_TIME = 10.0
VM_FIELDS = frozenset({
    "annotation", "blind", "connection", "cpu_hot_add", "fault_tolerance", "ft_role", "hardware_version", "hot_add",
    "hot_remove", "local_datastore", "memory_hot_add", "memory_locked", "memory_mb", "memory_reservation_mb",
    "pci_hot_plug", "power", "question", "template", "tools_installed",
})  # fmt: skip
HOST_FIELDS = frozenset({
    "answers_902", "connection", "dpm", "maintenance", "memory_mb", "name", "reboot_required", "version",
})  # fmt: skip
CLUSTER_FIELDS = frozenset({"behavior", "dpm", "drs"})
"""What POST /vm, POST /host and POST /cluster may set."""


class Control:
    """Carry out what the control API is asked, on the world and on Slack."""

    def __init__(self, world: World, slack: SlackServer, vcenter: VCenterServer) -> None:
        self._world = world
        self._vcenter = vcenter
        self._slack = slack
        self._pulled: dict[tuple[str, str], HostUsb] = {}

    def state(self, _: Json) -> Json:
        """Return VMs, hosts and their USB devices as they are now."""
        world = self._world
        with world.lock:
            return {
                "version": world.version,
                "pulled": [asdict(one) for one in world.pulled],
                "vms": [_vm_state(world, vm) for vm in world.vms],
                "hosts": [_host_state(world, host) for host in world.hosts],
            }

    def mutations(self, _: Json) -> Json:
        """Return every call that asked to change something."""
        with self._world.lock:
            return {"mutations": [{**asdict(one), "at": one.at.isoformat()} for one in self._world.mutations]}

    def calls(self, _: Json) -> Json:
        """Return how many requests vCenter got since the start."""
        return {"calls": self._vcenter.requests()}

    def faults(self, asked: Json) -> Json:
        """Order a fault, or forget all."""
        if asked.get("clear"):
            self._world.clear_faults()
        else:
            self._world.inject(Fault(**asked))
        return {}

    def unplug(self, asked: Json) -> Json:
        """Pull a USB device out, and remember it so that it can be put back."""
        host = self._world.host(asked["host"])
        device = self._world.unplug(host, asked["path"])
        self._pulled[host.name, device.path] = device
        return _usb_state(device)

    def plug(self, asked: Json) -> Json:
        """Put a device back that was pulled out, into another port if asked, or a new one in."""
        host, path = self._world.host(asked["host"]), str(asked["path"]).removeprefix("path:")
        device = self._pulled.pop((host.name, path), None)
        if device is None:
            fields: Json = {key: value for key, value in asked.items() if key not in {"host", "to", "path"}}
            fields.update({key: tuple(fields[key]) for key in ("families", "speeds") if key in fields})
            device = HostUsb(path=path, **fields)
        self._world.plug(host, device, asked.get("to"))
        return _usb_state(device)

    def arbitrator(self, asked: Json) -> Json:
        """Start or stop a host's arbitrator, or set whether it starts at boot."""
        host = self._world.host(asked["host"])
        if "autostart" in asked:
            host.arbitrator_autostart = bool(asked["autostart"])
        if "running" in asked:
            (self._world.start_arbitrator if asked["running"] else self._world.stop_arbitrator)(host)
        return _host_state(self._world, host)

    def log(self, asked: Json) -> Json:
        """Let a host's vmkernel.log be rotated, and write lines into it."""
        host = self._world.host(asked["host"])
        with self._world.lock:
            if asked.get("rotate"):
                host.log.rotate()
            for line in asked.get("lines", ()):
                host.log.write(str(line))
            self._world.changed()
        return {"written": host.log.written}

    def service(self, asked: Json) -> Json:
        """Start or stop a host's service."""
        with self._world.lock:
            service = self._world.host(asked["host"]).services[asked["service"]]
            service.running = bool(asked.get("running", service.running))
            service.policy = str(asked.get("policy", service.policy))
            service.lingers = bool(asked.get("lingers", service.lingers))
            self._world.changed()
        return {"running": service.running, "policy": service.policy}

    def extra(self, asked: Json) -> Json:
        """Set a line of a VM's extra configuration, as somebody else's change would."""
        vm = self._world.vm(asked["vm"])
        with self._world.lock:
            vm.extra_config.pop(asked["key"], None)
            if asked["value"] is not None:
                vm.extra_config[asked["key"]] = str(asked["value"])
            vm.vmx_file = None
            self._world.touch(vm)
            return _vm_state(self._world, vm)

    def file(self, asked: Json) -> Json:
        """Put a file on the datastore, as somebody at the shell could."""
        with self._world.lock:
            if not self._world.datastore.write(asked["path"], str(asked["text"]).encode()):
                raise LookupError(f"No folder of the datastore takes {asked['path']}.")
            self._world.changed()
        return {}

    def files(self, _: Json) -> Json:
        """Return the names of the datastore's other files, and each VM's VMX file."""
        with self._world.lock:
            text = {vm.name: written(vm) if vm.vmx_file is None else vm.vmx_file for vm in self._world.vms}
            return {
                "others": self._world.datastore.names(),
                "vmx": {name: content.decode("utf-8", "replace") for name, content in text.items()},
            }

    def vm(self, asked: Json) -> Json:
        """Set fields of a VM, as somebody else's change would."""
        vm = self._world.vm(asked["vm"])
        wanted = _settable({key: value for key, value in asked.items() if key != "host"}, "vm", VM_FIELDS)
        with self._world.lock:
            if "host" in asked:
                self._world.migrate(vm, self._world.host(asked["host"]))
            if "power" in wanted:
                self._world.set_power(vm, wanted.pop("power"))
            vars(vm).update(wanted)
            self._world.touch(vm)
            return _vm_state(self._world, vm)

    def host(self, asked: Json) -> Json:
        """Set fields of a host, as somebody else's change would."""
        host = self._world.host(asked["host"])
        with self._world.lock:
            vars(host).update(_settable(asked, "host", HOST_FIELDS))
            self._world.changed()
            return _host_state(self._world, host)

    def cluster(self, asked: Json) -> Json:
        """Set what DRS and power management may do by themselves."""
        with self._world.lock:
            vars(self._world.cluster).update(_settable(asked, "", CLUSTER_FIELDS))
            self._world.changed()
        return {}

    def drs(self, asked: Json) -> Json:
        """Override DRS for a VM, or take the override away."""
        with self._world.lock:
            ref = self._world.vm(asked["vm"]).ref
            self._world.cluster.overrides.pop(ref, None)
            if asked.get("behavior"):
                override = DrsOverride(bool(asked.get("enabled", True)), str(asked["behavior"]))
                self._world.cluster.overrides[ref] = override
            self._world.changed()
        return {}

    def reboot(self, asked: Json) -> Json:
        """Reboot a host as somebody at its console would: whatever runs on it goes down."""
        host = self._world.host(asked["host"])
        restart(self._world, host)
        return _host_state(self._world, host)

    def standby(self, asked: Json) -> Json:
        """Let power management switch an idle host off, or on again."""
        host = self._world.host(asked["host"])
        (power_up if asked.get("on") else power_down_idle)(self._world, host)
        return _host_state(self._world, host)

    def clock(self, asked: Json) -> Json:
        """Let vCenter's clock be so many seconds ahead of the true time."""
        self._world.clock_ahead = timedelta(seconds=float(asked["seconds"]))
        return {}

    def guest(self, asked: Json) -> Json:
        """Act inside a guest as somebody who works there."""
        with self._world.lock:
            vm = self._world.vm(asked["vm"])
            guest_control.act(vm, self._world.guest_device(vm, asked["path"]), asked)
            self._world.changed()
            return _vm_state(self._world, vm)

    def attach(self, asked: Json) -> Json:
        """Give a VM a USB device of a host, as somebody else's change would."""
        vm, host = self._world.vm(asked["vm"]), self._world.host(asked["host"])
        with self._world.lock:
            if not any(one.kind == "xhci" for one in vm.devices):
                vm.devices.append(usb_controller("xhci"))
            key = 41000 + len(vm.usb)
            pattern = f"path:{str(asked['path']).removeprefix('path:')}"
            backing = None if asked.get("local") else host.name
            vm.devices.append(
                VirtualUsb("usb", key, 14000, key, f"USB {len(vm.usb) + 1}", pattern=pattern, hostname=backing)
            )
            self._world.touch(vm)
            return _vm_state(self._world, vm)

    def rename_vm(self, asked: Json) -> Json:
        """Give a VM another name."""
        vm = self._world.vm(asked["vm"])
        with self._world.lock:
            vm.name = str(asked["name"])
            self._world.touch(vm)
            return _vm_state(self._world, vm)

    def add_vm(self, asked: Json) -> Json:
        """Add a VM that is like another one but off and without USB devices."""
        world = self._world
        model = world.vm(asked.get("like", "win-02"))
        with world.lock:
            number = 1 + max(int(vm.ref.rpartition("-")[2]) for vm in world.vms)
            vm = copy.copy(model)
            vm.ref, vm.name, vm.power = f"vm-{number}", str(asked["name"]), "poweredOff"
            vm.uuid, vm.instance_uuid = _numbered(model.uuid, number), _numbered(model.instance_uuid, number)
            vm.devices = [copy.copy(one) for one in model.devices if not isinstance(one, VirtualUsb | VirtualPci)]
            vm.snapshots, vm.schedules = [], []
            vm.extra_config, vm.recent_tasks = dict(model.extra_config), []
            vm.vmx_file, vm.log = None, []
            vm.guest_devices, vm.missed_once = {}, set()
            vm.host = world.host(asked["host"]) if "host" in asked else model.host
            world.vms.append(vm)
            world.touch(vm)
            return _vm_state(world, vm)

    def passthrough(self, asked: Json) -> Json:
        """Set up what a host can pass through, and what it does."""
        return pci_control.set_passthrough(self._world, asked)

    def function(self, asked: Json) -> Json:
        """Let a VM have a function of its host."""
        return pci_control.give_function(self._world, asked)

    def snapshot(self, asked: Json) -> Json:
        """Let a VM have a snapshot."""
        return pci_control.add_snapshot(self._world, asked)

    def schedule(self, asked: Json) -> Json:
        """Let vCenter have a scheduled task for a VM."""
        return pci_control.add_schedule(self._world, asked)

    def tag(self, asked: Json) -> Json:
        """Let a VM or host bear these tags and no others."""
        world = self._world
        with world.lock:
            one = world.vm(asked["vm"]) if "vm" in asked else world.host(asked["host"])
            one.tags[:] = [str(name) for name in asked["tags"]]
            world.changed()
        return {}

    def expire(self, _: Json) -> Json:
        """Let all vCenter sessions expire."""
        self._vcenter.expire_sessions()
        return {}

    def slack(self, asked: Json) -> Json:
        """Pass on to the workspace."""
        kind = asked.pop("act")
        if kind == "state":
            return self._slack.state()
        if kind == "faults":
            self._slack.order(**asked)
            return {}
        return self._slack.act(kind, **asked)

    def reset(self, _: Json) -> Json:
        """Put the world back as it was at the start; its objects stay the same ones, because the wires hold them."""
        world = self._world
        with world.lock:
            world.begin_anew()
            fresh = seeded_world(world.settings)
            fresh.close()
            hosts = {host.ref: host for host in world.hosts}
            vms = {vm.ref: vm for vm in world.vms}
            for host in fresh.hosts:
                vars(hosts[host.ref]).update(vars(host))
            for vm in fresh.vms:
                vars(vms.setdefault(vm.ref, vm)).update({**vars(vm), "host": hosts[vm.host.ref]})
            world.vms[:] = [vms[vm.ref] for vm in fresh.vms]
            vars(world.cluster).update(vars(fresh.cluster))
            world.clock_ahead = fresh.clock_ahead
            self._pulled.clear()
            world.datastore.clear()
            world.mutations.clear()
            world.pulled.clear()
            world.clear_faults()
            world.changed()
        self._slack.clear_faults()
        return {}


class ControlServer:
    """Serve the control API on loopback, in a thread of its own."""

    def __init__(self, control: Control, token: str) -> None:
        self._token = token
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        routes = [
            Route("/state", self._serve(control.state)),
            Route("/mutations", self._serve(control.mutations)),
            Route("/calls", self._serve(control.calls)),
            Route("/files", self._serve(control.files)),
            Route("/slack/{act}", self._serve(control.slack), methods=["POST"]),
            *(
                Route(f"/{act.__name__.replace('_', '-')}", self._serve(act), methods=["POST"])
                for act in (
                    control.faults, control.unplug, control.plug, control.arbitrator, control.service, control.vm,
                    control.host, control.cluster, control.drs, control.reboot, control.standby, control.attach,
                    control.clock, control.expire, control.guest, control.passthrough, control.function,
                    control.snapshot, control.schedule, control.tag, control.rename_vm, control.add_vm, control.reset,
                    control.extra, control.file, control.log,
                )
            ),
        ]  # fmt: skip
        guard = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        app = Starlette(routes=routes, middleware=[guard])
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=2)
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._listener],), name="lab-control", daemon=True
        )

    def start(self) -> None:
        """Listen, and return when the server answers."""
        self._thread.start()
        deadline = time.monotonic() + START_TIME
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the lab's control API did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop answering."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(START_TIME)
        self._listener.close()

    def _serve(self, act: Callable[[Json], Json]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return JSONResponse({"error": "send the lab's control token as a bearer"}, status_code=403)
            try:
                body = await request.body()
                asked = {**(json.loads(body) if body else {}), **request.path_params}
                # In a thread: the world's lock may be held for a while, and Slack answers on a loop of its own.
                return JSONResponse(await run_in_threadpool(act, asked))
            except KeyError as error:
                return JSONResponse({"error": f"{error} was not given, or does not exist"}, status_code=400)
            except (LookupError, ActError) as error:
                return JSONResponse({"error": " ".join(map(str, error.args))}, status_code=409)
            except (ValueError, TypeError) as error:
                return JSONResponse({"error": f"that can't be read: {error}"}, status_code=400)

        return serve


def _settable(asked: Json, who: str, fields: frozenset[str]) -> Json:
    wanted = {key: value for key, value in asked.items() if key != who}
    if strangers := wanted.keys() - fields:
        raise ValueError(f"{', '.join(sorted(strangers))} can't be set; these can: {', '.join(sorted(fields))}")
    return wanted


def _numbered(uuid: str, number: int) -> str:
    return f"{uuid[:-4]}{number:04x}"


def _usb_state(one: HostUsb) -> Json:
    return {**asdict(one), "id": f"{one.vendor:04x}:{one.product:04x}", "families": list(one.families)}


def _vm_state(world: World, vm: LabVm) -> Json:
    return {
        "ref": vm.ref,
        "name": vm.name,
        "uuid": vm.instance_uuid,
        "host": vm.host.name,
        "power": vm.power,
        "tools_running": world.tools_running(vm),
        "hardware_version": vm.hardware_version,
        **pci_control.vm_state(vm),
        "controllers": [one.kind for one in vm.devices if one.kind in {"xhci", "ehci"}],
        "extra": dict(sorted(vm.extra_config.items())),
        "usb": [
            {
                "key": entry.key,
                "pattern": entry.pattern,
                "hostname": entry.hostname,
                "connected": world.is_connected(entry),
                "device": f"{entry.device.vendor:04x}:{entry.device.product:04x}" if entry.device else None,
                "serial": entry.device.serial if entry.device else None,
            }
            for entry in vm.usb
        ],
        "cpus": vm.cpus,
        "memory_mb": vm.memory_mb,
        "guest_usb": [guest_control.state(vm, one) for one in world.guest_devices(vm)],
    }


def _host_state(world: World, host: LabHost) -> Json:
    users = {id(offer.device): offer.user.name for offer in world.offered_usb(host) if offer.user}
    return {
        "ref": host.ref,
        "name": host.name,
        "arbitrator": "running" if host.arbitrator_running else "stopped",
        "autostart": host.arbitrator_autostart,
        "services": {one.key: [one.running, one.policy] for one in host.services.values()},
        "connection": host.connection,
        "power": host.power,
        "maintenance": host.maintenance,
        "boot_time": host.boot_time.isoformat(),
        "dpm": host.dpm,
        "reboot_required": host.reboot_required,
        "pci": pci_control.functions(host),
        "usb": [{**_usb_state(one), "used_by": users.get(id(one))} for one in host.usb],
    }
