"""Offer what flows/ and tasks/ are written with: asks, runbooks, steps, checks, and the systems that steps act on.

This is the engine's public step API. It imports neither Prefect nor pyVmomi, so that runbooks, `passgate --help` and
every planning test run without them.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from passgate.engine.ports import Guest, Hosts, HostShell, Logs, Notes, Survey, VSphere
from passgate.model.drift import Declaration
from passgate.model.inventory import Inventory
from passgate.model.plan import CheckResult, Risk, Severity
from passgate.model.table import Table
from passgate.model.usb import UsbSelector

__all__ = [
    "Ask", "Check", "Confirmation", "Effect", "HostName", "HostPattern", "NoUndo", "Reads", "Remedy", "Risk", "Runbook",
    "Saw", "Severity", "Step", "Steps", "Systems", "Tell", "UsbSelector", "VmName", "runbook",
]  # fmt: skip


@dataclass(frozen=True)
class NamesVm:
    """Mark a field as the name of a VM, so that the engine knows which part of the estate to read."""


VmName = Annotated[
    str,
    NamesVm(),
    Field(
        min_length=1,
        max_length=80,
        title="VM",
        description="Name of the VM, or its instance UUID",
        examples=["win-01"],
    ),
]

HostPattern = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9*?\[\]._:-]+$")]
"""Name of a host, or a pattern over names such as `esx-0*`."""


@dataclass(frozen=True)
class NamesHost:
    """Mark a field as the name of a host, for the same purpose."""


HostName = Annotated[
    str,
    NamesHost(),
    Field(min_length=1, max_length=255, title="Host", description="Name of the host as vCenter shows it"),
]


Urgency = Literal["normal", "emergency", "break-glass"]
"""What a change is asked for as; policy says what that means (passgate.model.decision.Kind)."""


class Ask(BaseModel):
    """Base of what a runbook asks for: its fields become CLI options, forms and Prefect parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field(default="", max_length=500, title="Reason", description="Why this change is wanted")
    ticket: str | None = Field(default=None, max_length=100, title="Ticket", description="Id in your ticket system")
    urgency: Urgency = Field(
        default="normal",
        title="Urgency",
        description="normal; emergency: policy may ask others, faster; break-glass: begin now, be reviewed afterwards",
    )

    not_before: datetime | None = Field(
        default=None,
        title="Not before",
        description="Earliest start, such as 2026-12-01T22:00; without an offset in the site's time zone",
    )

    def vms(self) -> tuple[str, ...]:
        """Return the names of the VMs that are asked about."""
        return self._marked(NamesVm)

    def hosts(self) -> tuple[str, ...]:
        """Return the names of the hosts that are asked about."""
        return self._marked(NamesHost)

    def target(self) -> str:
        """Return in words what the change is about."""
        return ", ".join((*self.vms(), *self.hosts()))

    def _marked(self, mark: type) -> tuple[str, ...]:
        fields = type(self).model_fields.items()
        marked = [name for name, info in fields if any(isinstance(one, mark) for one in info.metadata)]
        return tuple(value for name in marked if (value := getattr(self, name)))


class Reads(StrEnum):
    """Name what a runbook needs beyond VMs and hosts.

    Reading a host's USB devices opens its shell; reading guests runs a program in the guest of each named VM that
    answers; PCI functions come with the three states of their passthrough.
    """

    USB = "usb"
    PCI = "pci"
    GUEST = "guest"


@dataclass(frozen=True)
class Effect:
    """Say what a step would do, on paper: before, after and impact in words, and the inventory as it would be then."""

    needed: bool
    before: str
    after: str
    then: Inventory
    impact: str = ""

    @classmethod
    def nothing(cls, why: str, site: Inventory) -> Effect:
        """Say that the step has nothing to do, and why."""
        return cls(needed=False, before=why, after=why, then=site)


