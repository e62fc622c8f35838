"""Hold the stories that the demo tells: what is asked, who decides where, and what is said about it. Data only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passgate.faces.cli.demo_approvals import APPROVALS
from passgate.faces.cli.demo_schedules import SCHEDULES
from passgate.faces.cli.demo_script import Script

PLAN = "plan"
"""The gate before the first step, at which every plan waits."""


@dataclass(frozen=True)
class Decision:
    """One decision that a change waits for: at which gate, and what is told before it and about what follows."""

    title: str
    words: str
    then: str
    gate: str = PLAN


@dataclass(frozen=True)
class Act:
    """One change: what is wanted, the command line that asks for it, and the decisions that it takes."""

    title: str
    wants: str
    request: str
    decisions: tuple[Decision, ...]

    @property
    def command(self) -> list[str]:
        """Return the words of the command line."""
        return shlex.split(self.request)


@dataclass(frozen=True)
class Story:
    """What one demo shows. `scenery` are calls of the lab's control that put the lab as the story needs it."""

    acts: tuple[Act, ...]
    guest: str
    another: tuple[str, ...]
    script: Script | None = None
    scenery: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    scene: str = ""


STORIES = {
    "usb": Story(
        acts=(
            Act(
                title="Alice asks",
                wants="Alice wants the Verbatim stick of host esx-01 in the Windows VM win-01, with vMotion.",
                request=(
                    "passgate request usb-attach --vm win-01 --device 18a5:0302 --vmotion "
                    '--reason "The nightly backup of win-01 goes to this stick" --ticket CHG0031337'
                ),
                decisions=(
                    Decision(
                        "Somebody else decides",
                        "Passgate has asked in Slack. Alice can't approve her own change; Bob and Carol can.",
                        then="What comes of it, step by step",
                    ),
                ),
            ),
        ),
        guest="Get-PnpDevice and Get-Disk, run inside win-01 through VMware Tools:",
        another=("usb list", "request usb-attach --help"),
    ),
    "pci": Story(
        scenery=(("vm", {"vm": "lnx-01", "host": "esx-02.lab.example"}),),
        scene="Somebody has moved lnx-01 to esx-02, where lic-01 runs with its licence dongle.",
        acts=(
            Act(
                title="Alice asks for the whole USB controller",
                wants=(
                    "The Kingston stick of host esx-02 does not work well when it is passed through alone. Alice wants "
                    "its whole USB controller\nfree for a VM. This host can't take a controller away from itself while "
                    "it runs: it has to be rebooted."
                ),
                request=(
                    "passgate request pci-enable --host esx-02.lab.example --device serial:E0D55EA573F1 --shut-down "
                    '--reason "win-02 needs the Kingston stick at full speed" --ticket CHG0031402'
                ),
                decisions=(
                    Decision(
                        "Somebody else decides on the plan",
                        "The plan names each VM on the host: lnx-01 can move, lic-01 can't, as its dongle is in this "
                        "host.\nAlice can't approve her own change; Bob and Carol can.",
                        then="What comes of it, up to the gate",
                    ),
                    Decision(
                        "Before the host is emptied and rebooted, a third person decides",
                        "The controller is set aside, which takes effect only at a reboot. Now the change waits at its "
                        "second gate,\nand all VMs run on; no process waits. Policy wants other eyes here: who "
                        "approved the plan does not count.\nIf nobody decides, the setting is taken back.",
                        gate="host-reboot",
                        then="The reboot, and everything given back",
                    ),
                ),
            ),
            Act(
                title="Alice asks for the controller in a VM",
                wants="Passthrough of the controller is active now. win-02 is to have it, and the stick behind it.",
                request=(
                    "passgate request pci-attach --vm win-02 --function 1912:0015 --usb 0951:1666 "
                    '--reason "win-02 needs the Kingston stick at full speed" --ticket CHG0031402'
                ),
                decisions=(
                    Decision(
                        "Somebody else decides",
                        "The plan says aloud what win-02 loses by it: no suspend, no vMotion, no snapshots.",
                        then="What comes of it, step by step",
                    ),
                ),
            ),
        ),
        guest="Get-PnpDevice and Get-Disk, run inside win-02 through VMware Tools:",
        another=("usb list", "request pci-detach --help"),
    ),
    "approvals": Story(acts=(), guest="", another=("list", "plan usb-attach --help"), script=APPROVALS),
    "schedules": Story(acts=(), guest="", another=("schedule list", "schedule add --help"), script=SCHEDULES),
}
