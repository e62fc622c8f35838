"""Read the values that fields of config/ hold: durations as people write them, texts, and references to secrets."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
DURATION = r"^(\d+(\.\d+)?[dhms])+$"


def _duration(given: Any) -> timedelta:
    """Read a duration as people write it: 30s, 90m, 8h, 1h30m, 2d."""
    if isinstance(given, timedelta):
        return given
    if not isinstance(given, str) or not re.fullmatch(DURATION, given):
        raise PydanticCustomError("duration", "a duration such as 30s, 90m, 8h, 1h30m or 2d")
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", given)
    return sum((timedelta(**{UNITS[unit]: float(number)}) for number, unit in parts), timedelta())


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["30s", "8h", "2d"]}),
]
"""A length of time as people write it."""


class Settings(BaseModel):
    """Refuse unknown fields, so that a typing error in config is an error and not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FromEnv(Settings):
    """Take the value from an environment variable."""

    env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name of the environment variable")


class FromFile(Settings):
    """Take the value from a file; its last newline is not part of it."""

    file: str = Field(min_length=1, description="Path; a relative one is looked up in Passgate's home")


def _kind_of_reference(given: Any) -> str | None:
    """Say which kind of text was written; None: neither a value nor a reference."""
    if isinstance(given, str):
        return "value"
    if isinstance(given, FromEnv) or (isinstance(given, dict) and "env" in given):
        return "env"
    if isinstance(given, FromFile) or (isinstance(given, dict) and "file" in given):
        return "file"
    return None


Reference = Annotated[
    Annotated[FromEnv, Tag("env")] | Annotated[FromFile, Tag("file")],
    Discriminator(
        _kind_of_reference,
        custom_error_type="reference",
        custom_error_message="a reference, {env: NAME} or {file: path}, never the secret itself",
    ),
]
"""Where a secret is kept."""

Text = Annotated[
    Annotated[str, Tag("value")] | Annotated[FromEnv, Tag("env")] | Annotated[FromFile, Tag("file")],
    Discriminator(
        _kind_of_reference,
        custom_error_type="text",
        custom_error_message="a text, or a reference: {env: NAME} or {file: path}",
    ),
]
"""A plain value or a reference to one."""
