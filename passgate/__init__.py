"""Passgate runs change-managed passthrough procedures on VMware hosts."""

__version__ = "0.1.0"
