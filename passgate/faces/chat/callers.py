"""Find out who acts in Slack: only listed people who are full members of our own workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from passgate.errors import NotAuthorizedError

if TYPE_CHECKING:
    from passgate.connect.slack import SlackConnector
    from passgate.faces.chat.directory import Directory
    from passgate.settings.people import Person

LISTING = "Ask whoever keeps config/people.yaml to list you with this id."


class Callers:
    """Look people up in config, and ask Slack anew each time whether their account still is what it was."""

    def __init__(self, connector: SlackConnector, people: Directory) -> None:
        self._slack, self._people = connector, people

    def known(self, user: str) -> Person | None:
        """Return the listed person with that Slack user id, without asking Slack."""
        return self._people.of_slack(user)

    async def person(self, user: str, team: str, *, so: str) -> Person:
        """Return who acts; `so` says what came of it otherwise, as in `your click was not counted`.

        Raises NotAuthorizedError for people who are not listed, guests, bots and people of other workspaces.
        """
        person = self._people.of_slack(user)
        if person is None:
            raise NotAuthorizedError(f"Passgate does not know you (Slack user {user}), so {so}.", hint=LISTING)
        me = await self._slack.me()
        account = await self._slack.user(user)
        # On Enterprise Grid an account of another enterprise may be shared into a workspace (Slack Connect).
        strange = account.enterprise not in {"", me.enterprise}
        if team != me.team or account.team != me.team or strange:
            raise NotAuthorizedError(
                f"Your account is of another workspace, so {so}.",
                hint="Use the command line with your personal token.",
            )
        if account.guest or account.bot or account.deleted:
            raise NotAuthorizedError(
                f"Guests, bots and deactivated accounts can't decide or ask, so {so}.",
                hint="Ask a full member who is listed.",
            )
        return person
