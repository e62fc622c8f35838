"""Describe the files in config/ as typed, frozen settings; each top class is one file and one JSON schema.

Any text field may be a reference in place of a value: `{env: NAME}`, or `{file: path}` where a relative path is looked
up in Passgate's home. Secrets must be references. References are resolved when they are used, by `resolve`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.attachments import Attachments
from passgate.settings.calendar import Calendar
from passgate.settings.people import People
from passgate.settings.rules import Policy
from passgate.settings.schedules import ScheduleFile
from passgate.settings.targets import Targets
from passgate.settings.values import Duration, Reference, Settings, Text
from passgate.settings.zones import Zone


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

    zone: Zone = Field(default="UTC", description="Where times are meant that name no zone, such as in the calendar")
    vcenter: VCenter = Field(description="The vCenter; one per Passgate")
    shell: Shell | None = Field(default=None, description="Left out: hosts are not read by shell; USB runbooks need it")
    guests: tuple[GuestLogin, ...] = Field(
        default=(), description="Logins for looking at devices; one that names the VM goes before one for all"
    )
    pci: Pci = Field(default=Pci(), description="What can't be read about PCI passthrough")


class Slack(Settings):
    """Say how to reach Slack."""

    bot_token: Reference = Field(description="xoxb-..., by reference")
    transport: Literal["socket", "http"] = Field(
        default="socket",
        description="How clicks come: socket (Socket Mode, no public address), or http (Slack sends signed requests to "
        "/slack of the service, which needs a public address and TLS before it)",
    )
    app_token: Reference | None = Field(
        default=None, description="xapp-... with the scope connections:write, by reference; for socket"
    )
    signing_secret: Reference | None = Field(
        default=None, description="The app's signing secret, by reference; for http"
    )
    channel: str = Field(description="Channel id, not its name")
    api_url: Text = Field(default="https://slack.com/api/", description="Ends in /api/")
    heartbeat_channel: str | None = Field(
        default=None,
        description="Id of a private channel where the app edits a message every 45 s to hear itself, and so notices "
        "within 90 s that clicks do not come in; it needs the event message.groups",
    )
    burst: int = Field(default=20, ge=1, description="Messages that may go out at once; then Slack takes one a second")

    @model_validator(mode="after")
    def _has_what_its_transport_needs(self) -> Self:
        if self.transport == "socket" and self.app_token is None:
            raise PydanticCustomError("slack", "app_token, for transport: socket")
        if self.transport == "http" and self.signing_secret is None:
            raise PydanticCustomError("slack", "signing_secret, for transport: http")
        return self


class Notice(Settings):
    """Name one other channel that is told what happens: Teams, Mattermost, mail, anything that apprise speaks to."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$", description="Of your own choice; the log names it")
    url: Reference = Field(description="apprise's address of it, by reference: it holds tokens or passwords")
    about: tuple[Literal["waiting", "ended", "stopped", "break-glass", "review", "chat-deaf"], ...] = Field(
        default=("waiting", "stopped", "break-glass", "review", "chat-deaf"),
        min_length=1,
        description="What it is told",
    )


class Chat(Settings):
    """config/chat.yaml: where reports go. Without it, approvals work on the command line."""

    slack: Slack | None = Field(default=None, description="Left out: no chat")
    notices: tuple[Notice, ...] = Field(default=(), description="Other channels; they are told, and decide nothing")

    @field_validator("notices")
    @classmethod
    def _each_name_once(cls, notices: tuple[Notice, ...]) -> tuple[Notice, ...]:
        if len({one.name for one in notices}) < len(notices):
            raise PydanticCustomError("notices", "each name once")
        return notices


class NamedDevice(Settings):
    """Give a name to one USB device."""

    vendor_product: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$", description="In hex, such as 18a5:0302"
    )
    path: str | None = Field(default=None, pattern=r"^\d+(/\d+)+$", description="On the host, such as 0/1/6")
    serial: str | None = Field(default=None, description="As the host's shell shows it")
    description: str = Field(default="", description="For people")

    @property
    def selector(self) -> str:
        """Return what the name stands for, as people write it."""
        parts = (self.vendor_product, self.path and f"path:{self.path}", self.serial and f"serial:{self.serial}")
        return ",".join(part for part in parts if part)


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
    standby: bool = Field(
        default=False,
        description="Whether a further service on the same database starts as a door and takes over when the first "
        "one is gone; otherwise it refuses to start",
    )
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
    calendar: Calendar = Calendar()
    schedules: ScheduleFile = ScheduleFile()
    attachments: Attachments = Attachments()
    targets: Targets = Targets()
    chat: Chat = Chat()
    devices: Devices = Devices()
    service: Service = Service()
    lab: LabWorld = LabWorld()
