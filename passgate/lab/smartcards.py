"""Say what becomes of smart-card readers (CCID): ESXi keeps them for its own login, unless it is told otherwise.

The article's procedure and KB 323394 (reference vSphere 3.6): while the host's daemon `pcscd` runs, the arbitrator does
not offer a reader to VMs; and a VM whose configuration lacks `usb.generic.allowCCID = "TRUE"` can't take one.
"""

from __future__ import annotations

from passgate.lab.hardware import HostUsb, LabHost, LabVm

ALLOW = "usb.generic.allowCCID"
DAEMON = "pcscd"
SYMPTOM = "(vmx-vcpu-0) did not claim interface 0 before use"


def is_reader(device: HostUsb) -> bool:
    """Say whether the device is a smart-card reader."""
    return "smart_card" in device.families


def daemon_runs(host: LabHost) -> bool:
    """Say whether the host's smart-card daemon runs, whatever the service says of it."""
    service = host.services.get(DAEMON)
    return service is not None and (service.running or service.lingers)


def is_kept(host: LabHost, device: HostUsb) -> bool:
    """Say whether the host keeps the device for its own smart-card login."""
    return is_reader(device) and daemon_runs(host)


def allows(vm: LabVm) -> bool:
    """Say whether the VM's configuration lets it take smart-card readers; keys are the same in any case."""
    said = {key.lower(): value for key, value in vm.extra_config.items()}
    return said.get(ALLOW.lower(), "").upper() == "TRUE"
