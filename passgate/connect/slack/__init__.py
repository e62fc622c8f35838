"""Speak to Slack's Web API and Socket Mode."""

from passgate.connect.slack.connector import Identity, Mark, SlackConnector, SlackUser
from passgate.connect.slack.socket import Envelope, Reply, SocketHealth, backoff

__all__ = ["Envelope", "Identity", "Mark", "Reply", "SlackConnector", "SlackUser", "SocketHealth", "backoff"]
