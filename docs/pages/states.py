"""Write the page of the states of a change, from the table that the store enforces."""

from __future__ import annotations

from pages.page import MARK
from passgate.faces.cli.words import AFTERWARDS
from passgate.model.change import EXIT_CODES, TRANSITIONS, State

EARLY = {State.REQUESTED: "It is filed, and being planned.", State.PLANNED: "It has a plan, and policy looks at it."}
STEPS = """\
## States of a step

- **pending**: not begun.
- **intent**: recorded as about to be done. After a crash such a step is looked at first, and repeated only if its
  effect is not there.
- **done**: its effect was seen by a fresh reading.
- **not needed**: the world was that way already.
- **failed**: tried as often as it may be.
- **unknown**: it could not be taken back, or nobody knows whether it was. A person must look.
- **undone**: taken back.

## States of a second gate

A change that waits at one stays **applying**; `passgate show` says at which, what it needs and until when.

- **open**: it waits for decisions that are given at this gate.
- **passed**: they are there. The step behind it is begun if the rest would still be planned as it was approved.
- **denied**, **expired**, **withdrawn**: somebody who may decide said no, nobody settled it in time, or who asked
  called it off. What was done is taken back as far as policy says, and the change ends as undone or stopped.
"""


def page() -> str:
    """Return the page."""
    lines = ["# States of a change", "", MARK]
    lines += ["The words are the same on the command line, in chat, in the database and in the ledger.", ""]
    for state in State:
        follows = [one.value for one in State if one in TRANSITIONS[state]]
        then = f" May become {', '.join(follows)}." if follows else f" An end; exit code {EXIT_CODES[state]}."
        lines.append(f"- **{state}**. {EARLY.get(state) or AFTERWARDS[state]}{then}")
    return "\n".join([*lines, "", STEPS])
