"""Name USB devices: parse what people write, and compare what vSphere writes."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from passgate.errors import InputError

VID_PID = re.compile(r"^(?:0x)?([0-9a-fA-F]{1,4}):(?:0x)?([0-9a-fA-F]{1,4})$")
PATH = re.compile(r"^[0-9]+(?:/[0-9]+)+$")
PART = re.compile(r"(?:\\.|[^\\\s])+")
"""One `name:value` of an autoconnect pattern, in which a space inside a value is written with a backslash."""
NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")
ACCEPTED = (
    "vendor:product in hex (18a5:0302), path:0/1/6, serial:S123456, a name from config/devices.yaml, "
    "or several joined by commas (18a5:0302,serial:S123456)"
)


def vid_pid(vendor: int, product: int) -> str:
    """Return both ids in hex with four digits each, as lsusb writes them."""
    return f"{vendor:04x}:{product:04x}"


def canonical_path(pattern: str) -> str:
    """Return the path of an autoconnect pattern, without `path:`, ` version:` and ` autoclean:` (reference 1.3).

    A pattern without a path is returned whole, so that two such patterns are equal only if they are the same text.
    """
    for part in PART.finditer(pattern):
        if part[0].startswith("path:"):
            return part[0].removeprefix("path:")
    return pattern.strip()


def pattern_means(pattern: str, path: str | None, vendor: int, product: int) -> bool:
    """Say whether an autoconnect pattern takes that device: by its path, or, without one, by its ids."""
    parts = dict(part[0].partition(":")[::2] for part in PART.finditer(pattern))
    if "path" in parts:
        return path is not None and parts["path"] == canonical_path(path)
    ids = VID_PID.match(f"{parts.get('vid')}:{parts.get('pid')}")
    return ids is not None and (int(ids[1], 16), int(ids[2], 16)) == (vendor, product)


class UsbSelector(str):
    """Hold what a person wrote to name a USB device; it stays a plain string in forms, JSON and Prefect parameters.

    Example: `UsbSelector("18a5:0302,serial:S123456")`. Raises InputError for anything else than what ACCEPTED says.
    """

    __slots__ = ("name", "path_part", "product", "serial_part", "vendor")

    name: str | None
    vendor: int | None
    product: int | None
    path_part: str | None
    serial_part: str | None

    def __new__(cls, text: str) -> Self:
        """Parse the text, so that a malformed selector can't exist."""
        self = super().__new__(cls, text.strip())
        self.name = self.vendor = self.product = self.path_part = self.serial_part = None
        parts = [part.strip() for part in text.strip().split(",")]
        for part in parts:
            self._take(part, alone=len(parts) == 1)
        return self

    def _take(self, part: str, *, alone: bool) -> None:
        ids = VID_PID.match(part)
        key, _, value = part.partition(":")
        if key == "path" and PATH.match(value) and self.path_part is None:
            self.path_part = value
        elif key == "serial" and value and value.isprintable() and self.serial_part is None:
            self.serial_part = value
        elif ids and self.vendor is None:
            self.vendor, self.product = int(ids[1], 16), int(ids[2], 16)
        elif alone and NAME.match(part):
            self.name = part
        else:
            raise InputError(
                f"{str(self)!r} does not name a USB device.", hint=f"Accepted: {ACCEPTED}.", subject="device"
            )

    def matches(self, vendor: int, product: int, path: str | None, serial: str | None) -> bool:
        """Say whether a device has everything that was named. A name from config must be resolved first."""
        if self.name is not None:
            return False
        if self.vendor is not None and (self.vendor, self.product) != (vendor, product):
            return False
        if self.path_part is not None and (path is None or canonical_path(path) != self.path_part):
            return False
        return self.serial_part is None or serial == self.serial_part

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Let pydantic models hold selectors as strings."""
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe a selector in JSON schema, which Prefect's form shows."""
        return {"type": "string", "title": "USB device", "description": ACCEPTED, "examples": ["18a5:0302"]}
