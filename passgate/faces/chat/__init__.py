"""Slack: messages out, clicks in."""
