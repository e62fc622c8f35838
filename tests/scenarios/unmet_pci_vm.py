"""Ways in which the checks of VMs that get or lose a PCI function are not met."""

from __future__ import annotations

from passgate.model.inventory import Power, Schedule, Snapshot
from tasks import pci
from tests.scenarios.paper_pci import attach, detach, function, on_paper, other
from tests.scenarios.unmet import WARNING

HAS = {"pci": (pci.entry(function()),), "memory_locked": True, "memory_reservation_mb": 4096}
HOT, COLD = Snapshot(name="as it ran", memory=True), Snapshot(name="before patches")
NIGHTLY = Schedule(name="nightly", method="CreateSnapshot_Task")

UNMET = (
    attach("PCI-API-01", "older than the lock", "4.1", on_paper(site={"api_version": "4.1"})),
    attach("PCI-VM-01", "not enabled", "not enabled", on_paper(card={"enabled": False, "active": False})),
    attach("PCI-VM-01", "waits for a reboot", "not in effect", on_paper(card={"active": False})),
    attach("PCI-VM-02", "another running VM has it", "lic-01", on_paper(others=(other(pci=HAS["pci"]),))),
    attach("PCI-VM-02", "a suspended VM has it", "lic-01",
           on_paper(others=(other(pci=HAS["pci"], power=Power.SUSPENDED),))),
    attach("PCI-VM-03", "a VM that is off names it", "lic-01 is off",
           on_paper(others=(other(pci=HAS["pci"], power=Power.OFF),)), WARNING),
    attach("PCI-VM-04", "fault tolerance", "on", on_paper({"fault_tolerance": True})),
    attach("PCI-VM-05", "a snapshot with memory", "as it ran", on_paper({"snapshots": (HOT,)})),
    attach("PCI-VM-06", "a snapshot without memory", "before patches", on_paper({"snapshots": (COLD,)}), WARNING),
    attach("PCI-VM-07", "a nightly snapshot", "nightly (snapshot)", on_paper({"schedules": (NIGHTLY,)}), WARNING),
    attach("PCI-VM-07", "a scheduled suspend", "(suspend)",
           on_paper({"schedules": (Schedule(name="sleep", method="SuspendVM_Task"),)}), WARNING),
    attach("PCI-VM-07", "vCenter does not tell", "does not tell", on_paper({"schedules": None}), WARNING),
    attach("PCI-VM-08", "the host is small", "4096 MiB", on_paper(host={"memory_mb": 8191})),
    attach("PCI-VM-08", "others have reserved it", "some 3000 can be",
           on_paper(host={"memory_mb": 16384}, others=(other(memory_mb=9288, memory_locked=True),))),
    attach("PCI-VM-09", "memory hot-add", "on", on_paper({"memory_hot_add": True})),
    attach("PCI-VM-10", "old hardware", "version 6", on_paper({"hardware_version": 6})),
    detach("PCI-VM-11", "added by somebody else", "nothing tells; all 4096 MiB", on_paper(HAS), WARNING),
    detach("PCI-VM-11", "a note that can't be right", "nothing tells",
           on_paper({**HAS, "extra": {"passgate.pci.memoryBefore": "99999"}}), WARNING),
)  # fmt: skip
