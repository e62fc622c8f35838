"""Measure the census: on a lab of many hosts that take their time, side by side and one by one, and on paper.

    python -m benchmarks.census [--hosts 60] [--rounds 5] [--paper 5000]

The peer of a census side by side is the loop that scripts are made of (PowerCLI, govc): one host after the other. Both
read the same lab through the same connectors, in the same run; the ratio is taken pair by pair. Each host takes a
quarter of a second for its devices and as long for its shell, as hosts over a network do; without that, two processors
that both play the lab and read it would be all that is measured. On paper: the judging of a whole estate in memory.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.figures import Spread, ratios
from passgate.connect.esxi_shell.shell import EsxiShell
from passgate.connect.esxi_shell.wire import ShellAccess
from passgate.connect.vsphere.session import Session
from passgate.engine.survey import Survey
from passgate.lab import lifecycle
from passgate.model.census import EstateReading, HostReading, take_census
from passgate.model.inventory import Arbitrator, Host, HostId, HostUsbDevice, Power, Vm, VmUsbDevice

OUT = Path(__file__).parent / "out" / "census.json"
SLOWNESS = 0.25
"""Seconds that a host takes for each of the two questions."""
AT_ONCE = 16
"""Passgate's default of `hosts_at_once`."""
DEVICES, VMS = 4, 10
"""USB devices and VMs of each host on paper."""


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.census", description=__doc__)
    parser.add_argument("--hosts", type=int, default=60, help="hosts of the lab, 4 to 203")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--paper", type=int, default=5000, help="hosts on paper")
    asked = parser.parse_args(given)
    told = {"lab": on_lab(asked.hosts, asked.rounds), "paper": on_paper(asked.paper, asked.rounds)}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=2))
    return 0


def on_lab(hosts: int, rounds: int) -> dict[str, Any]:
    """Take the census of a lab of so many slow hosts, side by side and one by one."""
    side, single, calls = list[float](), list[float](), 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(Path(__file__).parents[1] / "config", home / "config")
        with (home / "config/lab.yaml").open("a", encoding="utf-8") as file:
            file.write(f"more_hosts: {hosts - 3}\n")
        status = lifecycle.start(home, home / "config")
        try:
            bearer = {"Authorization": f"Bearer {_lab(home, 'control.token')}"}
            with httpx.Client(base_url=status.control, headers=bearer) as control:
                for method in ("QueryConfigTarget", "ssh:exec"):
                    fault = {"method": method, "delay": SLOWNESS, "times": 10**9}
                    control.post("/faults", json=fault).raise_for_status()
                for _ in range(rounds):
                    before = _requests(control)
                    side.append(_turn(home, hosts, AT_ONCE))
                    calls = _requests(control) - before
                    single.append(_turn(home, hosts, 1))
        finally:
            lifecycle.stop(home)
    return {
        "hosts": hosts,
        "seconds_side_by_side": Spread.of(side).as_data(),
        "seconds_one_by_one": Spread.of(single).as_data(),
        "one_by_one_over_side_by_side": Spread.of(ratios(single, side)).as_data(),
        "requests_to_vcenter": calls,
    }


def on_paper(hosts: int, rounds: int) -> dict[str, Any]:
    """Judge an estate of so many hosts in memory."""
    estate = synthetic(hosts)
    seconds: list[float] = []
    rows = 0
    for _ in range(rounds):
        began = time.process_time()
        census = take_census(estate)
        table = census.table()
        seconds.append(time.process_time() - began)
        rows = len(table.rows)
    return {
        "hosts": hosts,
        "vms": len(estate.vms),
        "rows": rows,
        "against_config": sum(bool(row.against_config) for row in census.rows),
        "processor_seconds": Spread.of(seconds).as_data(),
        "csv_mb": round(len(table.as_csv()) / 1e6, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def synthetic(count: int) -> EstateReading:
    """Return an estate of so many hosts: one host in a hundred can't be read, one entry in ten is astray."""
    dice = random.Random(1)  # noqa: S311 - the same estate each time, nothing secret
    hosts: list[Host] = []
    vms: list[Vm] = []
    for number in range(count):
        host = HostId(ref=f"host-{number}", name=f"esx-{number:05}.example", uuid=f"{number:032x}")
        entries = {f"vm-{number}-{at}": f"0/1/{at + 1}" for at in range(DEVICES - 1)}
        usb = tuple(
            HostUsbDevice(
                host=host, vendor=0x0529, product=1 + at % 3, path=f"0/1/{at + 1}", name="Aladdin HASP HL",
                serial=f"{number:05}{at}", offered=True,
                used_by=f"vm-{number}-{at}" if at < DEVICES - 1 else None,
            )
            for at in range(DEVICES)
        )  # fmt: skip
        for at in range(VMS):
            ref = f"vm-{number}-{at}"
            path = "0/9/9" if dice.random() < 0.1 else entries.get(ref)
            usb_of = (VmUsbDevice(key=41000, pattern=f"path:{path}", connected=True),) if ref in entries else ()
            vms.append(Vm(ref=ref, name=ref, uuid=ref, host=host, power=Power.ON, usb=usb_of, change_version="1"))
        hosts.append(Host(**host.model_dump(), arbitrator=Arbitrator.RUNNING, usb=usb))
    readings = tuple(
        HostReading(host=host, failed="no answer in 30 s" if at % 100 == 0 else None) for at, host in enumerate(hosts)
    )
    return EstateReading(read_at=datetime.now(UTC), readings=readings, hosts=tuple(hosts), vms=tuple(vms))


def _turn(home: Path, hosts: int, at_once: int) -> float:
    access = ShellAccess(
        user="root",
        key=_lab(home, "ssh_key"),
        known_hosts=_lab(home, "known_hosts"),
        addresses=json.loads(_lab(home, "shells.json")),
    )
    user, password, ca = (_lab(home, name) for name in ("vcenter.user", "vcenter.password", "ca.pem"))
    with Session(_lab(home, "vcenter.url"), user=user, password=lambda: password, ca=ca) as session:
        survey = Survey(session, EsxiShell(access), at_once)
        began = time.perf_counter()
        census = take_census(survey.read())
        took = time.perf_counter() - began
        survey.close()
    if (census.hosts, census.unread) != (hosts, 0):
        raise RuntimeError(f"no figure for a census that is not whole: {census.summary}")
    return took


def _requests(control: httpx.Client) -> int:
    counts: dict[str, int] = control.get("/calls").json()["calls"]
    return sum(counts.values())


def _lab(home: Path, name: str) -> str:
    return (home / "lab" / name).read_text(encoding="utf-8").removesuffix("\n")


if __name__ == "__main__":
    sys.exit(main())
