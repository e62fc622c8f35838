"""Base of all data that is read once and never changed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Refuse unknown fields and every assignment after construction."""

    model_config = ConfigDict(frozen=True, extra="forbid")
