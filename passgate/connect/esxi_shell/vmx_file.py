"""Change one line of a VM's VMX file through a host's shell, so that at any moment one whole file is there.

The article's alternative to the setting in vCenter. The order: find the VM that has this file, see that
it is off, read the file, put the new one beside it whole, keep a copy of the old one, and exchange them only if the
file is still the one that was read and the VM still off, all in one command line; then have hostd read it (reference
vSphere 6.1, no. 28: an edit that hostd does not know is lost).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
from collections.abc import Callable, Sequence

from passgate.connect.esxi_shell.vmx import Vmx
from passgate.connect.esxi_shell.wire import Answer, Wire
from passgate.errors import InputError, RefusedError, UnreachableError
from passgate.model.inventory import VmId

DATASTORE_PATH = re.compile(r"^\[([^\[\]/\x00]+)\] ([^\x00]+\.vmx)$", re.DOTALL)
NEW = ".passgate-new"
KEPT = ".passgate-"
"""Names beside the VMX file: the new one until it is in place, and copies of former ones, by their digest."""
SUMMARY_PATH = re.compile(r'^\s*vmPathName = "(.*)", ?$', re.MULTILINE)
STAGES = ("whole", "off", "same", "kept", "moved")
"""What the exchange says as it goes on; the slow look at the power state comes before the ones at the file."""
LARGEST = 1 << 20
"""Bytes; a VMX file has a few thousand."""

Authorize = Callable[[str, str], None]


def volume_path(path: str) -> str:
    """Return where a shell finds `[datastore1] vm/vm.vmx`. Raises InputError for anything else."""
    found = DATASTORE_PATH.match(path)
    parts = found[2].split("/") if found else []
    if not found or found[1] in {".", ".."} or any(part in {"", ".", ".."} for part in parts):
        raise InputError(
            f"{path!r} is no path of a VMX file on a datastore.",
            hint="It reads `[datastore1] folder/name.vmx`, as vCenter shows it under the VM's files.",
            subject=path,
        )
    return f"/vmfs/volumes/{found[1]}/{found[2]}"


def batch(wire: Wire, host: str, lines: Sequence[str]) -> tuple[Answer, ...]:
    """Run the lines in one exec and cut the answer at marks that nothing on the host can know beforehand.

    Tried twice, for answers of ESXi's sshd get cut off at times (reference vSphere 3.4); so for reading only. Raises
    UnreachableError when an answer is missing.
    """
    for _ in range(2):
        mark = f"==passgate-{secrets.token_hex(8)}"
        joined = "; ".join(f'{line}; echo "{mark} $?"' for line in lines)
        parts = re.split(rb"%b (\d+)\r?\n" % mark.encode(), wire.run(joined).raw)
        outs, statuses = parts[:-1:2], parts[1::2]
        if len(outs) == len(lines):
            return tuple(
                Answer(out.decode("utf-8", errors="replace"), "", int(status), out)
                for out, status in zip(outs, statuses, strict=True)
            )
    raise UnreachableError(
        f"The shell of {host} gave {len(outs)} of {len(lines)} answers, then stopped.",
        hint="An lsusb that hangs points at a sick USB arbitrator; look at the host's /var/log/vmkernel.log.",
        subject=host,
    )


class VmxFile:
    """Read and change the VMX file of one VM; `path` is as vCenter shows it."""

    def __init__(self, wire: Wire, vm: VmId, path: str, authorize: Authorize) -> None:
        self._wire = wire
        self._vm = vm
        self._path = path
        self._authorize = authorize
        self._file = volume_path(path)

    def read(self) -> Vmx:
        """Return the file. Raises RefusedError when it can't be read."""
        return self._of(*batch(self._wire, self._vm.host.name, [self._cat]))

    def set(self, key: str, value: str | None) -> None:
        """Give the key that value (None removes it) and have hostd read the file (mutating).

        The file is left alone where it says so already. Raises RefusedError when the VM is not off, not registered with
        this file on this host, or when the file changed meanwhile; then the file is as it was.
        """
        listed, said = batch(self._wire, self._vm.host.name, ["vim-cmd vmsvc/getallvms", self._cat])
        number = self._number_off(listed.out)
        now = self._of(said)
        wanted = now.replaced(key, value)
        if wanted.content != now.content:
            self._exchange(number, now.content, wanted.content)
        self._change("reload_vm", f"vim-cmd vmsvc/reload {number}", "hostd could not read the file anew")

    @property
    def _cat(self) -> str:
        return f"cat {shlex.quote(self._file)} 2>&1"

    def _of(self, said: Answer) -> Vmx:
        if said.status:
            raise self._refused(f"{self._file} can't be read: {_line(said.out)}", "FileNotFound")
        if len(said.raw) > LARGEST or b"\x00" in said.raw:
            raise self._refused(f"{self._file} is no VMX file", "UnclearVmxFile")
        return Vmx(said.raw)

    def _number_off(self, listed: str) -> str:
        """Return the id under which this host has registered the VM with this file; it must be off."""
        likely = [
            found[1] for line in listed.splitlines() if self._path in line and (found := re.match(r"^(\d+)\s", line))
        ]
        asked = [f"vim-cmd vmsvc/{what} {one}" for one in likely for what in ("get.summary", "power.getstate")]
        said = [one.out for one in batch(self._wire, self._vm.host.name, asked)] if asked else []
        # The list shows names and notes too, which may hold anything; the summary says which file is the VM's.
        sure = [
            (number, power)
            for number, summary, power in zip(likely, said[::2], said[1::2], strict=True)
            if SUMMARY_PATH.findall(summary) == [self._path]
        ]
        if len(sure) != 1:
            raise self._refused(
                f"{self._vm.host.name} has {len(sure) or 'no'} VMs registered with {self._path}", "NotFound"
            )
        ((number, power),) = sure
        if "Powered off" not in power.splitlines():
            raise self._refused("the VM is not off, and ESXi would write over the file", "InvalidPowerState")
        return number

    def _exchange(self, number: str, now: bytes, wanted: bytes) -> None:
        file, new = shlex.quote(self._file), shlex.quote(self._file + NEW)
        old = hashlib.sha256(now).hexdigest()
        kept = shlex.quote(f"{self._file}{KEPT}{old[:12]}")
        # The copy comes first, so that the new file has the old one's owner and mode.
        self._change("write_vmx_file", f"cp -p {file} {new} && cat > {new}", "the new file can't be written", wanted)
        line = " && ".join([
            f"{_same(new, wanted)} && echo whole",
            f"vim-cmd vmsvc/power.getstate {number} | grep -q '^Powered off' && echo off",
            f"{_same(file, now)} && echo same",
            f"cp -p {file} {kept} && {_same(kept, now)} && echo kept",
            f"mv {new} {file} && echo moved",
        ])  # fmt: skip
        answer = self._wire.run(line, lambda: self._authorize("set_vm_setting", self._resource))
        reached = answer.out.split()
        if reached == list(STAGES):
            return
        # A copy that is not what was read would bear a false digest in its name.
        wrong = f" {kept}" if "same" in reached and "kept" not in reached else ""
        self._change("remove_file", f"rm -f {new}{wrong}", "the new file could not be removed")
        if answer.err.strip():
            raise self._refused(f"the host said: {_line(answer.err)}", f"exit status {answer.status}")
        missing = next(stage for stage in STAGES if stage not in reached)
        if missing in {"whole", "moved"}:
            raise UnreachableError(
                f"The VMX file of {self._vm.name} was left as it is: the new one did not arrive whole.",
                hint="It is written again at the next attempt.",
                subject=self._vm.name,
            )
        why = "the VM was powered on meanwhile" if missing == "off" else "somebody changed it meanwhile"
        raise self._refused(why, "InvalidPowerState" if missing == "off" else "ConcurrentAccess")

    def _change(self, action: str, line: str, trouble: str, stdin: bytes | None = None) -> None:
        answer = self._wire.run(line, lambda: self._authorize(action, self._resource), stdin)
        if answer.status:
            raise self._refused(
                f"{trouble}: {_line(answer.err or answer.out) or 'no reason was given'}", f"exit status {answer.status}"
            )

    @property
    def _resource(self) -> str:
        return f"vm:{self._vm.ref}"

    def _refused(self, why: str, fault: str) -> RefusedError:
        return RefusedError(
            f"The VMX file of {self._vm.name} was not changed: {why}.",
            fault=fault,
            hint="Look at the VM and its folder on the host, then request again.",
            subject=self._vm.name,
        )


def _same(file: str, content: bytes) -> str:
    return f"cat {file} | sha256sum | grep -q '^{hashlib.sha256(content).hexdigest()}'"


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
