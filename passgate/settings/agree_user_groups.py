"""Find what is right in `slack_groups` of config/people.yaml and still can't be meant."""

from __future__ import annotations

from collections.abc import Iterator

from passgate.settings.people import People


def user_group_disagreements(people: People, *, has_slack: bool) -> Iterator[tuple[str, str]]:
    """Yield group and words where it has no members, a member could never be seen in Slack, or there is no Slack."""
    for group in people.slack_groups:
        members = [one for one in people.people if group in one.groups]
        if not members:
            yield group, f"nobody in people.yaml is in the group {group!r}"
        for one in members:
            if one.slack is None:
                yield group, f"{one.id} is in the group {group!r} and has no `slack` id, and so could never decide"
        if not has_slack:
            yield group, "config/chat.yaml names no Slack that could be asked"
