"""Give a simulated host the tools that act on its datastore's files and on the VMs registered there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from passgate.lab.esxi_shell import Output, Tool
from passgate.lab.hardware import LabHost, LabVm
from passgate.lab.vmfs import reload, vmx_path
from passgate.lab.world import World

Record = Callable[[str], None]
_NO_FILE = "No such file or directory"


class FileTools:
    """cat, cp, mv, rm, test, sha256sum and vim-cmd of one host; `record` notes what asked to change something."""

    def __init__(self, world: World, host: LabHost, record: Record) -> None:
        self._world = world
        self._host = host
        self._record = record

    def all(self) -> dict[str, Tool]:
        """Return the tools by the names under which a shell finds them."""
        return {
            "cat": self._cat, "cp": self._cp, "mv": self._mv, "rm": self._rm, "test": self._test, "[": self._test,
            "sha256sum": sha256sum, "vim-cmd": self._vim_cmd,
        }  # fmt: skip

    def write(self, path: str, text: str) -> bool:
        """Carry out a redirection into a file; False where that is not possible."""
        with self._world.lock:
            done = self._world.datastore.write(path, _bytes(text))
            if done:
                self._record(f"> {path}")
                self._world.changed()
        return done

    def _cat(self, words: list[str], text: str) -> Output:
        if not words:
            return Output(text)
        out, err = "", ""
        for word in words:
            content = self._world.datastore.read(word)
            if content is None:
                err += f"cat: can't open '{word}': {_NO_FILE}\n"
            else:
                out += _text(content)
        return Output(out, err, 1 if err else 0)

    def _cp(self, words: list[str], _: str) -> Output:
        match [word for word in words if word not in {"-p", "-f"}]:
            case [source, target]:
                return self._put("cp", source, target, words)
        return Output("", "BusyBox: Usage: cp [-pf] SOURCE DEST\n", 1)

    def _mv(self, words: list[str], _: str) -> Output:
        match [word for word in words if word != "-f"]:
            case [source, target]:
                said = self._put("mv", source, target, words)
                if not said.status:
                    self._world.datastore.remove(source)
                return said
        return Output("", "BusyBox: Usage: mv [-f] SOURCE DEST\n", 1)

    def _put(self, tool: str, source: str, target: str, words: list[str]) -> Output:
        with self._world.lock:
            content = self._world.datastore.read(source)
            if content is None:
                verb = "stat" if tool == "cp" else "rename"
                return Output("", f"{tool}: can't {verb} '{source}': {_NO_FILE}\n", 1)
            if not self._world.datastore.write(target, content):
                return Output("", f"{tool}: can't create '{target}': {_NO_FILE}\n", 1)
            self._record(" ".join([tool, *words]))
            self._world.changed()
        return Output()

    def _rm(self, words: list[str], _: str) -> Output:
        err = ""
        for word in [word for word in words if word != "-f"]:
            with self._world.lock:
                if self._world.datastore.remove(word):
                    self._record(f"rm {word}")
                    self._world.changed()
                elif self._world.datastore.read(word) is not None:
                    err += f"rm: can't remove '{word}': Device or resource busy\n"
                elif "-f" not in words:
                    err += f"rm: can't remove '{word}': {_NO_FILE}\n"
        return Output("", err, 1 if err else 0)

    def _test(self, words: list[str], _: str) -> Output:
        match [word for word in words if word != "]"]:
            case ["-f" | "-e" as _flag, path]:
                return Output(status=0 if self._world.datastore.read(path) is not None else 1)
        return Output("", "sh: test: unknown operand\n", 2)

    # -- vim-cmd -------------------------------------------------------------------------------------------------

    def _vim_cmd(self, words: list[str], _: str) -> Output:
        match words:
            case ["vmsvc/getallvms"]:
                return Output(self._all_vms())
            case ["vmsvc/get.summary" | "vmsvc/power.getstate" | "vmsvc/reload" as verb, number]:
                vm = next((one for one in self._mine() if number == _number(one)), None)
                if vm is None:
                    return Output("", f"Unable to find a VM corresponding to {number!r}\n", 1)
                return {
                    "vmsvc/get.summary": _summary, "vmsvc/power.getstate": _power, "vmsvc/reload": self._reload,
                }[verb](vm)  # fmt: skip
            case ["vmsvc/get.summary" | "vmsvc/power.getstate" | "vmsvc/reload"]:
                return Output("", "Insufficient arguments.\n", 1)
        return Output("", "Invalid command.\n", 1)

    def _mine(self) -> list[LabVm]:
        with self._world.lock:
            return [one for one in self._world.vms if one.host is self._host]

    def _all_vms(self) -> str:
        rows = [("Vmid", "Name", "File", "Guest OS", "Version", "Annotation")]
        rows += [
            (_number(vm), vm.name, vmx_path(vm), vm.guest_id, f"vmx-{vm.hardware_version:02}", vm.annotation)
            for vm in self._mine()
        ]
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        return "".join(
            "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
            for row in rows
        )

    def _reload(self, vm: LabVm) -> Output:
        with self._world.lock:
            self._record(f"vim-cmd vmsvc/reload {_number(vm)}")
            if vm.power != "poweredOff":
                return Output("", "Reload failed: The operation is not allowed in the current state.\n", 1)
            reload(vm)
            self._world.touch(vm)
        return Output()


def sha256sum(_: list[str], text: str) -> Output:
    """Write the digest of the standard input."""
    return Output(f"{hashlib.sha256(_bytes(text)).hexdigest()}  -\n")


def _number(vm: LabVm) -> str:
    """Return the id that hostd gives the VM, which vCenter's has nothing to do with."""
    return str(int(vm.ref.rpartition("-")[2]) % 100)


def _power(vm: LabVm) -> Output:
    words = {"poweredOn": "Powered on", "poweredOff": "Powered off"}.get(vm.power, "Suspended")
    return Output(f"Retrieved runtime info\n{words}\n")


def _summary(vm: LabVm) -> Output:
    return Output(
        "Listsummary:\n\n(vim.vm.Summary) {\n"
        f"   vm = 'vim.VirtualMachine:{_number(vm)}', \n   runtime = (vim.vm.RuntimeInfo) {{\n"
        f'      connectionState = "{vm.connection}", \n      powerState = "{vm.power}", \n   }}, \n'
        f'   config = (vim.vm.Summary.ConfigSummary) {{\n      name = "{vm.name}", \n      template = '
        f'{str(vm.template).lower()}, \n      vmPathName = "{vmx_path(vm)}", \n   }}, \n}}\n'
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
