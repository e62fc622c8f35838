"""Be a Windows guest: cmd.exe with redirection, and the PowerShell cmdlets that look at devices and disks."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, Final

from passgate.lab.guests import powershell
from passgate.lab.guests.disks import disk_size
from passgate.lab.hardware import HostUsb, LabVm

CMD: Final = r"c:\windows\system32\cmd.exe"
REDIRECTION: Final = re.compile(r"""\s*(?<![0-9])>\s*("[^"]+"|[^\s"]+)""")
NOT_FOUND: Final = 9009
SYSTEM_DISK: Final = 42949672960
CLASSES: Final = {
    "video": ("Camera", ""), "smart_card": ("SmartCardReader", "Microsoft Usbccid Smartcard Reader (WUDF)"),
    "vendor_specific": ("USB", ""),
}  # fmt: skip
Row = dict[str, Any]


def run(vm: LabVm, devices: Sequence[HostUsb], program: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
    """Run `cmd.exe /c ...` and return the exit code of the last command that ran."""
    if program.casefold() not in {CMD, "cmd.exe", "cmd"}:
        return NOT_FOUND
    line = re.sub(r"^\s*/c\s+", "", arguments, flags=re.IGNORECASE)
    code = 0
    for command in line.split("&&"):
        code, printed = _command(command.replace("2>&1", "").strip(), _Machine(vm, devices), files)
        if found := REDIRECTION.search(command.replace("2>&1", "")):
            files[found[1].strip('"')] = printed.replace("\n", "\r\n").encode("ascii", "replace")
        if code:
            break
    return code


def _command(command: str, machine: _Machine, files: MutableMapping[str, bytes]) -> tuple[int, str]:
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', REDIRECTION.sub("", command))]
    match words[0].casefold().rpartition("\\")[2].removesuffix(".exe") if words else "":
        case "powershell":
            return _powershell(words[1:], machine)
        case "move":
            source, target = (word for word in words[1:] if not word.startswith("/"))
            if source not in files:
                return 1, "The system cannot find the file specified.\n"
            files[target] = files.pop(source)
            return 0, "        1 file(s) moved.\n"
        case "echo":
            return 0, " ".join(words[1:]) + "\n"
        case other:
            complaint = f"'{other}' is not recognized as an internal or external command,\n"
            return 1, f"{complaint}operable program or batch file.\n"


def _powershell(words: list[str], machine: _Machine) -> tuple[int, str]:
    options = [word.casefold() for word in words]
    try:
        if encoded := next(
            (at for at, word in enumerate(options) if re.fullmatch(r"-e(nc|ncodedcommand|c)?", word)), None
        ):
            script = base64.b64decode(words[encoded + 1], validate=True).decode("utf-16-le")
        elif "-command" in options:
            script = " ".join(words[options.index("-command") + 1 :])
        else:
            return 1, "Windows PowerShell terminated: nothing to run was given.\n"
        return 0, powershell.run(script, machine.cmdlets)
    except (binascii.Error, UnicodeDecodeError, IndexError):
        return (
            1,
            "Cannot process the command because the value specified with -EncodedCommand is not properly encoded.\n",
        )
    except powershell.PowerShellError as error:
        return 1, f"{error}\n"


class _Machine:
    """What this Windows shows of its devices."""

    def __init__(self, vm: LabVm, devices: Sequence[HostUsb]) -> None:
        self._computer = vm.name.upper()
        self._controllers = {device.kind for device in vm.devices} & {"ehci", "xhci"}
        self._devices = devices
        self.cmdlets: dict[str, powershell.Cmdlet] = {
            "get-pnpdevice": self._get_pnp, "get-disk": self._get_disk, "get-partition": self._get_partition,
            "get-volume": self._get_volume, "get-pnpdeviceproperty": self._get_property,
        }  # fmt: skip

    def _get_pnp(self, named: Row, _: list[Any]) -> list[Any]:
        rows = [row for port, one in enumerate(self._devices, start=1) for row in _pnp(one, port)]
        if self._controllers:
            rows = [*_virtual(self._controllers), *rows]
        asked = {key: named[key.casefold()] for key in rows[0] if key.casefold() in named} if rows else {}
        return [row for row in rows if all(powershell.like(row[key], value) for key, value in asked.items())]

    def _get_property(self, named: Row, objects: list[Any]) -> list[Any]:
        parents = {_usbstor(one, port): _instance(one, port) for port, one in self._storage()}
        rows = [
            {"InstanceId": one.get("InstanceId"), "KeyName": "DEVPKEY_Device_Parent", "Type": "String", "Data": parent}
            for one in objects
            if (parent := parents.get(one.get("InstanceId")))
        ]
        return _chosen(rows, "KeyName", named.get("keyname"), [])

    def _get_disk(self, named: Row, _: list[Any]) -> list[Any]:
        system = _disk(0, "VMware Virtual disk", SYSTEM_DISK) | {"BusType": "SAS", "PartitionStyle": "GPT"}
        rows = [system, *(self._usb_disk(number, *one) for number, one in enumerate(self._storage(), start=1))]
        return _chosen(rows, "Number", named.get("number"), [])

    def _storage(self) -> list[tuple[int, HostUsb]]:
        return [(port, one) for port, one in enumerate(self._devices, start=1) if "storage" in one.families]

    def _usb_disk(self, number: int, port: int, device: HostUsb) -> Row:
        instance = _usbstor(device, port)
        path = "\\\\?\\" + instance.lower().replace("\\", "#") + "#{53f56307-b6bf-11d0-94f2-00a0c91efb8b}"
        row = _disk(number, f"{device.name} USB Device", disk_size(device))
        return row | {"SerialNumber": device.serial or "", "UniqueId": f"{instance}:{self._computer}", "Path": path}

    def _get_partition(self, named: Row, objects: list[Any]) -> list[Any]:
        rows = [
            {
                "PartitionNumber": 1, "DriveLetter": _letter(disk["Number"]), "Offset": 1048576,
                "Size": disk["Size"] - 1048576, "Type": "Basic", "DiskNumber": disk["Number"],
            }
            for disk in self._get_disk({}, [])
        ]  # fmt: skip
        return _chosen(rows, "DiskNumber", named.get("disknumber"), [one.get("Number") for one in objects])

    def _get_volume(self, named: Row, objects: list[Any]) -> list[Any]:
        rows = [
            {
                "DriveLetter": part["DriveLetter"], "FileSystemLabel": "", "HealthStatus": "Healthy",
                "OperationalStatus": "OK", "SizeRemaining": part["Size"] // 2, "Size": part["Size"],
                "FileSystem": "FAT32" if part["DiskNumber"] else "NTFS",
                "DriveType": "Removable" if part["DiskNumber"] else "Fixed",
            }
            for part in self._get_partition({}, [])
        ]  # fmt: skip
        return _chosen(rows, "DriveLetter", named.get("driveletter"), [one.get("DriveLetter") for one in objects])


def _chosen(rows: list[Row], key: str, asked: Any, piped: list[Any]) -> list[Any]:
    """Return the rows that a parameter or the objects from the pipeline name; all where neither is there."""
    wanted = {str(one).upper() for one in [*powershell.stream(asked), *piped]}
    return [row for row in rows if not wanted or str(row[key]).upper() in wanted]


def _letter(number: int) -> str:
    """Return C for the system disk; D is the CD drive, sticks follow from E on."""
    return "C" if number == 0 else chr(ord("D") + number)


def _disk(number: int, name: str, size: int) -> Row:
    return {
        "Number": number, "FriendlyName": name, "SerialNumber": "", "UniqueId": "", "HealthStatus": "Healthy",
        "OperationalStatus": "Online", "IsOffline": False, "Size": size, "PartitionStyle": "MBR", "BusType": "USB",
    }  # fmt: skip


def _pnp(device: HostUsb, port: int) -> list[Row]:
    """Return the device's own row and those of its children."""
    instance = _instance(device, port)
    if "storage" in device.families:
        child = _row(f"{device.name} USB Device", "DiskDrive", _usbstor(device, port))
        return [_row("USB Mass Storage Device", "USB", instance), child]
    family = next((one for one in device.families if one in CLASSES), "")
    kind, name = CLASSES.get(family, ("USB", ""))
    if family == "video":
        part = instance.rpartition("\\")[0] + f"&MI_00\\7&1F0A2B3C&0&000{port}"
        return [_row("USB Composite Device", "USB", instance), _row(device.name, kind, part)]
    return [_row(name or device.name, kind, instance)]


