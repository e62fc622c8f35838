"""Turn the world's refusals into vSphere's own faults, and build data objects whose required fields are all there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyVmomi import VmomiSupport, vim

from passgate.lab.hardware import Refusal


def fault_type(name: str) -> Any:
    """Return the class of the fault with that name, wherever pyVmomi keeps it."""
    for space in ("vim.fault", "vmodl.fault", "vmodl.query"):
        try:
            return VmomiSupport.GetVmodlType(f"{space}.{name}")
        except (KeyError, AttributeError):
            continue
    raise LookupError(f"vSphere has no fault {name!r}.")


def to_fault(refusal: Refusal) -> Any:
    """Return the refusal as a vSphere fault object, with its message."""
    known = {name: _value(name, value) for name, value in refusal.fields.items()}
    fault = made(fault_type(refusal.fault), **known)
    fault.msg = refusal.message
    return fault


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Refusal):
        return to_fault(value)
    return vim.Task(value, None) if name == "task" and isinstance(value, str) else value


def made(kind: Any, **known: Any) -> Any:
    """Build a data object; required fields that are not given get the plainest value that serializes."""
    thing = kind(**known)
    for info in kind._GetPropertyList():  # noqa: SLF001 - pyVmomi documents it as public
        if info.flags & VmomiSupport.F_OPTIONAL or info.name in known:
            continue
        value = getattr(thing, info.name)
        if value is None or (isinstance(value, list) and not value):
            setattr(thing, info.name, _plainest(info.type))
    return thing


def _plainest(kind: Any) -> Any:  # noqa: PLR0911 - one return per family of types
    if issubclass(kind, list):
        return kind([_plainest(kind.Item)])
    if kind is datetime:
        return datetime.now(UTC)
    if kind is type:
        return vim.vm.device.VirtualDevice
    if issubclass(kind, VmomiSupport.Enum):
        return kind(kind.values[0])
    if issubclass(kind, VmomiSupport.ManagedObject):
        return kind("unknown", None)
    if issubclass(kind, VmomiSupport.DataObject):
        return made(kind)
    return kind()
