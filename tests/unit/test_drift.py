"""Prove what is called drift, what would mend it, and that what can't be known is never guessed."""

from __future__ import annotations

from datetime import UTC, datetime

from passgate.model.census import Census, CensusRow, Kind, Use
from passgate.model.drift import Declaration, Declared, DriftKind, Mend, compare

STICK = "18a5:0302"


def device(user: str = "", use: Use | None = None, **over: str) -> CensusRow:
    """Return a row of a census: a stick on esx-01, free or at that VM."""
    fields = {"ids": STICK, "host": "esx-01", "name": "Verbatim", "place": "0/1/6", "serial": "S1", **over}
    return CensusRow(kind=Kind.USB, use=use or (Use.USED if user else Use.FREE), user=user, **fields)


def census(*rows: CensusRow, unread: int = 0) -> Census:
    """Return a census of three hosts."""
    return Census(read_at=datetime(2026, 11, 25, tzinfo=UTC), hosts=3, unread=unread, rows=rows)


def declared(*vms: str, selector: str = STICK, whole: tuple[str, ...] = ()) -> Declaration:
    """Return a declaration: the stick belongs to the VM."""
    return Declaration(devices=tuple(Declared(vm=vm, device="stick", selector=selector) for vm in vms), whole=whole)


def test_a_device_at_its_vm_is_no_drift() -> None:
    """Nothing is proposed."""
    drift = compare(declared("win-01"), census(device("win-01")))
    assert [row.kind for row in drift.rows] == [DriftKind.AS_DECLARED]
    assert drift.mends == ()
    assert drift.summary == "1 of 1 device as declared; no drift"


def test_a_free_device_is_to_be_attached() -> None:
    """Its host shows it, and nobody has it."""
    drift = compare(declared("win-01"), census(device()))
    assert drift.mends == (Mend(runbook="usb-attach", ask={"vm": "win-01", "device": "stick"}),)


def test_a_device_at_another_vm_is_to_be_moved() -> None:
    """It is taken from who has it now."""
    drift = compare(declared("win-01"), census(device("db-01")))
    assert [row.kind for row in drift.rows] == [DriftKind.ELSEWHERE]
    assert drift.mends == (Mend(runbook="usb-move", ask={"vm": "db-01", "device": "stick", "to": "win-01"}),)


def test_what_no_host_shows_is_missing_and_nothing_mends_it() -> None:
    """A host that was not read may hide it, and that is said."""
    drift = compare(declared("win-01"), census(unread=1))
    assert drift.mends == ()
    assert "1 host could not be read" in drift.rows[0].found


def test_twins_are_not_guessed() -> None:
    """Two devices fit: nothing is proposed, until path or serial say which is meant."""
    twins = census(device(), device(place="0/1/7", serial="S2"))
    assert [row.kind for row in compare(declared("win-01"), twins).rows] == [DriftKind.UNCLEAR]
    assert len(compare(declared("win-01", selector=f"{STICK},serial:S2"), twins).mends) == 1


def test_extra_devices_are_told_of_vms_that_are_declared_whole() -> None:
    """Of other VMs nobody said that all is declared. One that belongs elsewhere is moved, not detached."""
    extra = device("win-01", ids="0529:0001", place="0/1/2", serial="")
    assert len(compare(declared("win-01"), census(device("win-01"), extra)).rows) == 1
    drift = compare(declared("win-01", whole=("win-01",)), census(device("win-01"), extra))
    assert drift.mends == (Mend(runbook="usb-detach", ask={"vm": "win-01", "device": "0529:0001,path:0/1/2"}),)
    moved = compare(declared("db-01", whole=("win-01",)), census(device("win-01")))
    assert [one.runbook for one in moved.mends] == ["usb-move"]


def test_what_boots_a_host_is_never_proposed_to_be_attached() -> None:
    """A device that is there but not free is said as it is."""
    drift = compare(declared("win-01"), census(device(use=Use.BOOTS)))
    assert drift.mends == ()
    assert "boots the host" in drift.rows[0].found
