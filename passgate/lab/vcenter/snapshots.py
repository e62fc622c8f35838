"""Serve a VM's snapshots."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import LabVm
from passgate.lab.snapshots import Snapshot
from passgate.lab.world import World


def tree(vm: LabVm) -> Any:
    """Return the snapshots as vSphere's tree; None where there are none."""
    if not vm.snapshots:
        return None
    last = vm.snapshots[-1].all()[-1]
    return vim.vm.SnapshotInfo(currentSnapshot=_ref(last), rootSnapshotList=[_node(vm, one) for one in vm.snapshots])


def take(world: World, vm: LabVm, name: str, description: str, *, memory: bool) -> Any:
    """Take a snapshot below the last one, and return its reference; memory is kept of a running VM only."""
    known = [one for top in vm.snapshots for one in top.all()]
    number = len(known) + 1
    new = Snapshot(
        f"snapshot-{vm.ref.rpartition('-')[2]}{number:02}", name, memory and vm.power == "poweredOn", description,
        vm.power, number,
    )  # fmt: skip
    (known[-1].below if known else vm.snapshots).append(new)
    world.touch(vm)
    return _ref(new)


def _ref(one: Snapshot) -> Any:
    return vim.vm.Snapshot(one.ref, None)


def _node(vm: LabVm, one: Snapshot) -> Any:
    return vim.vm.SnapshotTree(
        snapshot=_ref(one),
        vm=vim.VirtualMachine(vm.ref, None),
        name=one.name,
        description=one.description,
        id=one.number,
        createTime=one.created,
        # A snapshot with memory shows the VM as it ran; one without shows it off, as vSphere does.
        state="poweredOn" if one.memory else "poweredOff",
        quiesced=False,
        replaySupported=False,
        childSnapshotList=[_node(vm, deeper) for deeper in one.below],
    )