def _instance(device: HostUsb, port: int) -> str:
    """Return the instance id; for a device without a serial Windows makes the last part up, marked by ampersands."""
    last = (device.serial or f"6&2A6C1F8D&0&{port}").upper()
    return f"USB\\VID_{device.vendor:04X}&PID_{device.product:04X}\\{last}"


def _usbstor(device: HostUsb, port: int) -> str:
    maker, _, product = device.name.upper().partition(" ")
    last = device.serial.upper() if device.serial else f"7&3B1D5A0&{port}"
    return f"USBSTOR\\DISK&VEN_{maker[:8]}&PROD_{product.replace(' ', '_')}&REV_5.00\\{last}&0"


def _virtual(controllers: Iterable[str]) -> list[Row]:
    hubs = {"ehci": "USB\\ROOT_HUB20\\4&2A40D465&0", "xhci": "USB\\ROOT_HUB30\\5&B5CFC4&0&0"}
    return [
        *(_row("USB Root Hub", "USB", hubs[kind]) for kind in sorted(controllers)),
        _row("USB Composite Device", "USB", r"USB\VID_0E0F&PID_0003\6&B77DA92&0&5"),
        _row("Generic USB Hub", "USB", r"USB\VID_0E0F&PID_0002\6&B77DA92&0&6"),
        _row("HID-compliant mouse", "Mouse", r"HID\VID_0E0F&PID_0003&MI_00\8&28F8D8D8&0&0000"),
    ]


def _row(name: str, kind: str, instance: str) -> Row:
    return {"Status": "OK", "Class": kind, "FriendlyName": name, "InstanceId": instance, "Present": True, "Problem": 0}
