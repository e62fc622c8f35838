"""Show what the guests' own commands told: the proof at the end of the demo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]


KINDS = ("guest_pci", "guest_usb")
"""Names under which steps that look into a guest report what they saw there."""


def guest_facts(seen: Sequence[Json]) -> list[Json]:
    """Return what the guests' own commands told of the devices, from the events of the changes."""
    proofs = [event["data"].get("facts", {}) for event in seen if event["type"] == "guest.proof"]
    return [device for facts in proofs for kind in KINDS for device in facts.get(kind, ())]


def guest_lines(seen: Sequence[Json], how: str) -> Iterator[str]:
    """Yield the proof in words; `how` says by which commands it came."""
    found = guest_facts(seen)
    if not found:
        yield "Nothing: the change was not carried out."
        return
    yield how
    for device in found:
        ids = f"{device['vendor']:04x}:{device.get('product', device.get('device')):04x}"
        yield f"  device  {device['name']} ({ids}), status {device['status'] or 'not told'}"
        if device.get("serial"):
            yield f"  serial  {device['serial']}"
        for disk in device.get("disks", ()):
            yield f"  disk    {disk['name']}, {disk['size'] / 1e9:.1f} GB, {disk['state']}, {disk['where']}"
