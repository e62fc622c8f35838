"""Describe the files in config/ as typed, frozen settings; each top class is one file and one JSON schema.

Any text field may be a reference in place of a value: `{env: NAME}`, or `{file: path}` where a relative path is looked
up in Passgate's home. Secrets must be references. References are resolved when they are used, by `resolve`.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
DURATION = r"^(\d+(\.\d+)?[dhms])+$"


def _duration(given: Any) -> timedelta:
    """Read a duration as people write it: 30s, 90m, 8h, 1h30m, 2d."""
    if isinstance(given, timedelta):
        return given
    if not isinstance(given, str) or not re.fullmatch(DURATION, given):
        raise PydanticCustomError("duration", "a duration such as 30s, 90m, 8h, 1h30m or 2d")
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", given)
    return sum((timedelta(**{UNITS[unit]: float(number)}) for number, unit in parts), timedelta())


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["30s", "8h", "2d"]}),
]
"""A length of time as people write it."""


class Settings(BaseModel):
    """Refuse unknown fields, so that a typing error in config is an error and not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FromEnv(Settings):
    """Take the value from an environment variable."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name of the environment variable")


class FromFile(Settings):
    """Take the value from a file; its last newline is not part of it."""

    file: str = Field(min_length=1, description="Path; a relative one is looked up in Passgate's home")


def _kind_of_reference(given: Any) -> str | None:
    """Say which kind of text was written; None: neither a value nor a reference."""
    if isinstance(given, str):
        return "value"
    if isinstance(given, FromEnv) or (isinstance(given, dict) and "env" in given):
        return "env"
    if isinstance(given, FromFile) or (isinstance(given, dict) and "file" in given):
        return "file"
    return None


Reference = Annotated[
    Annotated[FromEnv, Tag("env")] | Annotated[FromFile, Tag("file")],
    Discriminator(
        _kind_of_reference,
        custom_error_type="reference",
        custom_error_message="a reference, {env: NAME} or {file: path}, never the secret itself",
    ),
]
"""Where a secret is kept."""

Text = Annotated[
    Annotated[str, Tag("value")] | Annotated[FromEnv, Tag("env")] | Annotated[FromFile, Tag("file")],
    Discriminator(
        _kind_of_reference,
        custom_error_type="text",
        custom_error_message="a text, or a reference: {env: NAME} or {file: path}",
    ),
]
"""A plain value or a reference to one."""


class VCenter(Settings):
    """Say how to reach the vCenter (or a standalone ESXi host)."""

    name: str = Field(default="vcenter", description="Name in messages and plans")
    url: Text = Field(description="https://host[:port] of the vCenter; the path is always /sdk")
    ca: Text | None = Field(
        default=None, description="PEM text of the CA that signed its certificate; none: the system's"
    )
    user: Text = Field(description="A service account of Passgate's own")
    password: Reference = Field(description="A reference, never the password itself")
    timeout: Duration = Field(default=timedelta(seconds=30), description="Bound on one call")


class Shell(Settings):
    """Say how to reach the ESXi shells of the hosts."""

    user: str = Field(default="root", description="Account on the hosts")
    key: Reference | None = Field(default=None, description="Private key, by reference")
    password: Reference | None = Field(default=None, description="Password, by reference, where there is no key")
    known_hosts: Text = Field(description="Text in the format of known_hosts; unknown keys are refused")
    port: int = Field(default=22, ge=1, le=65535)
    addresses: Text | None = Field(
        default=None, description="JSON object, host name -> address:port, where DNS names and the port do not serve"
    )
    timeout: Duration = Field(default=timedelta(seconds=20), description="Bound on one command")


class GuestLogin(Settings):
    """Name the account inside guests of one family."""

    family: Literal["windows", "linux"] = Field(description="Which guests this login is for")
    vms: tuple[str, ...] = Field(default=(), description="Names of VMs that this login is for; none: all of the family")
    user: str = Field(description="Account inside the guest")
    password: Reference = Field(description="A reference, never the password itself")


class BusRecord(Settings):
    """Keep which PCI function drives a USB bus of a host, on the word of a person who found it out there."""

    host: str = Field(min_length=1, description="Name of the host as vCenter shows it")
    bus: int = Field(ge=1, le=999, description="Number of the bus as lsusb of that host prints it: 2 for Bus 002")
    address: str = Field(
        pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$",
        description="PCI address of the controller, in hex as lspci of that host prints it: 0000:00:14.0",
    )
    confirmed_by: str = Field(min_length=1, max_length=100, description="Who found it out; plans show it")
    at: date = Field(description="When, such as 2026-11-25: cards and firmware settings renumber buses and addresses")


class Pci(Settings):
    """Say what can't be read about PCI passthrough."""

    controllers: tuple[BusRecord, ...] = Field(
        default=(),
        description="Which controller a USB bus belongs to, for hosts with several whose root hubs do not name theirs",
    )

    @field_validator("controllers")
    @classmethod
    def _one_record_per_bus(cls, records: tuple[BusRecord, ...]) -> tuple[BusRecord, ...]:
        seen: set[tuple[str, int]] = set()
        for one in records:
            if (one.host, one.bus) in seen:
                raise PydanticCustomError("bus", "one record per host and bus")
            seen.add((one.host, one.bus))
        return records