class Saw(StrEnum):
    """Name what a fresh reading said about a step's effect."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Confirmation:
    """Hold what a fresh reading showed. `words` says it to people; `facts` go to the evidence as they are.

    A `table` is for more than a message holds: the engine keeps it whole as CSV and JSON, in the evidence too, shows it
    as a Prefect artifact, and its first rows in the change's thread.
    """

    saw: Saw
    words: str
    facts: dict[str, Any] = field(default_factory=dict)
    table: Table | None = None


@dataclass(frozen=True)
class NoUndo:
    """Say why a step can't, or need not, be taken back.

    `leaves` False says that nothing of the completed step stays, as after a reboot: such a step counts as taken back
    once it is done, with `why` as the reason. One that failed or was cut off stays unknown all the same.
    """

    why: str
    leaves: bool = True

    @property
    def words(self) -> str:
        """Return what the plan says of it."""
        return f"none: {self.why}" if self.leaves else f"none needed: {self.why}"


Tell = Callable[[str, Mapping[str, Any]], None]
"""Report words, and facts for the evidence, in the thread of the change that is carried out."""


def tell_nobody(words: str, facts: Mapping[str, Any]) -> None:
    """Drop what a step reports where no change is carried out."""


@dataclass(frozen=True)
class Systems:
    """Hand a step the systems that it acts on.

    Every mutating method of these asks the engine for authority before it sends anything; with systems that were made
    for reading it is always refused. `tell` is for steps that only look and have news while they do: what it is given
    is recorded in the ledger and shown in the change's thread and in `passgate watch`. `notes` are the step's own, and
    survive a crash. `declaration` is what config/attachments.yaml says, names of devices resolved.
    """

    vsphere: VSphere
    hosts: Hosts
    shell: HostShell
    guest: Guest
    survey: Survey
    logs: Logs
    notes: Notes
    tell: Tell = tell_nobody
    declaration: Declaration = field(default_factory=Declaration)


class Step(ABC):
    """One action of a plan. Subclasses are frozen dataclasses whose fields are identities and plain values.

    `attempts` bounds the tries of `apply`, on errors that are safe to repeat. `patience` is how long `confirm` may say
    no or unknown before the attempt counts as failed, looked at every `look_every`.

    `takes` is how long the step is expected to take, look included, where nothing is known of earlier times; the sum of
    a plan is held against what is left of a change's window. `expected` says it of a step whose fields tell it.

    `gate` names a second gate right before the step, `host-reboot` or `guest-reboot`: where policy has terms for it,
    the run waits there for decisions of their own; where it has none, the plan's approval covers the step.

    `temporary` says that what the step did is given back on every end, also where policy leaves failed changes as they
    are. The runbook yields the step that ends it, equal to `undo()`, as its last act; when the change fails before, or
    the runbook yields none, the engine takes it back. That ending step's own undo says whether it must be entered again
    to take back what lies between (a `Step`), or not (`NoUndo(..., leaves=False)`).
    """

    attempts: ClassVar[int] = 4
    patience: ClassVar[timedelta] = timedelta(seconds=60)
    look_every: ClassVar[timedelta] = timedelta(seconds=2)
    takes: ClassVar[timedelta] = timedelta(seconds=15)
    mutates: ClassVar[bool] = True
    in_guest: ClassVar[bool] = False
    """Whether `confirm` looks into the guest itself: what it sees is the guest's proof, and told as such."""
    gate: ClassVar[str] = ""
    temporary: ClassVar[bool] = False
    aspect: ClassVar[str] = ""
    """What of the world the step sets, by default what its module is about. Of the steps of one aspect only the last
    one's effect has to hold: after an interruption it is looked at anew before the change goes on."""

    @classmethod
    def kind(cls) -> str:
        """Return `module.Class` as it is under tasks/, such as `power.Off`."""
        return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"

    @property
    @abstractmethod
    def title(self) -> str:
        """Return the step in plain words, such as `Power off win-01`."""

    @abstractmethod
    def effect(self, site: Inventory) -> Effect:
        """Say on paper what this step would do to that inventory. Calls nothing."""

    @abstractmethod
    def apply(self, systems: Systems) -> None:
        """Act. Safe to repeat: looks first where repeating would do it twice."""

    @abstractmethod
    def confirm(self, systems: Systems) -> Confirmation:
        """Read the world anew and say whether the effect is there."""

    @abstractmethod
    def undo(self) -> Step | NoUndo:
        """Name the step that takes this one back, or say why there is none."""

    def expected(self) -> timedelta:
        """Return how long this very step is expected to take."""
        return self.takes

    def fields(self) -> dict[str, Any]:
        """Return the step's fields as JSON; readings are reduced to the identities that the fields declare."""
        dumped: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return dumped

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Step:
        """Make the step again from what `fields` returned."""
        made: Step = _adapter(cls).validate_python(fields)
        return made


