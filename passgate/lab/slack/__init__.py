"""The lab's Slack workspace: Web API, Socket Mode and a page, all on loopback."""

from passgate.lab.slack.acts import ActError
from passgate.lab.slack.server import SlackServer

__all__ = ["SlackServer", "ActError"]
