"""Hold what a process needs to run changes, made once from home, content and config."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from passgate.engine.authority import Clock
from passgate.engine.catalogue import Catalogue
from passgate.engine.estate import Estate
from passgate.engine.membership import Membership
from passgate.errors import ConfigError
from passgate.ledger.signer import Signer
from passgate.settings.load import load_config, resolve
from passgate.settings.shape import Config
from passgate.store.store import Store


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Runtime:
    """Hold the parts that changes run on: settings, store, content, and the systems outside."""

    home: Path
    config: Config
    store: Store
    catalogue: Catalogue
    estate: Estate
    clock: Clock = utc_now

    @cached_property
    def membership(self) -> Membership:
        """Return what knows who is in Slack's user groups."""
        return Membership(self.config, self.home, self.clock)


_current: list[Runtime] = []


def current() -> Runtime:
    """Return this process's runtime. Raises ConfigError in a process that is not Passgate's service."""
    if not _current:
        raise ConfigError(
            "Changes are carried out by Passgate's own service, not by this process.",
            hint="Start it with `passgate up`; a plain Prefect worker can't take its place.",
        )
    return _current[0]


def use(runtime: Runtime) -> None:
    """Make this the process's runtime."""
    _current[:] = [runtime]


def open_runtime(home: Path, content: Path, config_dir: Path, clock: Clock = utc_now) -> Runtime:
    """Check config, open the store and get the connectors ready; nothing outside is called yet."""
    config = load_config(config_dir)
    return Runtime(
        home=home,
        config=config,
        store=open_store(home, config),
        catalogue=Catalogue(content),
        estate=Estate(config, home),
        clock=clock,
    )


def open_store(home: Path, config: Config) -> Store:
    """Open the database, bring its tables up to date, and get the signing key, made at first use."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    service = config.service
    url = resolve(service.database, home) if service.database else f"sqlite:///{home / 'passgate.db'}"
    signer = Signer.load_or_create(home / "ledger.key")
    store = Store(url, origin=service.origin, signer=signer, anchors=home / "anchors.log")
    store.migrate()
    return store
