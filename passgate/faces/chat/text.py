"""Make text from elsewhere safe for Slack: it can't ping, format, link, inject a line or break a limit.

Every name, reason or error that a person or a system outside gave goes through `safe` before it stands in a message.
Characters that Slack would take as formatting become look-alikes: the exact text is in the ledger and on the command
line. Lengths are counted in UTF-16 units, after escaping, which is never less than what Slack counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_LOOK_ALIKES = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})  # noqa: RUF001 - look-alikes are what this is about
_EMOJI = re.compile(r":(?=[A-Za-z0-9_+'-]+:)")
_EDGE = re.compile(r"(?<!\w)_|_(?!\w)")
_JOINERS = "\u200c\u200d"
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def plain(text: object, longest: int) -> str:
    """Return the text in one line, without control characters, shortened: for plain_text objects."""
    kept = "".join(_visible(char) for char in str(text))
    return fit(" ".join(kept.split()), longest)


def safe(text: object, longest: int = 300) -> str:
    """Return the text so that nothing in it means anything to Slack: for mrkdwn objects and `text`."""
    broken = plain(text, longest).translate(_LOOK_ALIKES)
    return escape(_EDGE.sub("＿", _EMOJI.sub("∶", broken)))  # noqa: RUF001 - look-alikes again


def escape(text: str) -> str:
    """Escape the three characters that Slack gives a meaning of its own."""
    return text.translate(_ESCAPES)


def units(text: str) -> int:
    """Count UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)


def fit(text: str, longest: int) -> str:
    """Shorten a text that is too long; the ellipsis shows that something is missing."""
    if units(text) <= longest:
        return text
    kept = text[: longest - 1]
    while units(kept) > longest - 1:
        kept = kept[:-1]
    return kept.rstrip(_JOINERS + " ") + "…"


def fit_lines(lines: list[str], longest: int, *, more: str) -> str:
    """Join lines as far as they fit; what is left out is counted in a last line, `more` with {left} in it."""
    kept: list[str] = []
    room = longest - units(more) - 10
    for number, line in enumerate(lines):
        if sum(units(one) + 1 for one in kept) + units(line) > room:
            kept.append(more.format(left=len(lines) - number))
            break
        kept.append(line)
    return "\n".join(kept)


def block(lines: Iterable[str], longest: int, *, more: str) -> str:
    """Return lines in columns as one preformatted block, as far as they fit; nothing in them can end the block."""
    kept = [escape("".join(_visible(char) for char in line).translate(_LOOK_ALIKES)) for line in lines]
    return f"```\n{fit_lines(kept, longest - 8, more=more)}\n```"


def _visible(char: str) -> str:
    """Return the character, a space in place of one that breaks lines, nothing in place of one that hides."""
    category = unicodedata.category(char)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    return "" if category in {"Cf", "Cs", "Cn", "Co"} and char not in _JOINERS else char
