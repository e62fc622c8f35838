"""Be a Windows guest: cmd.exe with redirection, and the PowerShell cmdlets that look at devices and disks.

Disks can be dismounted, taken offline and brought back, and refuse it as Windows does: a volume that is in use asks for
force (Win32_Volume.Dismount answers 4), and a removable medium can't be set offline.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, MutableMapping
from typing import Any, Final

from passgate.lab.guest_devices import GuestDevice, Inside
from passgate.lab.guests import pci, powershell
from passgate.lab.guests.disks import disk_size
from passgate.lab.hardware import HostUsb

CMD: Final = r"c:\windows\system32\cmd.exe"
REDIRECTION: Final = re.compile(r"""\s*(?<![0-9])>\s*("[^"]+"|[^\s"]+)""")
NOT_FOUND: Final = 9009
SYSTEM_DISK: Final = 42949672960
CLASSES: Final = {
    "video": ("Camera", ""), "smart_card": ("SmartCardReader", "Microsoft Usbccid Smartcard Reader (WUDF)"),
    "vendor_specific": ("USB", ""),
}  # fmt: skip
GAP: Final = 1 << 20
"""Bytes before the first partition."""
FORCE_NEEDED, BAD_ARGUMENT, HAS_MOUNT_POINTS = 4, 5, 2
"""Return values of Win32_Volume's methods."""
Row = dict[str, Any]


