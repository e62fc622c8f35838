"""Take the census of all USB and PCI passthrough devices; it only reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from passgate.engine.steps import Confirmation, Effect, Look, NoUndo, Saw, Systems
from passgate.model.census import Kind, Use, take_census
from passgate.model.inventory import Inventory


@dataclass(frozen=True)
class Take(Look):
    """Read every passthrough device of the hosts whose names fit, and judge it against the VMs' configurations.

    `hosts` are patterns over host names; none means all hosts. Without `shells` serials and arbitrators stay unknown.
    """

    takes: ClassVar[timedelta] = timedelta(minutes=2)
    hosts: tuple[str, ...] = ()
    shells: bool = True

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Take the census of {', '.join(self.hosts) or 'all hosts'}"

    def effect(self, site: Inventory) -> Effect:
        """Change nothing; what there will be to see is not foretold, because devices come and go."""
        return Effect(needed=True, before="not read yet", after="every passthrough device is known", then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read all hosts. A host that can't be read is a row of the census, not its end."""
        census = take_census(systems.survey.read(self.hosts, shells=self.shells))
        unread = [row for row in census.rows if row.kind is Kind.HOST and row.use is Use.UNREAD]
        named = sorted({row.host for row in unread})
        words = f"{census.summary}; not read whole: {', '.join(named[:5])}" if named else census.summary
        facts = {
            "hosts": census.hosts,
            "hosts_not_read": census.unread,
            "devices": sum(row.kind is not Kind.HOST for row in census.rows),
            "against_config": sum(bool(row.against_config) for row in census.rows),
        }
        return Confirmation(Saw.YES, words, facts, table=census.table())

    def undo(self) -> NoUndo:
        """Leave nothing behind."""
        return NoUndo("it only reads", leaves=False)
