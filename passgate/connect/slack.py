"""Speak to Slack's Web API and Socket Mode."""
