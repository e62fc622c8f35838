"""Look at everything that Passgate needs, one line each, and say what to do; what fails never stops the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from passgate.errors import AuthenticationError, ConfigError, PassgateError, UnreachableError, WorldError
from passgate.faces.cli.client import TOKEN_FILE, Service
from passgate.faces.cli.terminal import Answer
from passgate.settings.place import config_dir, content, home

if TYPE_CHECKING:
    from passgate.connect.slack import Identity
    from passgate.engine.estate import Estate
    from passgate.model.inventory import Inventory
    from passgate.settings.shape import Config

SKEW = timedelta(seconds=30)
"""Clocks that are further apart make the times in the record misleading."""


class Bench:
    """Hold what several checks need; what can't be had fails each of them by its own words."""

    @cached_property
    def config(self) -> Config:
        """Return the config."""
        from passgate.settings.load import load_config

        return load_config(config_dir())

    @cached_property
    def estate(self) -> Estate:
        """Return the systems that config names; nothing is called yet."""
        from passgate.engine.estate import Estate

        return Estate(self.config, home())

    @cached_property
    def inventory(self) -> Inventory:
        """Return a light reading of everything."""
        from passgate.connect.vsphere.reading import Scope, read_inventory

        return read_inventory(self.estate.session, Scope(), self.config.site.vcenter.name)


@dataclass(frozen=True)
class Result:
    """Hold what one check found."""

    name: str
    good: bool
    words: str
    hint: str = ""
    exit_code: int = 0

    @property
    def line(self) -> str:
        """Return it as one line."""
        mark = "ok  " if self.good else "FAIL"
        return f"{mark}  {self.name:<11} {self.words}{f'  What to do: {self.hint}' if self.hint else ''}"


def doctor() -> Iterator[Answer]:
    """Check config, home, vCenter, shells, clock, Slack, Prefect and the service, and say what to do."""
    bench = Bench()
    results: list[Result] = []
    first: dict[str, str] = {}
    for name, look in CHECKS.items():
        found = _looked(name, look, bench)
        if not found.good and (said := first.setdefault(found.words, name)) != name:
            found = replace(found, words=f"for the same reason as {said}", hint="")
        results.append(found)
        yield Answer([results[-1].line])
    bad = [one for one in results if not one.good]
    last = f"{len(bad)} of {len(results)} checks failed." if bad else f"All {len(results)} checks passed."
    data = [{"check": one.name, "good": one.good, "words": one.words, "hint": one.hint} for one in results]
    yield Answer([last], {"good": not bad, "checks": data}, bad[0].exit_code if bad else 0)


def _looked(name: str, look: Callable[[Bench], str], bench: Bench) -> Result:
    try:
        return Result(name, good=True, words=look(bench))
    except PassgateError as error:
        words = "; ".join(error.message.split("\n"))
        return Result(name, good=False, words=words, hint=error.hint, exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001 - a check that itself breaks must not hide the others
        words = f"could not be checked: {type(error).__name__}"
        return Result(name, good=False, words=words, hint="Please report this.", exit_code=PassgateError.exit_code)


def _config(bench: Bench) -> str:
    people, rules = bench.config.people.people, bench.config.policy.rules
    return f"{config_dir()}: {len(people)} people, {len(rules)} policy rules"


def _home(_: Bench) -> str:
    place = home()
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{place} is not a folder that can be written.",
            hint="`passgate up` makes it; or name another one in PASSGATE_HOME.",
        )
    token = place / TOKEN_FILE
    if token.exists() and token.stat().st_mode & 0o077:
        raise ConfigError(f"Others can read your token in {token}.", hint=f"chmod 600 {token}")
    return str(place)


