"""Refuse secrets at the door: what is in the record can't be taken out again."""

from __future__ import annotations

from typing import Any

from passgate.errors import InputError
from passgate.ledger.canonical import LEFT_OUT, is_named_like_a_secret, recordable


def refuse_secrets(**said: str | None) -> None:
    """Refuse at the door what a person typed and can say otherwise; what was read in the estate is never refused."""
    for field, text in said.items():
        if text and LEFT_OUT in recordable(text):
            raise InputError(
                f"The {field} holds what looks like a password, token or key. Nothing was recorded.",
                hint="Say it without: what is in the record can't be taken out again.",
                subject=field,
            )


def refuse_secret_fields(ask: dict[str, Any]) -> None:
    """Refuse a filled field that is named like a secret."""
    for field, value in ask.items():
        if value and is_named_like_a_secret(field):
            raise InputError(
                f"The field {field} is named like a secret. Nothing was recorded.",
                hint="A runbook must not ask for secrets; give it a reference to where the secret is kept.",
                subject=field,
            )
