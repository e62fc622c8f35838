"""Simulate the inside of guests: a Windows with PowerShell, and a Linux whose shell is this machine's own."""

from passgate.lab.guests.machines import GuestMachines

__all__ = ["GuestMachines"]
