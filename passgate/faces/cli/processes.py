"""Start, stop and look at Passgate's own processes, and at those of the lab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import Any

from passgate.errors import PassgateError
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer
from passgate.settings.place import config_dir, content, home


def up(*, replica: str = "") -> Iterator[Answer]:
    """Start Passgate on this machine: its service and Prefect's server.

    Parameters
    ----------
    replica
        Name of a further service beside the first one, such as b: a door that takes over when the first is gone.
        Needs `standby: true` in config/service.yaml.
    """
    from passgate.engine import lifecycle
    from passgate.faces.cli.progress import waiting

    with waiting("starting Passgate"):
        found = lifecycle.start(home(), content(), config_dir(), replica)
    yield _told("Passgate is up.", found)


def down() -> Iterator[Answer]:
    """Stop Passgate's processes. Changes stay, and go on when it is up again."""
    from passgate.engine import lifecycle

    yield _told(f"Passgate is down in {home()}.", lifecycle.stop(home()))


def status() -> Iterator[Answer]:
    """Say which of Passgate's processes run, and where they listen; ends with 1 when the service does not run."""
    from passgate.engine import lifecycle

    found = lifecycle.status(home())
    known: dict[str, Any] = dict(found)
    with suppress(PassgateError):  # who has no token, or a service that is down, still learns what runs
        known |= Service().get("v1", "status")
    answer = _told(f"Passgate's processes in {home()}:", known)
    if any(one.running for name, one in found.items() if name != lifecycle.PREFECT):
        yield answer
    else:
        still = "The service does not run: changes under way stand still until `passgate up`."
        yield Answer([*answer.lines, still], answer.data, exit_code=1)


def lab_start() -> Iterator[Answer]:
    """Start the lab: a simulated vCenter with ESXi shells and guests, and a Slack workspace."""
    from passgate.faces.cli.progress import waiting
    from passgate.lab import lifecycle

    with waiting("starting the lab"):
        found = lifecycle.start(home(), config_dir())
    yield _told("The lab is up.", found)


def lab_stop() -> Iterator[Answer]:
    """Stop the lab. Its world is gone with it."""
    from passgate.lab import lifecycle

    yield _told("The lab is down.", lifecycle.stop(home()))


def lab_status() -> Iterator[Answer]:
    """Say whether the lab runs, and where its parts listen."""
    from passgate.lab import lifecycle

    yield _told("The lab:", lifecycle.status(home()))


def plain(value: Any) -> Any:
    """Return mappings, dataclasses and sequences as JSON has them."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _told(first: str, state: Any) -> Answer:
    """Return a line for each thing that the state, a mapping or a dataclass, names."""
    known = plain(state)
    told = {name.replace("_", " "): _words(value) for name, value in known.items() if value not in ("", None)}
    return Answer([first, *(f"  {name}: {words}" for name, words in told.items())], known)


def _words(value: Any) -> str:
    if isinstance(value, dict) and "running" in value:
        if not value["running"]:
            return f"does not run; log: {value.get('log')}"
        how = f"runs at {value['url']}" if value.get("url") else "starts, and does not answer yet"
        return f"{how} (pid {value.get('pid')})"
    if isinstance(value, dict):
        said = (
            f"{name.replace('_', ' ')} {_words(inner)}" for name, inner in value.items() if inner not in (None, [], "")
        )
        return ", ".join(said) or "none"
    if isinstance(value, list):
        return "; ".join(_words(inner) for inner in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