def _content(bench: Bench) -> str:
    from passgate.engine.catalogue import Catalogue

    found = Catalogue(content())
    if not found.runbooks:
        raise ConfigError(f"There is no runbook in {content() / 'flows'}.", hint="Name the folder in PASSGATE_CONTENT.")
    gates = found.gates()
    for rule in bench.config.policy.rules:
        if unknown := sorted(rule.gates.keys() - gates):
            raise ConfigError(
                f"Policy {rule.name!r} has terms for the gate {', '.join(unknown)}, but no step in tasks/ has such a "
                "gate: nobody is ever asked there.",
                hint=f"Gates of steps: {', '.join(sorted(gates)) or 'none'}. Correct the name in config/policies/.",
            )
    if dead := sorted(_dead_patterns(bench.config, set(found.runbooks))):
        raise ConfigError(
            f"No runbook of {content()} is meant by {'; '.join(dead)}: nothing is ever asked, opened or frozen there.",
            hint=f"Runbooks: {', '.join(found.runbooks)}. Correct the name in config/.",
        )
    return f"{content()}: {', '.join(found.runbooks)}"


def _dead_patterns(config: Config, runbooks: set[str]) -> Iterator[str]:
    """Yield each name of a runbook in rules, windows, freezes and schedules that fits none."""
    from fnmatch import filter as fitting

    named = [
        *((f"policy rule {rule.name!r}", rule.runbooks) for rule in config.policy.rules),
        *((f"window {window.name!r}", window.runbooks) for window in config.calendar.windows),
        *((f"freeze {freeze.name!r}", freeze.runbooks) for freeze in config.calendar.freezes),
    ]
    for what, names in named:
        yield from (f"{what}: {name}" for name in names if not fitting(runbooks, name))
    for schedule in config.schedules.schedules:
        if schedule.runbook not in runbooks:
            yield f"schedule {schedule.name!r}: {schedule.runbook}"


def _secrets(bench: Bench) -> str:
    from passgate.settings.load import resolve
    from passgate.settings.loaded import references

    named = list(references(bench.config))
    missing = []
    for _, one in named:
        try:
            resolve(one, home())
        except ConfigError as error:
            missing.append(error)
    if missing:
        raise ConfigError(" ".join(error.message for error in missing), hint=missing[0].hint)
    return f"all {len(named)} references in config can be read"


def _vcenter(bench: Bench) -> str:
    session = bench.estate.session
    version = session.api_version
    site = bench.inventory
    return (
        f"{session.address} answers with a trusted certificate, API {version}: "
        f"{len(site.hosts)} hosts, {len(site.vms)} VMs"
    )


def _privileges(bench: Bench) -> str:
    from passgate.connect.vsphere.reading import PRIVILEGES, read_privileges

    held = read_privileges(bench.estate.session, [vm.ref for vm in bench.inventory.vms])
    names = {vm.ref: vm.name for vm in bench.inventory.vms}
    if not held:
        return "the server can't say; each change checks its own"
    missing = {one: [names[ref] for ref, has in held.items() if one not in has] for one in PRIVILEGES}
    words = [f"{one} on {_some(vms)}" for one, vms in missing.items() if vms]
    if words:
        raise WorldError(
            f"Passgate's account lacks {'; '.join(words)}.",
            hint="Give its role these privileges where Passgate may change VMs; elsewhere they may be missing.",
        )
    return f"all {len(PRIVILEGES)} privileges on all VMs"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"  # noqa: PLR2004 - as many as are shown


def _clock(bench: Bench) -> str:
    from passgate.connect.vsphere.clock import read_clock

    asked = datetime.now(UTC)
    there = read_clock(bench.estate.session)
    middle = asked + (datetime.now(UTC) - asked) / 2
    skew = abs(there - middle)
    if skew > SKEW:
        raise WorldError(
            f"vCenter's clock and ours are {skew.total_seconds():.0f} s apart.",
            hint="Let both follow the same time servers; deadlines and the record depend on it.",
        )
    return f"within {max(1, round(skew.total_seconds()))} s of vCenter's"


def _shells(bench: Bench) -> str:
    shell = bench.estate.shell
    if shell is None:
        return "none in config/site.yaml; USB runbooks will refuse to plan"
    said, broken = [], []
    for host in bench.inventory.hosts:
        try:
            said.append(f"{host.name} (arbitrator {shell.arbitrator(host.id).value})")
        except PassgateError as error:
            broken.append(error)
    if broken:
        raise WorldError(" ".join(error.message for error in broken), hint=broken[0].hint)
    return ", ".join(said)


