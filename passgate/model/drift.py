"""Compare where USB devices are with where they are declared to be, and say what would mend it. Pure.

A census says where each device is now. What can't be told from it, such as which of two twins is meant, is told as it
is, and nothing is proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field

from passgate.model.census import Census, CensusRow, Kind, Use
from passgate.model.counted import counted
from passgate.model.frozen import Frozen
from passgate.model.table import Table
from passgate.model.usb import UsbSelector


class Declared(Frozen):
    """Say that a device belongs to a VM; `device` is what it is called in config, `selector` what that stands for."""

    vm: str
    device: str
    selector: str
    vmotion: bool = False


class Declaration(Frozen):
    """Hold all that is declared. VMs in `whole` may have no other USB device than those."""

    devices: tuple[Declared, ...] = ()
    whole: tuple[str, ...] = ()


class DriftKind(StrEnum):
    """Name how a device is, held against the declaration."""

    AS_DECLARED = "as declared"
    MISSING = "missing"
    ELSEWHERE = "elsewhere"
    EXTRA = "extra"
    UNCLEAR = "unclear"


class Mend(Frozen):
    """Hold the change that would mend one drift: a runbook, and what it is asked."""

    runbook: str
    ask: dict[str, Any] = Field(default_factory=dict)

    @property
    def words(self) -> str:
        """Return it as one would ask for it at a shell."""
        options = (f"--{name}" if value is True else f"--{name} {value}" for name, value in sorted(self.ask.items()))
        return " ".join((self.runbook, *options))


class DriftRow(Frozen):
    """Hold one device: where it belongs, where it is, and what would mend that, if anything would."""

    kind: DriftKind
    device: str
    belongs_to: str = ""
    found: str
    mend: Mend | None = None


class Drift(Frozen):
    """Hold the comparison; `unread` hosts may hide what seems to be missing."""

    rows: tuple[DriftRow, ...]
    unread: int = 0

    @property
    def mends(self) -> tuple[Mend, ...]:
        """Return what would mend it."""
        return tuple(row.mend for row in self.rows if row.mend is not None)

    @property
    def summary(self) -> str:
        """Say in a line what was found."""
        counts = {kind: sum(row.kind is kind for row in self.rows) for kind in DriftKind}
        drifted = [f"{count} {kind}" for kind, count in counts.items() if count and kind is not DriftKind.AS_DECLARED]
        declared = f"{counts[DriftKind.AS_DECLARED]} of {counted(len(self.rows), 'device')} as declared"
        unread = [f"{counted(self.unread, 'host')} not read"] if self.unread else []
        return "; ".join([declared, ", ".join(drifted) or "no drift", *unread])

    def table(self) -> Table:
        """Return the rows as a table, what drifted first."""
        rows = sorted(self.rows, key=lambda row: row.kind is DriftKind.AS_DECLARED)
        cells = tuple(
            (row.kind.value, row.device, row.belongs_to, row.found, row.mend.words if row.mend else "") for row in rows
        )
        columns = ("drift", "device", "belongs to", "found", "what would mend it")
        return Table(name="usb-drift", title=self.summary, columns=columns, rows=cells, brief=columns[:4])


def compare(declaration: Declaration, census: Census) -> Drift:
    """Return how the estate differs from what is declared."""
    devices = [row for row in census.rows if row.kind is Kind.USB and row.use is not Use.MISSING]
    rows = [_of_declared(one, devices, census.unread) for one in declaration.devices]
    return Drift(rows=(*rows, *_extra(declaration, devices)), unread=census.unread)


def _of_declared(one: Declared, devices: Sequence[CensusRow], unread: int) -> DriftRow:
    fitting = [row for row in devices if _fits(one.selector, row)]
    its_own = next((row for row in fitting if row.user == one.vm and row.use is Use.USED), None)
    if its_own is not None:
        return _row(DriftKind.AS_DECLARED, one, f"at {one.vm}, on {its_own.host}")
    if not fitting:
        hidden = f"; {counted(unread, 'host')} could not be read" if unread else ""
        return _row(DriftKind.MISSING, one, f"no host shows it{hidden}")
    if len(fitting) > 1:
        return _row(DriftKind.UNCLEAR, one, f"{len(fitting)} devices fit; name its path or serial")
    (row,) = fitting
    if row.use is Use.FREE:
        mend = Mend(runbook="usb-attach", ask={"vm": one.vm, "device": one.device, **_vmotion(one)})
        return _row(DriftKind.MISSING, one, f"free, on {row.host}", mend)
    if row.use is Use.USED and row.user:
        mend = Mend(runbook="usb-move", ask={"vm": row.user, "device": one.device, "to": one.vm, **_vmotion(one)})
        return _row(DriftKind.ELSEWHERE, one, f"at {row.user}, on {row.host}", mend)
    return _row(DriftKind.MISSING, one, f"{row.use}, on {row.host}" + (f", for {row.user}" if row.user else ""))


def _extra(declaration: Declaration, devices: Sequence[CensusRow]) -> Iterator[DriftRow]:
    for row in devices:
        if row.use is not Use.USED or row.user not in declaration.whole:
            continue
        if any(one.vm == row.user and _fits(one.selector, row) for one in declaration.devices):
            continue
        # One that belongs elsewhere is mended by moving it, which its own row proposes.
        belongs = next((one.vm for one in declaration.devices if _fits(one.selector, row)), "")
        mend = None if belongs else Mend(runbook="usb-detach", ask={"vm": row.user, "device": _named(row)})
        yield DriftRow(
            kind=DriftKind.EXTRA, device=row.words, belongs_to=belongs, found=f"at {row.user}, on {row.host}", mend=mend
        )


def _fits(selector: str, row: CensusRow) -> bool:
    vendor, _, product = row.ids.partition(":")
    try:
        return UsbSelector(selector).matches(int(vendor, 16), int(product, 16), row.place or None, row.serial or None)
    except ValueError:
        return False  # ids that nobody could read are those of no declared device


def _row(kind: DriftKind, one: Declared, found: str, mend: Mend | None = None) -> DriftRow:
    return DriftRow(kind=kind, device=one.device, belongs_to=one.vm, found=found, mend=mend)


def _named(row: CensusRow) -> str:
    parts = [row.ids, *([f"path:{row.place}"] if row.place else []), *([f"serial:{row.serial}"] if row.serial else [])]
    return ",".join(parts)


def _vmotion(one: Declared) -> dict[str, Any]:
    return {"vmotion": True} if one.vmotion else {}
