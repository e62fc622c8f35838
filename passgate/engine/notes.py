"""Keep what a step must know again after a crash, in a file of Passgate's home."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from passgate.errors import RecordError

M = TypeVar("M", bound=BaseModel)


def nobody_was_told(number: int) -> bool:  # noqa: ARG001 - what is asked where no change is carried out
    """Say of every message that it was not told."""
    return False


class Notebook:
    """Hold one step's notes; satisfies `passgate.engine.ports.Notes`. Without a path they are in memory alone.

    What is in the record stays the record's: notes are lost with the home, and then the step begins anew.
    """

    def __init__(self, path: Path | None = None, was_told: Callable[[int], bool] = nobody_was_told) -> None:
        self._path = path
        self._was_told = was_told
        self._text: str | None = None
        self._value: BaseModel | None = None
        self._is_mine = False

    def recall(self, kind: type[M]) -> M | None:
        """Return what was kept last, by whichever process; None when there is nothing that can be read."""
        if isinstance(self._value, kind):
            return self._value
        if self._path is None:
            return None
        try:
            return kind.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, value: BaseModel) -> None:
        """Keep this in place of what was kept before. Raises RecordError when it can't be written."""
        self._value = value
        if self._path is None:
            return
        text = value.model_dump_json()
        if text == self._text:
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_text(text, encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            raise RecordError(
                f"What a step has to remember can't be written to {self._path}: {error.strerror}.",
                hint="Check owner, mode and free space; the step goes on once it can be written.",
            ) from error
        self._text = text

    def was_told(self, number: int) -> bool:
        """Say whether the message of that number was told already.

        Only what another process left can have been told without this one knowing, so only then is the record read.
        """
        if self._is_mine:
            return False
        return self._was_told(number)

    def all_told(self) -> None:
        """Note that whatever another process left to be told was dealt with."""
        self._is_mine = True
