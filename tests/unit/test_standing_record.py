"""Hold the offline check to approvals that stand: who reads the record finds one that was never given, or is over."""

from __future__ import annotations

from typing import Any

import pytest

from passgate.ledger.offline import Story

TERMS = {
    "requirements": [{"needed": 1, "denials": 1, "voters": ["bob", "carol"]}],
    "standing": "P90D",
    "excluded": {"alice": "asks for it"},
}
UNTIL = "2027-01-31T23:59:59.000000Z"
Event = dict[str, Any]


def record(*, later: str = "2026-12-04", digest: str = "d1", terms: Event | None = None, **given: Any) -> list[Event]:
    """Return two changes of one schedule: Bob's approval of the first stands, and is used for the second."""
    told: list[tuple[str, str, str, str, Event]] = []
    schedule = {"name": "weekly", "behind": ["alice"]}
    for change, day in (("CHG-0001", "2026-11-27"), ("CHG-0002", later)):
        named = given.get("schedule", schedule) if change == "CHG-0002" else schedule
        told += [
            (change, day, "alice", "change.requested", {"schedule": named}),
            (change, day, "passgate", "change.planned", {"digest": "d1", "terms": terms or TERMS}),
        ]
        vote = {"person": "bob", "verdict": "approve", "digest": "d1", "gate": "plan", "standing_until": UNTIL}
        if change == "CHG-0002":
            told[-1][-1]["digest"] = digest
            vote |= {"digest": digest, "standing_from": "CHG-0001", **given.get("vote", {})}
        told.append((change, day, "passgate" if "standing_from" in vote else "bob", "decision.recorded", vote))
    if given.get("revoked"):
        data = {"name": "weekly", "standing_since": "2026-12-01T00:00:00.000000Z"}
        told.insert(3, ("", "2026-12-01", "dave", "schedule.changed", data))
    return [*_numbered(told)]


def _numbered(told: list[tuple[str, str, str, str, Event]]) -> list[Event]:
    last: dict[str, str] = {}
    events = []
    for seq, (change, day, person, kind, data) in enumerate(told, 1):
        events.append(
            {
                "seq": str(seq), "before": last.get(change, "0"), "change": change, "type": kind, "data": data,
                "at": f"{day}T17:00:{seq:02}.000000Z", "actor": {"person": person},
            }
        )  # fmt: skip
        last[change] = str(seq)
    return events


def first_wrong(events: list[Event]) -> str | None:
    """Return what is wrong with the first event that is."""
    story = Story()
    return next((said for event in events if (said := story.wrong(event))), None)


def test_an_approval_that_stands_is_accepted() -> None:
    """R34: the same schedule, the same digest, before its end."""
    assert first_wrong(record()) is None


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"digest": "d2"}, "gave no approval on CHG-0001 that stands for this plan"),
        ({"later": "2027-02-05"}, "has an approval that stood until"),
        ({"revoked": True}, "that was revoked"),
        ({"schedule": {"name": "other", "behind": []}}, "which is of another schedule"),
        ({"schedule": {}}, "on a change of no schedule"),
        ({"vote": {"person": "carol"}}, "carol gave no approval on CHG-0001"),
        ({"vote": {"standing_until": None}}, "stands without an end"),
        ({"terms": {**TERMS, "standing": None}}, "which the policy does not allow"),
        ({"terms": {**TERMS, "standing": "P7D"}}, "longer than the policy allows"),
        ({"schedule": {"name": "weekly", "behind": ["bob"]}}, "on a change that they stand behind"),
    ],
)
def test_one_that_does_not_is_found(how: dict[str, Any], said: str) -> None:
    """R1, R34: another plan, too late, revoked, of somebody else, or more than policy lets stand."""
    assert said in str(first_wrong(record(**how)))
