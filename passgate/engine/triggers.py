"""Have Prefect's scheduler ring for our schedules: its deployment schedules are made from our table, never obeyed.

Measured (docs/decisions/0009-schedules.md): writing a deployment removes all its schedules; one in the hour that the
clock skips rings an hour early; after an outage every missed one rings. None of that matters, for a ring only makes our
table be asked what is due.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule
from prefect.exceptions import PrefectHTTPStatusError

from passgate.engine.due import put_right, take_due
from passgate.engine.runtime import Runtime
from passgate.errors import PassgateError
from passgate.model.change import Change
from passgate.model.schedule import Schedule
from passgate.settings.schedules import ScheduleRule

EVERY = 5.0
"""Seconds between two looks at what is due; a change of a schedule is taken up at once."""
ROUNDS = 12
"""How many looks there are between two comparisons with Prefect's schedules."""
GRACE = timedelta(seconds=30)
"""How long Prefect's trigger has, before our own round files what is due."""

DEPLOYMENTS = 200
"""How many are read at once; there is one for each runbook."""
FAULTS = (httpx.HTTPError, PrefectHTTPStatusError)

log = logging.getLogger(__name__)


def trigger_of(rule: ScheduleRule) -> CronSchedule | RRuleSchedule:
    """Return a schedule's times as Prefect takes them."""
    if rule.cron is not None:
        return CronSchedule(cron=rule.cron, timezone=rule.zone)
    return RRuleSchedule(rrule=f"DTSTART:{rule.first:%Y%m%dT%H%M%S}\nRRULE:{rule.rrule}", timezone=rule.zone)


def wanted(schedule: Schedule) -> DeploymentScheduleCreate:
    """Return the deployment schedule that a schedule of ours should have."""
    rule = schedule.rule
    return DeploymentScheduleCreate(
        schedule=trigger_of(rule),
        active=not schedule.paused,
        parameters=rule.model_dump(mode="json")["ask"],
        slug=rule.name,
    )


def is_alike(there: DeploymentSchedule, ours: DeploymentScheduleCreate) -> bool:
    """Say whether a schedule of Prefect is as one of ours was written."""
    same = (there.slug, there.active, there.parameters) == (ours.slug, ours.active, ours.parameters)
    return same and there.max_scheduled_runs is None and there.schedule == ours.schedule


class Triggers:
    """Keep Prefect's schedules as our table says, and file what Prefect does not ring for.

    Make it before anything is changed at a start: what the table says then is what was written to Prefect last.
    """

    def __init__(self, runtime: Runtime, start: Callable[[Change], None], moved: asyncio.Event) -> None:
        self._runtime, self._start, self._moved = runtime, start, moved
        self._written = self._of_table()

    def of_runbook(self, slug: str) -> list[DeploymentScheduleCreate]:
        """Return the deployment schedules that a runbook's deployment should have."""
        return [wanted(one) for one in self._runtime.store.schedules.all() if one.rule.runbook == slug]

    async def run(self) -> None:
        """Look again and again, until cancelled; a fault in one round never ends it."""
        for rounds in count():
            try:
                if self._moved.is_set() or rounds % ROUNDS == 0:
                    self._moved.clear()
                    await self.put_right()
                await self.round()
            except Exception:
                log.exception("a round of the schedules failed; the next one follows")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), EVERY)

    async def round(self) -> None:
        """File what is due and was not rung for."""
        for schedule in self._runtime.store.schedules.all():
            try:
                change = await take_due(self._runtime, schedule, grace=GRACE)
            except PassgateError as error:
                log.warning("schedule %s: %s", schedule.name, error.message)
            else:
                if change is not None:
                    self._start(change)

    async def put_right(self) -> None:
        """Make Prefect's schedules those of our table; what somebody did to them there is undone, and recorded."""
        should = self._of_table()
        async with get_client() as client:
            try:
                for deployment in await client.read_deployments(limit=DEPLOYMENTS):
                    if deployment.name in self._runtime.catalogue.runbooks:
                        await self._put_right(client, deployment, should.get(deployment.name, {}))
            except FAULTS as error:
                log.warning("Prefect's schedules could not be compared, which is tried again: %s", error)
                return
        self._written = should

    async def _put_right(
        self, client: PrefectClient, deployment: DeploymentResponse, should: dict[str, DeploymentScheduleCreate]
    ) -> None:
        runbook, written = deployment.name, self._written.get(deployment.name, {})
        kept: set[str] = set()
        for there in deployment.schedules:
            slug = there.slug or ""
            is_right = slug in should and is_alike(there, should[slug])
            # What this process has not written itself may be there from the service before it.
            if slug not in written and not is_right:
                self._report(slug or str(there.schedule), runbook, "is none of Passgate's")
            elif slug in written and not is_alike(there, written[slug]):
                self._report(slug, runbook, "was altered")
            if is_right:
                kept.add(slug)
            else:
                await client.delete_deployment_schedule(deployment.id, there.id)
        for slug in written.keys() - {there.slug for there in deployment.schedules}:
            self._report(slug, runbook, "was removed")
        for slug, one in should.items():
            if slug not in kept:
                await client.create_deployment_schedules(
                    deployment.id, [(one.schedule, bool(one.active))], parameters=one.parameters, slug=slug
                )

    def _of_table(self) -> dict[str, dict[str, DeploymentScheduleCreate]]:
        found: dict[str, dict[str, DeploymentScheduleCreate]] = {}
        for one in self._runtime.store.schedules.all():
            found.setdefault(one.rule.runbook, {})[one.name] = wanted(one)
        return found

    def _report(self, name: str, runbook: str, what: str) -> None:
        why = f"the schedule {name} of {runbook} {what} in Prefect; that was put right, and nothing obeyed it"
        put_right(self._runtime, name, runbook, why)
