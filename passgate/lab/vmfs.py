"""Keep the datastore's files as a host's shell sees them: each VM's VMX file and log, and what is put beside them.

The VMX file is hostd's: it writes its own view of the VM over it when the VM is powered or reconfigured, and reads what
somebody wrote there only when it is told to (`vim-cmd vmsvc/reload`). So an edit that nobody reloads gets lost, as on
real hosts (reference vSphere 6.1, no. 28).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence

from passgate.lab.hardware import SHARED_DATASTORE, LabVm

VOLUME = f"/vmfs/volumes/{SHARED_DATASTORE}"
"""Where a shell finds the datastore that all hosts see."""
_LINE = re.compile(rb'^[ \t]*([^\s="#]+)[ \t]*=[ \t]*(?:"([^"]*)"|([^\s"#]*))[ \t]*(?:#.*)?$')


def vmx_path(vm: LabVm) -> str:
    """Return the path of the configuration file; named by id, because names may hold anything."""
    return f"[{vm.datastore}] {vm.ref}/{vm.ref}.vmx"


class Datastore:
    """The files on all datastores. `vms` returns the VMs that have a folder there now."""

    def __init__(self, vms: Callable[[], Sequence[LabVm]]) -> None:
        self._vms = vms
        self._others: dict[str, bytes] = {}

    def clear(self) -> None:
        """Forget all files that were put beside those of the VMs."""
        self._others.clear()

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None where there is none."""
        path = posixpath.normpath(path)
        for vm in self._vms():
            if path == _file(vm, "vmx"):
                return written(vm) if vm.vmx_file is None else vm.vmx_file
            if path == f"{_folder(vm)}/vmware.log":
                return "".join(f"{line}\n" for line in vm.log).encode()
        return self._others.get(path)

    def write(self, path: str, content: bytes) -> bool:
        """Put a file there, in place of the one that was; False where its folder does not exist."""
        path = posixpath.normpath(path)
        folder = posixpath.dirname(path)
        owner = next((vm for vm in self._vms() if folder == _folder(vm)), None)
        if owner is None or path == folder:
            return False
        if path == _file(owner, "vmx"):
            owner.vmx_file = content
        else:
            self._others[path] = content
        return True

    def remove(self, path: str) -> bool:
        """Remove a file; False where there is none. A VM's own files are in use and stay."""
        return self._others.pop(posixpath.normpath(path), None) is not None

    def names(self) -> list[str]:
        """Return the files that were put beside those of the VMs."""
        return sorted(self._others)


def written(vm: LabVm) -> bytes:
    """Return the VMX file as hostd writes it from its own view of the VM."""
    facts = {**_facts(vm), **vm.extra_config}
    return "".join(f'{key} = "{_escaped(value)}"\n' for key, value in facts.items()).encode("utf-8", "surrogateescape")


def reload(vm: LabVm) -> None:
    """Let hostd read the VMX file anew; a file that it can't read makes the VM invalid, until it is mended."""
    content = written(vm) if vm.vmx_file is None else vm.vmx_file
    found: dict[str, str] = {}
    for line in content.splitlines():
        if not line.strip() or line.strip().startswith(b"#"):
            continue
        match = _LINE.match(line)
        key = match[1].decode("utf-8", "surrogateescape") if match else ""
        if not match or key.lower() in {one.lower() for one in found}:
            vm.connection = "invalid"
            return
        raw = match[2] if match[2] is not None else match[3]
        found[key] = _plain(raw)
    known = {key.lower() for key in _facts(vm)}
    vm.extra_config = {key: value for key, value in found.items() if key.lower() not in known}
    vm.connection = "connected"


def _folder(vm: LabVm) -> str:
    return f"/vmfs/volumes/{vm.datastore}/{vm.ref}"


def _file(vm: LabVm, kind: str) -> str:
    return f"{_folder(vm)}/{vm.ref}.{kind}"


def _facts(vm: LabVm) -> dict[str, str]:
    kinds = {one.kind for one in vm.devices}
    return {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": str(vm.hardware_version),
        "displayName": vm.name,
        "guestOS": vm.guest_id,
        "memSize": str(vm.memory_mb),
        "numvcpus": str(vm.cpus),
        "uuid.bios": vm.uuid,
        "vc.uuid": vm.instance_uuid,
        **({"usb.present": "TRUE", "ehci.present": "TRUE"} if "ehci" in kinds else {}),
        **({"usb_xhci.present": "TRUE"} if "xhci" in kinds else {}),
        **{f"usb.autoConnect.device{at}": one.pattern for at, one in enumerate(vm.usb)},
    }


def _escaped(value: str) -> str:
    return re.sub(r'["|\x00-\x1f]', lambda found: f"|{ord(found[0]):02X}", value)


def _plain(raw: bytes) -> str:
    spelled = re.sub(rb"\|([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), raw)
    return spelled.decode("utf-8", "surrogateescape")
