"""Show a census of all passthrough devices, read by the service now; nothing is filed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from passgate.errors import UnreachableError
from passgate.faces.cli.client import Service
from passgate.faces.cli.terminal import Answer, safe
from passgate.model.counted import counted


def census(
    *,
    host: Annotated[list[str] | None, Parameter(help="Only hosts of that name, or pattern such as esx-0*")] = None,
    shells: Annotated[bool, Parameter(help="Ask the hosts' shells for serials and the arbitrator")] = True,
    format: Annotated[Literal["table", "json", "csv"], Parameter(help="How to write the rows")] = "table",  # noqa: A002 - the name of the option
) -> Iterator[Answer]:
    """List every USB and PCI passthrough device of all hosts: who uses it, and what is not as configured."""
    told = dict[str, Any]()
    rows: list[dict[str, Any]] = []
    bar = _Bar()
    try:
        for line in Service().lines("v1", "census", host=host or [], shells=str(shells).lower()):
            if "progress" in line:
                bar.show(line["progress"])
            elif "row" in line:
                rows.append(line["row"])
            else:
                told = line["census"]
    finally:
        bar.clear()
    if not told:
        raise UnreachableError(
            f"The service broke the census off after {len(rows)} rows.",
            hint="Try again; `passgate status` says whether it runs.",
        )
    data = {**told, "rows": rows}
    yield Answer(_written(data, format), data)


def _written(data: dict[str, Any], how: str) -> Iterator[str]:
    """Yield the lines of the table, CSV or JSON."""
    from passgate.model.census import Census

    if how == "json":
        import json

        yield json.dumps(data, ensure_ascii=False)
        return
    found = Census.model_validate({name: data[name] for name in Census.model_fields})
    if how == "csv":
        yield from found.table().as_csv().splitlines()
        return
    yield from found.table().lines()
    yield found.summary


class _Bar:
    """Show at a terminal how far it is, on standard error."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._width = 0

    def show(self, progress: dict[str, int]) -> None:
        """Write over what was shown before."""
        done, total = progress["done"], progress["total"]
        text = f"Read {done} of {counted(total, 'host')}" if total else "Reading vCenter"
        self._write(safe(text))

    def clear(self) -> None:
        """Leave the line as if nothing had been there."""
        if self._width:
            self._write("")

    def _write(self, text: str) -> None:
        if self._is_shown:
            sys.stderr.write(f"\r{text.ljust(self._width)}\r{text}")
            sys.stderr.flush()
            self._width = len(text)
