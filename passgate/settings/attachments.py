"""Describe config/attachments.yaml: which USB device belongs to which VM."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from passgate.settings.values import Settings


class Attachment(Settings):
    """Say that a device belongs to a VM: by its name in config/devices.yaml, or by a selector."""

    vm: str = Field(min_length=1, max_length=80, description="Name of the VM")
    device: str = Field(
        min_length=1, max_length=200, description="Name in config/devices.yaml, or as in 18a5:0302,serial:07A4"
    )
    vmotion: bool = Field(default=False, description="As `usb-attach --vmotion`, when a drift is mended")


class Attachments(Settings):
    """config/attachments.yaml: which USB device belongs to which VM; `usb-drift` compares the estate with it.

    What a VM has beyond that is told as extra only of the VMs in `whole`: of others nobody declared everything.
    """

    attachments: tuple[Attachment, ...] = Field(default=(), description="In any order")
    whole: tuple[str, ...] = Field(default=(), description="VMs that may have no other USB device than these")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for one in self.attachments:
            if one.device in seen:
                raise PydanticCustomError(
                    "twice", "each device once; {device} is declared twice", {"device": repr(one.device)}
                )
            seen.add(one.device)
        return self
