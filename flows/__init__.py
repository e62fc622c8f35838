"""Procedures: one file is one runbook."""
