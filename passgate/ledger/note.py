"""Write and read signed checkpoints: C2SP signed notes with Ed25519 (c2sp.org/signed-note, tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = 0x01
"""The signature type of C2SP; other types are skipped, as the format asks."""

_SIGNATURE = re.compile("\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE = re.compile(r"0|[1-9]\d{0,18}")


class BadNoteError(ValueError):
    """Raised when a text is no signed note, or no known key signed it."""


@dataclass(frozen=True)
class VerifierKey:
    """Hold the public half of a key, with the name that it signs under."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Return the four bytes by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """Return `name+hex id+base64 key`, the form to publish."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([ED25519]) + self.public).decode()}"

    @classmethod
    def of(cls, text: str) -> VerifierKey:
        """Read the form that `text` returns."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise BadNoteError(f"{text!r} is not a verifier key like name+1a2b3c4d+AbCd...") from error
        key = cls(name, raw[1:])
        if raw[:1] != bytes([ED25519]) or len(raw) != 33 or key.id.hex() != key_id:  # noqa: PLR2004 - type byte and key
            raise BadNoteError(f"{text!r} is not an Ed25519 verifier key, or its id does not belong to it")
        return key

    def verifies(self, text: str, signature: bytes) -> bool:
        """Say whether this key made that signature over that text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """Return the line that carries a signature in a note."""
    return f"\u2014 {key.name} {base64.b64encode(key.id + signature).decode()}\n"


def open_note(note: str, keys: Iterable[VerifierKey]) -> str:
    """Return the signed text if a known key signed it; signatures of unknown keys are skipped, wrong ones are not."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise BadNoteError("it does not end with a blank line and signature lines")
    text += "\n"
    known = {(key.name, key.id): key for key in keys}
    signed = False
    for line in lines[:-1].split("\n"):
        found = _SIGNATURE.fullmatch(line)
        if not found:
            raise BadNoteError(f"{line!r} is no signature line")
        try:
            raw = base64.b64decode(found[2], validate=True)
        except binascii.Error as error:
            raise BadNoteError(f"{line!r} holds no base64") from error
        key = known.get((found[1], raw[:4]))
        if key is None:
            continue
        if not key.verifies(text, raw[4:]):
            raise BadNoteError(f"the signature under the name {key.name} does not fit what it stands under")
        signed = True
    if not signed:
        raise BadNoteError("no known key signed it")
    return text


@dataclass(frozen=True)
class Checkpoint:
    """Hold a tree head: which log, how many events, which root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def of(cls, text: str) -> Checkpoint:
        """Read the text of a tree head; extension lines are refused, as none are ever written here."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0] or not _SIZE.fullmatch(lines[1]):  # noqa: PLR2004 - 3 lines
            raise BadNoteError("it is not origin, size and root, one line each")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except binascii.Error as error:
            raise BadNoteError("its root is not base64") from error
        found = cls(lines[0], int(lines[1]), root)
        if len(root) != 32 or found.text != text:  # noqa: PLR2004 - a SHA-256
            raise BadNoteError("its root is not a SHA-256 in base64")
        return found


def open_checkpoint(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return the tree head of a signed checkpoint, or raise BadNoteError."""
    return Checkpoint.of(open_note(note, keys))


def anchor_line(note: str, at: str) -> str:
    """Write a signed head as one line."""
    origin, size, root, _, signature = note.rstrip("\n").split("\n")
    return f"{at} {origin} {size} {root} {signature.rpartition(' ')[2]}\n"


def anchored_note(line: str) -> str:
    """Make the signed head again from its line, or raise BadNoteError."""
    parts: list[str] = line.split(" ")
    if len(parts) != 5:  # noqa: PLR2004 - time, origin, size, root, signature
        raise BadNoteError(f"{line!r} is no anchor line")
    _, origin, size, root, signature = parts
    return f"{origin}\n{size}\n{root}\n\n\u2014 {origin} {signature}\n"
