"""Ask for a change again that came to nothing: the same ask, a plan of its own, and decisions of its own."""

from __future__ import annotations

from datetime import datetime

from passgate.engine.filing import file_change
from passgate.engine.runtime import Runtime
from passgate.errors import ConflictError
from passgate.model.change import Actor, Change, State


async def ask_again(runtime: Runtime, change_id: str, actor: Actor, *, key: str = "") -> Change:
    """File what the change asked for anew, by whoever asks now; the new change names the one that it replaces.

    Nothing of the old one counts: it is planned on a fresh reading, and everybody decides anew. With a `key` it is
    filed once, however often this is worked on. Raises ConflictError for a change that has not ended, or is done, and
    where a change that replaces it is under way already.
    """
    old = runtime.store.change(change_id)
    if not old.state.is_end:
        raise ConflictError(
            f"{old.id} is {old.state}: what it asks for may still be done.",
            hint=f"Withdraw it first (`passgate withdraw {old.id}`), if it should be planned anew.",
            subject=old.id,
        )
    if old.state is State.DONE:
        raise ConflictError(
            f"{old.id} is done; there is nothing to ask for again.",
            hint=f"If it is wanted once more, request it: `passgate request {old.runbook} ...`.",
            subject=old.id,
        )
    # Whoever stands behind a schedule stands behind what is asked for again in its place.
    behind = tuple(old.terms.excluded) if old.schedule and old.terms else ()
    # When it was to begin at the earliest is over, if that moment has passed.
    over = old.ask.get("not_before") and datetime.fromisoformat(old.ask["not_before"]) <= runtime.clock()
    ask = {name: value for name, value in old.ask.items() if name != "not_before" or not over}
    return await file_change(runtime, old.runbook, ask, actor, replaces=old.id, behind=behind, key=key)