class Site(Settings):
    """config/site.yaml: the systems that Passgate acts on."""

    vcenter: VCenter = Field(description="The vCenter; one per Passgate")
    shell: Shell | None = Field(default=None, description="Left out: hosts are not read by shell; USB runbooks need it")
    guests: tuple[GuestLogin, ...] = Field(
        default=(), description="Logins for looking at devices; one that names the VM goes before one for all"
    )
    pci: Pci = Field(default=Pci(), description="What can't be read about PCI passthrough")


class Person(Settings):
    """Name one person; `slack` is the Slack user id, `groups` are named freely and used in policies."""

    id: str = Field(pattern=r"^[a-z][a-z0-9._-]{0,62}$", description="Lower case, such as alice or a.archer")
    name: str = Field(description="As people read it")
    slack: str | None = Field(
        default=None, pattern=r"^[UW][A-Z0-9]{2,}$", description="Slack user id such as U012ABCDEF, not the name"
    )
    email: str | None = Field(default=None, description="For your own use; Passgate does not write mail yet")
    groups: tuple[str, ...] = Field(default=(), description="Named freely; policies speak of them")


class People(Settings):
    """config/people.yaml: who may speak to Passgate."""

    people: tuple[Person, ...]


class Approval(Settings):
    """Say how many approvals from which groups a change needs, and how many denials end it."""

    needed: int = Field(default=1, ge=1, le=20, description="How many different people must approve")
    groups: tuple[str, ...] = Field(min_length=1, description="Members of any of these may decide; never the requester")
    denials: int = Field(default=1, ge=1, le=20, description="How many denials end the change")


GateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class GateRule(Settings):
    """Say what a second gate needs: one right before a step, such as a host reboot, once the plan was approved."""

    approval: Approval = Field(description="Whose approval it takes to go on; never the requester's")
    approve_within: Duration = Field(
        default=timedelta(hours=2), description="Then what was done is taken back; never null: it is half done"
    )
    others: bool = Field(default=False, description="Who approved the plan does not count at this gate")


class PolicyRule(Settings):
    """Say what the changes that it matches need. The first rule that matches is the one."""

    name: str = Field(description="Told to people, and recorded with each change")
    runbooks: tuple[str, ...] = Field(default=("*",), description="Slugs; * stands for any")
    risks: tuple[Literal["read-only", "low", "disruptive", "host-wide"], ...] = Field(
        default=(), description="None: any"
    )
    vms: tuple[str, ...] = Field(default=("*",), description="Glob patterns over the names of the VMs that are changed")
    requesters: tuple[str, ...] = Field(default=("*",), description="Person ids or groups; * stands for anybody")
    pre_authorised: bool = Field(default=False, description="A standard change: planned, recorded, not asked for")
    approval: Approval | None = Field(default=None, description="Whose approval it takes, if not pre-authorised")
    approve_within: Duration | None = Field(default=timedelta(hours=8), description="Null: waits for ever")
    execute_within: Duration | None = Field(default=timedelta(hours=4), description="How long an approval stays good")
    undo_on_failure: bool = Field(default=True, description="Take back what was done when a step fails for good")
    gates: dict[GateName, GateRule] = Field(
        default_factory=dict,
        description="Second gates by name, such as host-reboot and guest-reboot; one that is not named here is not "
        "asked at: the plan's approval covers its step",
    )


