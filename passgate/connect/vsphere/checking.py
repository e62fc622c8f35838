"""Have vCenter itself check something beforehand: its check tasks succeed with what is wrong inside (reference 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passgate.connect.vsphere.parsing import ref_of
from passgate.connect.vsphere.session import Session
from passgate.connect.vsphere.waiting import Seen, wait_until
from passgate.errors import UnconfirmedError, UnsupportedError

CHECKED = 120.0
"""Seconds within which vCenter must have checked something."""


def obstacles(session: Session, start: Callable[[Any], Any], *, doing: str, subject: str) -> tuple[str, ...] | None:
    """Return what stands in the way, in vCenter's words; empty: nothing.

    `start` gets the service content and returns the task of the check, or None where there is no such check. None where
    the server can't check: then nothing is known, and nobody may claim that it was checked.
    """
    try:
        task = session.read(doing, subject, start)
    except UnsupportedError:
        return None
    if task is None:
        return None
    ref = str(ref_of(task))

    def settled(seen: Seen) -> dict[str, Any] | None:
        known = seen.get(ref, {})
        return known if known.get("info.state") in {"success", "error"} else None

    watched = {task: ("info.state", "info.error", "info.result")}
    end = wait_until(session, watched, settled, CHECKED, doing=doing, subject=subject)
    if end is None:
        raise UnconfirmedError(
            f"Could not {doing}: vCenter did not answer within {CHECKED:.0f} s.",
            hint="Look at the task in vCenter, then try again.",
            subject=subject,
        )
    if end.get("info.error") is not None:
        return None
    return tuple(_words(fault) for result in end.get("info.result") or () for fault in result.error or ())


def _words(fault: Any) -> str:
    name = type(fault).__name__.rpartition(".")[2]
    return f"{(fault.msg or name).strip().rstrip('.')} ({name})"
