"""Describe config/policies/*.yaml: which changes a rule is about, and what it asks of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.values import Duration, Settings

APPROVE_WITHIN = timedelta(hours=8)
EXECUTE_WITHIN = timedelta(hours=4)
"""The two clocks where no rule that applies says anything of them."""

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Hours(Settings):
    """Name hours of the week, in a time zone of their own. An end before the start is on the next day."""

    days: tuple[Weekday, ...] = Field(default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), min_length=1)
    start: str = Field(default="00:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="Local time, such as 08:00")
    end: str = Field(default="24:00", pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", description="First minute outside")
    zone: str = Field(default="UTC", description="IANA time zone, such as Europe/Vienna")


class Selector(Settings):
    """Say which changes a rule, a window or a freeze is about. `*`, or an empty list, stands for any.

    All fields must fit. Names are glob patterns. A rule that allows something wants each VM, host, cluster or tagged
    thing of a change to fit; one that asks for something or forbids is content with one (`passgate.policy.facts`).
    """

    runbooks: tuple[str, ...] = Field(default=("*",), description="Slugs; * stands for any")
    risks: tuple[Literal["read-only", "low", "disruptive", "host-wide"], ...] = Field(
        default=(), description="None: any"
    )
    kinds: tuple[Literal["normal", "emergency", "break-glass"], ...] = Field(
        default=(), description="What the change is asked for as; none: any"
    )
    vms: tuple[str, ...] = Field(default=("*",), description="Glob patterns over the names of the VMs that are changed")
    hosts: tuple[str, ...] = Field(default=("*",), description="Glob patterns over the names of the hosts concerned")
    clusters: tuple[str, ...] = Field(default=("*",), description="Glob patterns over the names of their clusters")
    tags: tuple[str, ...] = Field(default=("*",), description="vSphere tags as Category/Name, glob patterns")
    environments: tuple[str, ...] = Field(default=("*",), description="Environments of config/targets.yaml")
    requesters: tuple[str, ...] = Field(default=("*",), description="Person ids or groups; * stands for anybody")


class Approval(Settings):
    """Say how many approvals by whom a change needs, and how many denials end it."""

    needed: int = Field(default=1, ge=1, le=20, description="How many different people must approve")
    groups: tuple[str, ...] = Field(default=(), description="Members of any of these may decide; never the requester")
    people: tuple[str, ...] = Field(default=(), description="Person ids of those who may decide, besides the groups")
    owners: bool = Field(default=False, description="The owners of the VMs concerned may (config/targets.yaml)")
    denials: int = Field(default=1, ge=1, le=20, description="How many denials end the change")

    @model_validator(mode="after")
    def _of_somebody(self) -> Self:
        if not self.groups and not self.people and not self.owners:
            raise PydanticCustomError("approval", "at least one of groups, people and owners")
        return self

    @property
    def of(self) -> str:
        """Say in words whose approval it is."""
        return " or ".join((*self.groups, *self.people, *(("the owners of the VM",) if self.owners else ())))


def _as_list(given: Any) -> Any:
    return (given,) if isinstance(given, dict | Approval) else given


Approvals = Annotated[
    tuple[Approval, ...], BeforeValidator(_as_list, json_schema_input_type=Approval | tuple[Approval, ...])
]
"""One approval, or a list of which each has to be met, by different people."""

GateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
DoorName = Literal["cli", "api", "slack", "web"]


class Escalation(Settings):
    """Let others decide too when nobody did for a while."""

    after: Duration = Field(description="Counted from when the decision was asked for")
    groups: tuple[str, ...] = Field(min_length=1, description="Their members may decide from then on, and are told")


class GateRule(Settings):
    """Say what a second gate needs: one right before a step, such as a host reboot, once the plan was approved."""

    approval: Approvals = Field(min_length=1, description="Whose approval it takes to go on; never the requester's")
    approve_within: Duration = Field(
        default=timedelta(hours=2), description="Then what was done is taken back; never null: it is half done"
    )
    others: bool = Field(default=False, description="Who approved the plan does not count at this gate")
    remind: tuple[Duration, ...] = Field(default=(), description="When to remind who may decide, from its opening on")
    escalate: tuple[Escalation, ...] = Field(default=(), description="Who may decide too, when nobody did for a while")
    reason_required: bool = Field(default=False, description="An approval needs a reason too")


class Limit(Settings):
    """Bound how many changes a rule authorises in advance."""

    changes: int = Field(ge=1, description="So many")
    within: Duration = Field(description="In so long; any further one has to be approved")


class BreakGlass(Settings):
    """Say who may act first and be reviewed afterwards. An empty list of groups and people forbids it to all."""

    groups: tuple[str, ...] = Field(default=(), description="Members may break the glass")
    people: tuple[str, ...] = Field(default=(), description="Person ids of others who may")
    execute_within: Duration = Field(default=timedelta(minutes=30), description="Then it is over")
    reviewers: tuple[str, ...] = Field(default=(), description="Groups of whom one member closes the review")
    review_within: Duration = Field(default=timedelta(days=3), description="Then everybody is told that it is overdue")
    overrides_freezes: bool = Field(default=True, description="It is not stopped by freezes and closed windows")


class PolicyRule(Selector):
    """Say what the changes that it is about need. All rules that match apply, and the strictest wins, field by field.

    A field that is left out says nothing. A rule with `default: true` applies only where no other rule that says who
    approves is about the whole change.
    """

    name: str = Field(description="Told to people, and recorded with each change")
    default: bool = Field(default=False, description="Applies only where no other rule says who approves")
    hours: tuple[Hours, ...] = Field(
        default=(), description="Applies to changes asked for in these hours; none: always"
    )
    pre_authorised: bool = Field(default=False, description="A standard change: planned, recorded, not asked for")
    limit: Limit | None = Field(
        default=None, description="How many changes are authorised in advance; none: any number"
    )
    approval: Approvals = Field(
        default=(), description="Whose approval it takes: one, or a list that must all be met by different people"
    )
    approve_within: Duration | None = Field(
        default=APPROVE_WITHIN, description="The first clock: then it expires. Null: waits for ever"
    )
    execute_within: Duration | None = Field(
        default=EXECUTE_WITHIN, description="The second clock: how long an approval stays good. Null: for ever"
    )
    undo_on_failure: bool = Field(default=True, description="Take back what was done when a step fails for good")
    reason_required: bool = Field(default=False, description="An approval needs a reason too; a denial always does")
    doors: tuple[DoorName, ...] = Field(
        default=(), description="Where decisions may be given, such as [cli] for no decisions in Slack; none: anywhere"
    )
    remind: tuple[Duration, ...] = Field(default=(), description="When to remind who may decide, from the request on")
    escalate: tuple[Escalation, ...] = Field(default=(), description="Who may decide too, when nobody did for a while")
    break_glass: BreakGlass | None = Field(default=None, description="Who may act first and be reviewed afterwards")
    standing: Duration | None = Field(
        default=None, description="How long an approval may stand for later runs of a schedule; none: not at all"
    )
    mends: bool | None = Field(
        default=None, description="Whether `usb-drift --mend` may file the changes that mend a drift; none: no"
    )
    gates: dict[GateName, GateRule] = Field(
        default_factory=dict,
        description="Second gates by name, such as host-reboot and guest-reboot; one that is not named here is not "
        "asked at: the plan's approval covers its step",
    )

    @property
    def settles(self) -> bool:
        """Say whether it says who approves: somebody, or nobody because it is authorised in advance."""
        return self.pre_authorised or bool(self.approval)


class Policy(Settings):
    """config/policies/*.yaml: rules, told in the order of file names and then of lines."""

    rules: tuple[PolicyRule, ...]