class Policy(Settings):
    """config/policies/*.yaml: rules, tried in the order of file names and then of lines."""

    rules: tuple[PolicyRule, ...]


class Slack(Settings):
    """Say how to reach Slack."""

    bot_token: Reference = Field(description="xoxb-..., by reference")
    app_token: Reference = Field(description="xapp-... with the scope connections:write, by reference")
    channel: str = Field(description="Channel id, not its name")
    api_url: Text = Field(default="https://slack.com/api/", description="Ends in /api/")
    burst: int = Field(default=20, ge=1, description="Messages that may go out at once; then Slack takes one a second")


class Chat(Settings):
    """config/chat.yaml: where reports go. Without it, approvals work on the command line."""

    slack: Slack | None = Field(default=None, description="Left out: no chat")


class NamedDevice(Settings):
    """Give a name to one USB device."""

    vendor_product: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$", description="In hex, such as 18a5:0302"
    )
    path: str | None = Field(default=None, pattern=r"^\d+(/\d+)+$", description="On the host, such as 0/1/6")
    serial: str | None = Field(default=None, description="As the host's shell shows it")
    description: str = Field(default="", description="For people")


class Devices(Settings):
    """config/devices.yaml: names for USB devices, to be used wherever a device is asked for."""

    devices: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")], NamedDevice] = Field(
        default_factory=dict
    )


class Service(Settings):
    """config/service.yaml: Passgate's own processes. Port 0 takes a free one and writes it into the home."""

    host: str = Field(default="127.0.0.1", description="Where the service and Prefect's server listen")
    port: int = Field(default=0, ge=0, le=65535, description="Of the service")
    database: Text | None = Field(default=None, description="SQLAlchemy URL; none: SQLite in Passgate's home")
    prefect_port: int = Field(default=0, ge=0, le=65535, description="Of Prefect's server")
    prefect_url: str | None = Field(default=None, description="A Prefect server that runs elsewhere; none: our own")
    origin: str = Field(default="passgate.example/lab", description="Name of this ledger in its signed checkpoints")
    retry_delays: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        default=(2.0, 10.0, 30.0), min_length=1, description="Seconds between tries of a step; the last one repeats"
    )
    retry_jitter: float = Field(default=0.3, ge=0, le=1, description="By what share of itself a delay may vary")
    hosts_at_once: int = Field(
        default=16, ge=1, le=256, description="How many hosts a census or a watch asks side by side"
    )


class LabWorld(Settings):
    """config/lab.yaml: the simulated datacenter. Port 0 takes a free one."""

    vcenter_port: int = Field(default=0, ge=0, le=65535)
    slack_port: int = Field(default=0, ge=0, le=65535)
    power_seconds: float = Field(default=1.0, ge=0, description="How long power operations take")
    boot_seconds: float = Field(default=3.0, ge=0, description="From power-on until VMware Tools answer")
    reconfigure_seconds: float = Field(default=0.5, ge=0, description="How long a change of a VM's hardware takes")
    connect_seconds: float = Field(
        default=0.5, ge=0, description="From power-on or hot-add until a USB device connects"
    )
    reboot_seconds: float = Field(default=2.0, ge=0, description="How long a host is away when it reboots")
    more_hosts: int = Field(
        default=0, ge=0, le=200, description="Hosts beyond the three, each with two dongles alike and a VM that has one"
    )


class Config(Settings):
    """Hold all of config/, checked once. Made by `passgate.settings.load.load_config`."""

    site: Site
    people: People
    policy: Policy
    chat: Chat = Chat()
    devices: Devices = Devices()
    service: Service = Service()
    lab: LabWorld = LabWorld()