def run(inside: Inside, program: str, arguments: str, files: MutableMapping[str, bytes]) -> int:
    """Run `cmd.exe /c ...` and return the exit code of the last command that ran."""
    if program.casefold() not in {CMD, "cmd.exe", "cmd"}:
        return NOT_FOUND
    line = re.sub(r"^\s*/c\s+", "", arguments, flags=re.IGNORECASE)
    code = 0
    for command in line.split("&&"):
        code, printed = _command(command.replace("2>&1", "").strip(), _Machine(inside), files)
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
    """What this Windows shows of its devices, and what may be done to their disks."""

    def __init__(self, inside: Inside) -> None:
        self._vm = inside.vm
        self._computer = inside.vm.name.upper()
        self._controllers = {device.kind for device in inside.vm.devices} & {"ehci", "xhci"}
        self._devices = inside.devices
        self._told = inside.told
        self.cmdlets: dict[str, powershell.Cmdlet] = {
            "get-pnpdevice": self._get_pnp, "get-disk": self._get_disk, "get-partition": self._get_partition,
            "get-volume": self._get_volume, "get-pnpdeviceproperty": self._get_property,
            "get-process": self._get_process, "get-ciminstance": self._get_cim, "invoke-cimmethod": self._call_cim,
            "set-disk": self._set_disk, "remove-partitionaccesspath": self._remove_path,
            "add-partitionaccesspath": self._add_path,
        }  # fmt: skip

    # -- looking -------------------------------------------------------------------------------------------------

    def _get_pnp(self, named: Row, _: list[Any]) -> list[Any]:
        rows = [row for port, one in enumerate(self._devices, start=1) for row in _pnp(one.device, port)]
        if self._controllers:
            rows = [*_virtual(self._controllers), *rows]
        rows += pci.rows(self._vm)
        asked = {key: named[key.casefold()] for key in rows[0] if key.casefold() in named} if rows else {}
        return [row for row in rows if all(powershell.like(row[key], value) for key, value in asked.items())]

    def _get_property(self, named: Row, objects: list[Any]) -> list[Any]:
        parents = {_usbstor(one.device, port): _instance(one.device, port) for port, one in self._storage()}
        rows = [
            {"InstanceId": one.get("InstanceId"), "KeyName": "DEVPKEY_Device_Parent", "Type": "String", "Data": parent}
            for one in objects
            if (parent := parents.get(one.get("InstanceId")))
        ]
        return _chosen(rows, "KeyName", named.get("keyname"), [])

    def _get_disk(self, named: Row, _: list[Any]) -> list[Any]:
        system = _disk(0, "VMware Virtual disk", SYSTEM_DISK) | {"BusType": "SAS", "PartitionStyle": "GPT"}
        rows = [system, *(self._usb_disk(port, one) for port, one in self._storage())]
        return _chosen(rows, "Number", named.get("number"), [])

    def _storage(self) -> list[tuple[int, GuestDevice]]:
        return [(port, one) for port, one in enumerate(self._devices, start=1) if one.is_disk]

    def _usb_disk(self, port: int, one: GuestDevice) -> Row:
        instance, device = _usbstor(one.device, port), one.device
        path = "\\\\?\\" + instance.lower().replace("\\", "#") + "#{53f56307-b6bf-11d0-94f2-00a0c91efb8b}"
        row = _disk(one.number, f"{device.name} USB Device", disk_size(device))
        state = {"IsOffline": one.offline, "OperationalStatus": "Offline" if one.offline else "Online"}
        ids = {"SerialNumber": device.serial or "", "UniqueId": f"{instance}:{self._computer}", "Path": path}
        return row | state | ids

    def _get_partition(self, named: Row, objects: list[Any]) -> list[Any]:
        rows = [_partition(0, "C", SYSTEM_DISK)]
        rows += [
            _partition(one.number, "" if one.offline else one.letter, disk_size(one.device), there=not one.offline)
            for _, one in self._storage()
        ]
        rows = _chosen(rows, "PartitionNumber", named.get("partitionnumber"), [])
        return _chosen(rows, "DiskNumber", named.get("disknumber"), [one.get("Number") for one in objects])

    def _get_volume(self, named: Row, objects: list[Any]) -> list[Any]:
        fixed = {0} | {one.number for _, one in self._storage() if not one.is_removable}
        rows = [
            {
                "DriveLetter": part["DriveLetter"], "FileSystemLabel": "", "HealthStatus": "Healthy",
                "OperationalStatus": "OK", "SizeRemaining": part["Size"] // 2, "Size": part["Size"],
                "FileSystem": "FAT32" if part["DiskNumber"] else "NTFS",
                "DriveType": "Fixed" if part["DiskNumber"] in fixed else "Removable",
                "UniqueId": _volume(part["DiskNumber"]), "Path": _volume(part["DiskNumber"]),
            }
            for part in self._get_partition({}, [])
            if part["AccessPaths"]
        ]  # fmt: skip
        if objects and "PartitionNumber" in objects[0]:
            return _chosen(rows, "UniqueId", None, [_volume(one["DiskNumber"]) for one in objects])
        return _chosen(rows, "DriveLetter", named.get("driveletter"), [one.get("DriveLetter") for one in objects])

    def _get_process(self, _: Row, __: list[Any]) -> list[Any]:
        rows = [{"Id": 4, "ProcessName": "System", "Path": None}]
        return rows + [
            {"Id": held.pid, "ProcessName": held.program, "Path": f"{one.letter}:\\{held.program}.exe"}
            for _, one in self._storage() for held in one.holders
        ]  # fmt: skip

    # -- changing ------------------------------------------------------------------------------------------------

    def _get_cim(self, named: Row, _: list[Any]) -> list[Any]:
        asked = str(named.get("classname") or next(iter(named[""]), ""))
        if asked.casefold() == "win32_computersystem":
            return [{"NumberOfLogicalProcessors": self._vm.cpus, "TotalPhysicalMemory": self._vm.memory_mb << 20}]
        if asked.casefold() != "win32_volume":
            raise powershell.PowerShellError("Get-CimInstance : Invalid class")
        return [
            {"DeviceID": _volume(one.number), "DriveLetter": f"{one.letter}:" if one.letter else None}
            for _, one in self._storage() if not one.offline
        ]  # fmt: skip

    def _call_cim(self, named: Row, objects: list[Any]) -> list[Any]:
        method, arguments = str(named.get("methodname")).casefold(), named.get("arguments") or {}
        return [{"ReturnValue": self._volume_method(method, arguments, one)} for one in objects]

    def _volume_method(self, method: str, arguments: Row, volume: Row) -> int:
        one = next(one for _, one in self._storage() if _volume(one.number) == volume.get("DeviceID"))
        given = {key.casefold(): value for key, value in arguments.items()}
        if method == "mount":
            self._told(f"mount disk {one.number}")
            one.dismounted = False
            return 0
        if method != "dismount":
            return BAD_ARGUMENT
        if one.holders and not given.get("force"):
            return FORCE_NEEDED
        if given.get("permanent") and one.letter:
            return HAS_MOUNT_POINTS
        self._told(f"dismount disk {one.number}")
        one.dismounted = bool(given.get("permanent"))  # else Windows mounts it again at the next access
        return 0

    def _set_disk(self, named: Row, _: list[Any]) -> list[Any]:
        one = self._numbered(named.get("number"))
        offline = bool(named.get("isoffline"))
        if one is None:
            raise powershell.PowerShellError("Set-Disk : No MSFT_Disk objects found with property 'Number'.")
        if offline and one.is_removable:
            raise powershell.PowerShellError("Set-Disk : Removable media cannot be set to offline.")
        one.offline = offline
        self._told(f"Set-Disk {one.number} {'offline' if offline else 'online'}")
        return []

    def _remove_path(self, named: Row, _: list[Any]) -> list[Any]:
        one = self._numbered(named.get("disknumber"))
        if one is None or one.letter != str(named.get("accesspath"))[:1]:
            raise powershell.PowerShellError("Remove-PartitionAccessPath : The access path is not valid.")
        self._told(f"remove letter of disk {one.number}")
        one.letter = ""
        return []

    def _add_path(self, named: Row, _: list[Any]) -> list[Any]:
        one, letter = self._numbered(named.get("disknumber")), str(named.get("accesspath"))[:1]
        if one is None or letter in {"C", *(other.letter for _, other in self._storage())}:
            raise powershell.PowerShellError("Add-PartitionAccessPath : The requested access path is already in use.")
        self._told(f"add letter {letter} to disk {one.number}")
        one.letter, one.dismounted = letter, False
        return []

    def _numbered(self, number: Any) -> GuestDevice | None:
        return next((one for _, one in self._storage() if str(one.number) == str(number)), None)


def _volume(number: int) -> str:
    """Return the name of the disk's one volume, which no letter changes."""
    return f"\\\\?\\Volume{{5a1c0000-0000-0000-0000-{number:012x}}}\\"


def _partition(number: int, letter: str, size: int, *, there: bool = True) -> Row:
    """Return the disk's one partition; of a disk that is offline Windows shows it without its volume."""
    paths = [*([f"{letter}:\\"] if letter else []), _volume(number)] if there else []
    return {
        "PartitionNumber": 1, "DriveLetter": letter or "\0", "Offset": GAP, "Size": size - GAP, "Type": "Basic",
        "DiskNumber": number, "AccessPaths": paths,
    }  # fmt: skip


def _chosen(rows: list[Row], key: str, asked: Any, piped: list[Any]) -> list[Any]:
    """Return the rows that a parameter or the objects from the pipeline name; all where neither is there."""
    wanted = {str(one).upper() for one in [*powershell.stream(asked), *piped]}
    return [row for row in rows if not wanted or str(row[key]).upper() in wanted]


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
