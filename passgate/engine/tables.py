"""Keep the tables that steps report: whole as CSV and JSON in Passgate's home, and by their hashes in the ledger.

The ledger holds a table's first rows and the SHA-256 of its files; the files go into the change's evidence, where
anybody can compare them with the ledger. A census of thousands of hosts has tens of thousands of rows: these are no
event.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from passgate.errors import RecordError
from passgate.ledger.canonical import recordable
from passgate.model.table import Table

HEAD = 15
"""Rows that are told with the event itself; chat has room for about as many."""

log = logging.getLogger(__name__)


def cleaned(table: Table) -> Table:
    """Return the table without what looks like a secret: its files and artifacts hold no more than the ledger would."""
    return Table.model_validate(recordable(table.model_dump()))


def keep(home: Path, change: str, step: int, clean: Table) -> dict[str, Any]:
    """Write a step's table into the home, and return what the ledger is to say of it.

    Raises RecordError when it can't be written.
    """
    texts = {f"{step + 1}-{clean.name}.csv": clean.as_csv(), f"{step + 1}-{clean.name}.json": clean.as_json()}
    folder = _folder(home, change)
    digests: dict[str, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in texts.items():
            content = text.encode()
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_bytes(content)
            draft.replace(folder / name)
            digests[name] = hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise RecordError(
            f"The table {clean.name} of {change} can't be written to {folder}: {error.strerror}.",
            hint="Check owner, mode and free space; the step goes on once it can be written.",
        ) from error
    head = clean.shortened(HEAD)
    return {
        "name": clean.name,
        "title": clean.title,
        "columns": list(head.columns),
        "head": [list(row) for row in head.rows],
        "rows": str(len(clean.rows)),
        "files": digests,
    }


def files_of(home: Path, change: str, told: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the files of all tables that a change's events tell of; one that is gone is left out, and logged."""
    found: dict[str, bytes] = {}
    for data in told:
        for name in data.get("table", {}).get("files", {}):
            try:
                found[name] = (_folder(home, change) / name).read_bytes()
            except OSError as error:
                log.warning("the table %s of %s is not there any more: %s", name, change, error.strerror)
    return found


def _folder(home: Path, change: str) -> Path:
    return home / "tables" / change
