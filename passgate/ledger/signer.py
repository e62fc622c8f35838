"""Keep the private key that signs tree heads: a file that only its owner can read, never in the database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from passgate.errors import RecordError
from passgate.ledger.note import Checkpoint, VerifierKey, signature_line


@dataclass(frozen=True, repr=False)
class Signer:
    """Sign tree heads with one Ed25519 key. Its name in a note is the origin of the log."""

    private: Ed25519PrivateKey

    @classmethod
    def load_or_create(cls, path: Path) -> Signer:
        """Read the key from its file; where there is none, make one (mode 0600)."""
        try:
            try:
                pem = path.read_bytes()
            except FileNotFoundError:
                return cls._create(path)
            if path.stat().st_mode & 0o077:
                raise RecordError(
                    f"Others can read the signing key {path}, so a signature would prove little.",
                    hint=f"chmod 600 {path}; if somebody may have copied it, remove it and publish the new key.",
                )
            key = serialization.load_pem_private_key(pem, password=None)
        except OSError as error:
            raise RecordError(
                f"The signing key {path} can't be used: {error.strerror}.", hint="Check owner, mode and folder."
            ) from error
        except ValueError as error:
            raise RecordError(
                f"{path} holds no private key in PEM form.",
                hint="Restore it from its backup, or remove it for a new key.",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise RecordError(f"{path} holds a key of another kind than Ed25519.", hint="Remove it for a new key.")
        return cls(key)

    @classmethod
    def _create(cls, path: Path) -> Signer:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and linked in place: of two processes that start at once, one wins and the other reads its key,
        # and nobody ever reads half a key.
        draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return cls.load_or_create(path)
        finally:
            draft.unlink()
        return cls(key)

    def key(self, origin: str) -> VerifierKey:
        """Return the public half under that name."""
        public = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return VerifierKey(origin, public)

    def sign(self, head: Checkpoint) -> str:
        """Return the tree head as a signed note."""
        signature = self.private.sign(head.text.encode())
        return f"{head.text}\n{signature_line(self.key(head.origin), signature)}"
