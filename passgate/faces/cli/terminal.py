"""Write answers to people and to programs; what comes from outside can't steer a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from passgate.errors import PassgateError

KEPT = frozenset("\u200d\u3000")
"""Not printable by Python's rule, yet part of emoji and of Japanese text."""


@dataclass(frozen=True)
class Answer:
    """Hold what a command has to say: lines for people, data for programs (None: nothing for them yet)."""

    lines: Iterable[str]
    data: Any = None
    exit_code: int = 0


def safe(text: str) -> str:
    """Return the text with everything escaped that would steer a terminal, hide, or reverse what is read."""
    return "".join(one if one.isprintable() or one in KEPT else _escaped(one) for one in text)


def show(answer: Answer, *, as_json: bool) -> None:
    """Write the answer to standard output, as lines or as one line of JSON."""
    if not as_json:
        for line in answer.lines:
            print(safe(line))
    elif answer.data is not None:
        print(json.dumps(answer.data, ensure_ascii=False))
    sys.stdout.flush()


def show_error(error: PassgateError, *, as_json: bool) -> None:
    """Write the error to standard error in words; with `as_json` also to standard output as data."""
    first, *rest = error.message.split("\n")
    print(f"Error: {safe(first)}", *(f"  {safe(line)}" for line in rest), sep="\n", file=sys.stderr)
    if error.hint:
        print(f"  What to do: {safe(error.hint)}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {**error.as_data(), "exit_code": error.exit_code}}, ensure_ascii=False))
    sys.stdout.flush()


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")