def _slack(bench: Bench) -> str:
    import asyncio

    from passgate.connect.slack import SlackConnector
    from passgate.connect.slack.scopes import Use, missing
    from passgate.settings.load import resolve

    slack = bench.config.chat.slack
    if slack is None:
        return "none in config/chat.yaml; approvals work on the command line"
    bot_token, api_url = (resolve(one, home()) for one in (slack.bot_token, slack.api_url))
    app_token = resolve(slack.app_token, home()) if slack.app_token and slack.transport == "socket" else ""
    wanted = {
        Use.ALWAYS: True,
        Use.USER_GROUPS: bool(bench.config.people.slack_groups),
        Use.HEARTBEAT: bool(slack.heartbeat_channel and app_token),
    }

    async def identity() -> Identity:
        async with SlackConnector(bot_token=bot_token, app_token=app_token, api_url=api_url) as connector:
            found = await connector.identity()
            if app_token:
                await connector.can_listen()
            return found

    found = asyncio.run(identity())
    if lacking := missing(found.scopes, [use for use, is_wanted in wanted.items() if is_wanted]):
        words = "; ".join(f"{one.name}, to {one.use} (without it, {one.without})" for one in lacking)
        raise ConfigError(
            f"The Slack app lacks {'a scope' if len(lacking) == 1 else f'{len(lacking)} scopes'}: {words}.",
            hint="Add them to the app under OAuth & Permissions, and install it again.",
        )
    way = "clicks can come in" if app_token else "clicks come by signed requests to /slack of the service"
    return f"workspace {found.team_name} as {found.user}, all scopes, {way}, posts to {slack.channel}{_bound(bench)}"


def _bound(bench: Bench) -> str:
    """Read the Slack user groups that config binds, and say how many there are."""
    import asyncio

    from passgate.engine.membership import Membership
    from passgate.engine.runtime import utc_now

    groups = bench.config.people.slack_groups
    asyncio.run(Membership(bench.config, home(), utc_now).look())
    return f", user groups {', '.join(groups)}" if groups else ""


def _service(_: Bench) -> str:
    service = Service()
    told = service.health()
    answers = f"{service.url} answers, version {told['version']}"
    try:
        settings = service.get("v1", "settings")
    except AuthenticationError:
        return f"{answers}; whether it runs with what config says now, it tells only who has a token"
    if settings["outdated"]:
        raise ConfigError(
            f"{answers}, but since it was started these have changed in {settings['folder']} or in what it refers to: "
            f"{', '.join(settings['outdated'])}. It goes on with what they were.",
            hint="Start it anew: `passgate down`, `passgate up`. Changes under way stand still meanwhile, and go on.",
        )
    return f"{answers}; it runs with what config says now"


def _prefect(_: Bench) -> str:
    import http.client
    from urllib.parse import urlsplit

    path = home() / "prefect.url"
    if not path.exists():
        raise UnreachableError("Prefect's server is not running.", hint="Start it with `passgate up`.")
    url = path.read_text(encoding="utf-8").strip()
    there = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=10)
        connection.request("GET", f"{there.path.rstrip('/')}/health")
        status = connection.getresponse().status
        connection.close()
    except (OSError, http.client.HTTPException):
        status = 0
    if status != http.client.OK:
        raise UnreachableError(
            f"Prefect does not answer at {url}.", hint="Start it anew: `passgate down`, `passgate up`."
        )
    return f"{url} answers"


CHECKS: dict[str, Callable[[Bench], str]] = {
    "config": _config,
    "home": _home,
    "content": _content,
    "secrets": _secrets,
    "vCenter": _vcenter,
    "privileges": _privileges,
    "clock": _clock,
    "shells": _shells,
    "Slack": _slack,
    "Prefect": _prefect,
    "service": _service,
}