@cache
def _adapter(kind: type[Step]) -> TypeAdapter[Any]:
    """Return what reads and writes the fields of a step; making it takes longer than planning does."""
    return TypeAdapter(kind)


class Look(Step):
    """A step that changes nothing: it waits until a fresh reading says yes.

    What the last one saw is the outcome of the change. `aside` says that it looks at what the change is not for, such
    as whether its host is back at work: that is the outcome only where nothing else looked.
    """

    mutates: ClassVar[bool] = False
    aside: ClassVar[bool] = False

    def apply(self, systems: Systems) -> None:
        """Do nothing."""

    def undo(self) -> NoUndo:
        """Leave nothing behind: looking changes nothing."""
        return NoUndo("it only looks")


class Remedy(Step):
    """A step that is carried out only if all is not well without it, such as adding a device once more.

    It is judged when its turn comes: if `well` says yes within the step's patience, the journal says `not needed` with
    what was seen. On paper it always has something to do, so title, before and after say that it is conditional, and
    `effect` leaves the inventory as it is either way. A remedy with a gate that policy has no terms for is not carried
    out; the steps after it judge what that means.
    """

    @abstractmethod
    def well(self, systems: Systems) -> Confirmation:
        """Read the world anew and say whether this remedy can be spared."""


class Check(ABC):
    """A requirement or limit, looked at on paper before anything is touched. Subclasses are frozen dataclasses.

    `code` is stable and never used again (`USB-ARB-01`), `rule` is the requirement in words, `source` names the
    article, a vendor document or a measurement.
    """

    code: ClassVar[str]
    rule: ClassVar[str]
    source: ClassVar[str]
    hint: ClassVar[str] = ""
    severity: ClassVar[Severity] = Severity.STOP

    @abstractmethod
    def look(self, site: Inventory) -> tuple[bool, str]:
        """Return whether the rule is met, and what was seen, in words."""

    def result(self, site: Inventory) -> CheckResult:
        """Return the check's result for that inventory."""
        met, saw = self.look(site)
        return CheckResult(
            code=self.code, rule=self.rule, severity=self.severity, met=met, saw=saw, hint=self.hint, source=self.source
        )


Steps = Iterator[Step | Check]
A = TypeVar("A", bound=Ask)


@dataclass(frozen=True)
class Runbook(Generic[A]):
    """Hold a procedure: what it asks, how risky it is, and the generator that yields its checks and steps."""

    slug: str
    title: str
    description: str
    ask: type[A]
    risk: Risk
    reads: frozenset[Reads]
    procedure: Callable[[A, Inventory], Steps]

    def __call__(self, ask: A, site: Inventory) -> Steps:
        """Yield the checks and steps for that ask."""
        return self.procedure(ask, site)


def runbook(
    *, risk: Risk, reads: frozenset[Reads] = frozenset()
) -> Callable[[Callable[[A, Inventory], Steps]], Runbook[A]]:
    """Make a runbook of a generator.

    Slug and title follow from its name and docstring, the form from its first parameter, the description from what its
    file says below its first line.
    """

    def make(procedure: Callable[[A, Inventory], Steps]) -> Runbook[A]:
        parameters = list(inspect.signature(procedure, eval_str=True).parameters.values())
        ask = parameters[0].annotation
        title = (inspect.getdoc(procedure) or procedure.__name__).partition("\n")[0].rstrip(".")
        description = (inspect.getdoc(inspect.getmodule(procedure)) or "").partition("\n")[2].strip()
        slug = procedure.__name__.replace("_", "-")
        return Runbook(slug, title, description, ask, risk, frozenset(reads), procedure)

    return make
