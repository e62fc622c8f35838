"""Tell in the channel what became of an occurrence that made no change, so that its author does not wait in vain."""

from __future__ import annotations

from passgate.faces.chat.directory import Directory
from passgate.faces.chat.text import safe
from passgate.model.change import Event, EventType
from passgate.model.schedule import Outcome

_SAID = {
    Outcome.SKIPPED: "⏭️ {author} the schedule *{name}* skipped its occurrence at {occurrence}: {why}.",
    Outcome.QUEUED: "⏳ {author} the occurrence of the schedule *{name}* at {occurrence} waits: {why}.",
    Outcome.NOT_FILED: "❌ {author} the schedule *{name}* could not ask for its change at {occurrence}: {why}.",
}


def of_schedule(people: Directory, event: Event) -> str:
    """Return what an event of a schedule has to say in the channel, in mrkdwn; nothing when it is not worth that."""
    data = event.data
    name, why = safe(data.get("name") or "", 64), safe(data.get("why") or "", 900).rstrip(".")
    if event.type is EventType.TRIGGER:
        return f"🛡️ Prefect's schedules were not as Passgate wrote them: {why}."
    if event.type is not EventType.OCCURRENCE:
        return ""
    author, occurrence = people.mention(str(data.get("author") or "")), safe(data.get("occurrence") or "", 40)
    said = _SAID.get(Outcome(data.get("outcome", Outcome.FILED)), "")
    return said.format(author=author, name=name, occurrence=occurrence, why=why)
