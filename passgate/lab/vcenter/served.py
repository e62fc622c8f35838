"""Define what a managed object of the simulated vCenter is: its properties by name, its methods by WSDL name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import VmomiSupport

from passgate.lab.hardware import Fault, Refusal

if TYPE_CHECKING:
    from passgate.lab.vcenter.accounts import Account
    from passgate.lab.vcenter.estate import Estate

_STEP = re.compile(r"^(\w+)(?:\[(.+)\])?$")


@dataclass(eq=False)
class Session:
    """Hold one login and what lives as long as it: views, property collectors, pages that are not yet read."""

    key: str
    user: str
    account: Account
    agent: str = ""
    login_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_active: datetime = field(default_factory=lambda: datetime.now(UTC))
    objects: dict[str, Served] = field(default_factory=dict)
    pages: dict[str, list[Any]] = field(default_factory=dict)
    next_id: int = 0

    def new_id(self) -> str:
        """Return a number that is unique in this session."""
        self.next_id += 1
        return f"{self.key[:8]}-{self.next_id}"


@dataclass(frozen=True)
class Call:
    """Hold who calls; `session` is None before login."""

    session: Session | None
    version: str
    agent: str = ""
    fault: Fault | None = None
    """Injected fault that the task of this call ends with."""

    @property
    def user(self) -> str:
        """Return the user's name, as tasks and the log of mutating calls show it."""
        return self.session.user if self.session else ""


class Served:
    """Base of all managed objects.

    A Python property with the name of a vSphere property serves it; where there is none, the property is unset. A
    method with a WSDL name serves that call: it gets the `Call` first, then the parameters by name.
    """

    kind: ClassVar[Any]

    def __init__(self, estate: Estate, ref: str) -> None:
        self.estate = estate
        self.world = estate.world
        self.ref = ref

    @property
    def me(self) -> Any:
        """Return the reference that goes over the wire."""
        return self.kind(self.ref, None)

    @property
    def label(self) -> str:
        """Return the name that faults and the log of mutating calls know this object by."""
        return str(getattr(self, "name", self.ref))

    def described(self, name: str) -> Any:
        """Return pyVmomi's description of one property; raises InvalidProperty for a name that does not exist."""
        try:
            return self.kind._GetPropertyInfo(name)  # noqa: SLF001 - pyVmomi documents it as public
        except (AttributeError, KeyError):
            raise Refusal("InvalidProperty", f"{self.kind.__name__} has no property {name}.", name=name) from None

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Return property path -> the fault that is answered in its place."""
        return {}

    def children(self) -> list[Served]:
        """Return what is below this object in the inventory tree."""
        return []

    def prop(self, name: str, session: Session | None) -> Any:  # noqa: ARG002 - some answers differ by session
        """Return one property of this object; None when it is unset."""
        self.described(name)
        return getattr(self, name, None)

    def read(self, path: str, session: Session | None, known: dict[str, Any] | None = None) -> Any:
        """Return what a property path such as `config.hardware.device[4000]` leads to; None when it is unset.

        `known` keeps top properties between reads of one answer, so that none is built twice.
        """
        steps = path.split(".")
        head = _STEP.match(steps[0])
        if head is None:
            raise Refusal("InvalidProperty", f"{path} is no property path.", name=path)
        kind = self.described(head[1]).type
        known = {} if known is None else known
        if head[1] not in known:
            known[head[1]] = self.prop(head[1], session)
        value = _item(known[head[1]], head[2])
        for step in steps[1:]:
            part = _STEP.match(step)
            if part is None or not issubclass(kind, VmomiSupport.DataObject):
                raise Refusal("InvalidProperty", f"{self.kind.__name__} has no property {path}.", name=path)
            owner = kind if value is None else type(value)
            try:
                kind = owner._GetPropertyInfo(part[1]).type  # noqa: SLF001 - pyVmomi documents it as public
            except (AttributeError, KeyError):
                raise Refusal("InvalidProperty", f"{self.kind.__name__} has no property {path}.", name=path) from None
            value = None if value is None else _item(getattr(value, part[1]), part[2])
        # pyVmomi keeps a plain list as it was assigned; as a property of its own it must say what it is a list of.
        return kind(value) if type(value) is list else value

    def names(self) -> list[str]:
        """Return the names of the properties that are served here, for `all=True`."""
        return [one.name for one in self.kind._GetPropertyList() if hasattr(type(self), one.name)]  # noqa: SLF001 - as above


def _item(value: Any, key: str | None) -> Any:
    """Return the item of a list whose `key` is the one in brackets."""
    if key is None or value is None:
        return value
    wanted = key.strip("\"'")
    return next((one for one in value if str(getattr(one, "key", one)) == wanted), None)


def refs(items: list[Any], kind: Any = VmomiSupport.ManagedObject) -> Any:
    """Return references as the typed list that pyVmomi serializes."""
    return kind.Array([one.me if isinstance(one, Served) else one for one in items])
