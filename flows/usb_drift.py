"""Hold all USB devices against the attachments that are declared.

config/attachments.yaml says which device belongs in which VM. This reads all hosts and says of each declared device
whether it is there, is missing, or is elsewhere, and which devices a VM has that it should not have. Which of several
devices alike is meant is never guessed.

If asked to mend, the changes that would mend the drift are filed afterwards, where policy lets that be done (`mends` in
a rule): usb-attach for what is free, usb-move for what another VM has, usb-detach for what is extra. Each is a change
of its own, in the name of who asked for this one (of a schedule: its author), and passes its own gate. One that is
open already is not filed again.

It changes nothing itself, so policy may authorise it in advance, and a schedule may run it.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Risk, Steps, runbook
from passgate.model.inventory import Inventory
from tasks import drift


class UsbDrift(Ask):
    """Ask whether what is drifted is to be mended."""

    mend: bool = Field(
        default=False, title="Mend", description="File the changes that would mend the drift, where policy lets it"
    )

    def target(self) -> str:
        """Return in words what is compared."""
        return "all declared attachments"


@runbook(risk=Risk.READ_ONLY)
def usb_drift(ask: UsbDrift, site: Inventory) -> Steps:
    """Hold all USB devices against the attachments that are declared."""
    del site  # the hosts are read when it is carried out
    yield drift.Compare(ask.mend)
