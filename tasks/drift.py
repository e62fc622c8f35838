"""Hold the estate against the declared attachments; it only reads."""

from __future__ import annotations

from dataclasses import dataclass

from passgate.engine.steps import Confirmation, Effect, Look, NoUndo, Saw, Systems
from passgate.model.census import take_census
from passgate.model.drift import compare
from passgate.model.inventory import Inventory


@dataclass(frozen=True)
class Compare(Look):
    """Read every host, and compare where USB devices are with what config/attachments.yaml declares.

    With `mend` the changes that would mend what drifted are in its outcome: the engine files them where policy lets it.
    """

    mend: bool = False

    @property
    def title(self) -> str:
        """Say what is done."""
        return "Compare all USB devices with config/attachments.yaml"

    def effect(self, site: Inventory) -> Effect:
        """Change nothing; what there will be to see is not foretold, because devices come and go."""
        after = "each drift is known, and what would mend it is asked for" if self.mend else "each drift is known"
        return Effect(needed=True, before="not read yet", after=after, then=site)

    def confirm(self, systems: Systems) -> Confirmation:
        """Read all hosts and compare. A host that can't be read is said, and hides what may be there."""
        drift = compare(systems.declaration, take_census(systems.survey.read(())))
        mends = [one.model_dump(mode="json") for one in drift.mends] if self.mend else []
        facts = {"devices": len(drift.rows), "hosts_not_read": drift.unread, "mends": mends}
        return Confirmation(Saw.YES, drift.summary, facts, table=drift.table())

    def undo(self) -> NoUndo:
        """Leave nothing behind."""
        return NoUndo("it only reads", leaves=False)
