"""Offer the service over HTTP: JSON in, JSON out, and nothing decided here."""
