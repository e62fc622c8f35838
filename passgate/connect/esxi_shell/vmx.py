"""Read and change VMX files, the configuration files of VMs: bytes in, bytes out, and not a byte more is changed.

The format is VMware's dictionary: lines of `key = "value"`, keys alike in any case, `#` before a comment, and in values
`|22` for a quote and the like (two hex digits of the byte). Nothing says what ESXi makes of other lines, so they stay
as they are; and a line that may be about the asked key but can't be read is refused, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from passgate.errors import InputError, RefusedError

LINE = re.compile(
    rb'^(?P<before>[ \t]*(?P<key>[^\s="#]+)[ \t]*=[ \t]*)(?:"(?P<quoted>[^"\r]*)"|(?P<bare>[^\s"#]+))'
    rb"(?P<after>[ \t]*(?:#[^\r]*)?)$",
    re.DOTALL,
)
KEY = re.compile(r"^[A-Za-z0-9_.:-]{1,200}$")
ENDS = re.compile(rb"[^\n]*\n|[^\n]+\Z")
ESCAPE = re.compile(rb"\|([0-9A-Fa-f]{2})")
UNSAFE = re.compile(rb'["|\x00-\x1f\x7f]')


@dataclass(frozen=True)
class Entry:
    """Hold one line that could be read: where it is (from 0), its key as written, and its value without quotes."""

    at: int
    key: str
    value: str


class Vmx:
    """Hold a VMX file. `Vmx(content).content == content` for whatever content; changes give a new one."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._lines: list[bytes] = ENDS.findall(content)

    def entries(self) -> Iterator[Entry]:
        """Yield the lines that could be read, in their order; duplicates are all there."""
        for at, line in enumerate(self._lines):
            found = LINE.match(_body(line))
            if found:
                yield Entry(at, _text(found["key"]), _value(found))

    def get(self, key: str) -> str | None:
        """Return the key's value; None where there is none. Raises RefusedError where the file does not say it clearly.

        That is where the key stands twice, or in a line that can't be read.
        """
        found = self._find(key)
        return found.value if found else None

    def replaced(self, key: str, value: str | None) -> Vmx:
        """Return the file with that value in the key's place, behind the last line if it is new; None removes the line.

        Raises RefusedError as `get` does, InputError for a key that is none.
        """
        if not KEY.match(key):
            raise InputError(
                f"{key!r} is no key of a VMX file.",
                hint="Accepted: letters, digits, dots, colons, dashes and underscores, such as usb.generic.allowCCID.",
                subject=key,
            )
        found = self._find(key)
        if (found.value if found else None) == value:
            return self
        lines = list(self._lines)
        if found and value is None:
            del lines[found.at]
        elif found and value is not None:
            lines[found.at] = _with_value(lines[found.at], value)
        elif value is not None:
            end = _end(lines[-1]) if lines else b"\n"
            if lines and not _end(lines[-1]):
                end = _end(lines[0]) or b"\n"
                lines[-1] += end
            lines.append(key.encode() + b' = "' + _spelled(value) + b'"' + end)
        return Vmx(b"".join(lines))

    def _find(self, key: str) -> Entry | None:
        found = [one for one in self.entries() if one.key.lower() == key.lower()]
        if len(found) > 1:
            where = ", ".join(str(one.at + 1) for one in found)
            raise _unclear(f"it has {key} in lines {where}, and ESXi refuses files with a key that stands twice", key)
        readable = {one.at for one in self.entries()}
        name = re.compile(rb"(?<![A-Za-z0-9_.])" + re.escape(key.encode()) + rb"(?![A-Za-z0-9_.])", re.IGNORECASE)
        for at, line in enumerate(self._lines):
            if at not in readable and not line.lstrip().startswith(b"#") and name.search(line):
                raise _unclear(f"line {at + 1} is about {key}, but it can't be read", key)
        return found[0] if found else None


def _unclear(why: str, key: str) -> RefusedError:
    return RefusedError(
        f"The VMX file was left as it is: {why}.",
        fault="UnclearVmxFile",
        hint="Mend that line by hand while the VM is off, then request again.",
        subject=key,
    )


def _body(line: bytes) -> bytes:
    return line[: len(line) - len(_end(line))]


def _end(line: bytes) -> bytes:
    if line.endswith(b"\r\n"):
        return b"\r\n"
    return b"\n" if line.endswith(b"\n") else b""


def _with_value(line: bytes, value: str) -> bytes:
    found = LINE.match(_body(line))
    if found is None:  # pragma: no cover - only lines that could be read are changed
        raise RuntimeError("a line that can't be read was to be changed")
    return found["before"] + b'"' + _spelled(value) + b'"' + found["after"] + _end(line)


def _value(found: re.Match[bytes]) -> str:
    raw = found["quoted"] if found["quoted"] is not None else found["bare"]
    return _text(ESCAPE.sub(lambda one: bytes([int(one[1], 16)]), raw))


def _spelled(value: str) -> bytes:
    return UNSAFE.sub(lambda found: b"|%02X" % found[0][0], value.encode("utf-8", "surrogateescape"))


def _text(raw: bytes) -> str:
    """Return bytes as text that can be turned back, whatever encoding the file has."""
    return raw.decode("utf-8", "surrogateescape")
