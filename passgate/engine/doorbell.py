"""Ring where the runs are: in this process while it works; else the replica that works hears of what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from passgate.engine.desk import Bell
    from passgate.model.change import Change


class Doorbell:
    """Hand rings on to the bell of the engine that runs in this process, if it does.

    A replica that only stands by needs none: what it records is noticed by the one that works (`engine/hearing.py`).
    """

    def __init__(self) -> None:
        self.bell: Bell | None = None

    async def start(self, change: Change) -> None:
        """Make a run for the change, if that is done here."""
        if self.bell is not None:
            await self.bell.start(change)

    async def ring(self, change: Change) -> None:
        """Wake the change's run, if it is here."""
        if self.bell is not None:
            await self.bell.ring(change)
