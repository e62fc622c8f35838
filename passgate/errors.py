"""Hold the tree of errors that Passgate raises on purpose.

    PassgateError
    ├── InputError          the caller's fault: refused at the door, nothing was filed, nothing touched   exit 2
    │   ├── ConfigError     a file in config/ (or a reference in it) is wrong
    │   ├── UnknownNameError    what was named does not exist; says what does
    │   └── AmbiguousNameError  what was named exists several times; says which
    ├── CheckFailedError    a requirement or limit of the procedure is not met                            exit 3
    ├── PolicyError         policy does not allow it (who, when, how many)                                exit 4
    │   ├── NotAuthorizedError  no valid authority for a mutating call: the gate held
    │   └── AuthenticationError who speaks could not be established
    ├── WorldError          vCenter, a host, a guest, Slack or Prefect did not do what was asked           exit 5
    │   ├── UnreachableError    no answer, or the connection broke; safe to repeat after a fresh reading
    │   ├── BusyError           the object is in use by another task; safe to repeat
    │   ├── TrustError          certificate or host key is not the one that was pinned
    │   ├── LoginError          the other side refused our credentials
    │   ├── UnsupportedError    the other side is too old, or cannot do this
    │   ├── RefusedError        the other side refused, with its own fault; not safe to repeat
    │   └── UnconfirmedError    the act was accepted, a fresh reading does not (or not yet) show it
    ├── ConflictError       another change holds the lease, or the state moved on meanwhile                exit 6
    │   └── SupersededError     a newer run of the same change holds its leases
    └── RecordError         the ledger or the database can't be written or does not verify                 exit 7

Every error carries what happened (`message`), what to do (`hint`), a stable `code`, the thing it is about (`subject`)
and an `exit_code` for the command line. Messages are read by people: they never hold a secret and never a traceback.
"""

from __future__ import annotations

from typing import ClassVar


class PassgateError(Exception):
    """Base of all errors that Passgate raises on purpose."""

    code: ClassVar[str] = "PG-0000"
    exit_code: ClassVar[int] = 1
    safe_to_repeat: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.subject = subject

    def as_data(self) -> dict[str, str]:
        """Return the error as the fields that `--json` and the service's API show."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "subject": self.subject}


class InputError(PassgateError, ValueError):
    """Raised when what the caller gave can't be used; nothing was filed and nothing touched."""

    code = "PG-INPUT-0001"
    exit_code = 2


class ConfigError(InputError):
    """Raised when a file in config/, or a reference in one, is wrong; names file, line and field."""

    code = "PG-CONFIG-0001"


class UnknownNameError(InputError, LookupError):
    """Raised when what was named does not exist; the message says what does."""

    code = "PG-INPUT-0002"


class AmbiguousNameError(InputError, LookupError):
    """Raised when what was named exists several times; the message says which and how to choose."""

    code = "PG-INPUT-0003"


class CheckFailedError(PassgateError):
    """Raised when requirements or limits of the procedure are not met; names each failed check."""

    code = "PG-CHECK-0001"
    exit_code = 3


class PolicyError(PassgateError, PermissionError):
    """Raised when policy does not allow what was asked."""

    code = "PG-POLICY-0001"
    exit_code = 4


class NotAuthorizedError(PolicyError):
    """Raised when a mutating call has no valid authority: the gate held, nothing was sent."""

    code = "PG-POLICY-0002"


class AuthenticationError(PolicyError):
    """Raised when it could not be established who speaks."""

    code = "PG-POLICY-0003"


class WorldError(PassgateError):
    """Raised when vCenter, a host, a guest, Slack or Prefect did not do what was asked."""

    code = "PG-WORLD-0001"
    exit_code = 5


class UnreachableError(WorldError, ConnectionError):
    """Raised when there was no answer or the connection broke; read the state before repeating."""

    code = "PG-WORLD-0002"
    safe_to_repeat = True


class BusyError(WorldError):
    """Raised when the object is in use by another task; safe to repeat."""

    code = "PG-WORLD-0003"
    safe_to_repeat = True


class TrustError(WorldError):
    """Raised when a certificate or host key is not the one that was pinned."""

    code = "PG-WORLD-0004"


class LoginError(WorldError):
    """Raised when the other side refused our credentials."""

    code = "PG-WORLD-0005"


class UnsupportedError(WorldError):
    """Raised when the other side is too old for what was asked, or cannot do it at all."""

    code = "PG-WORLD-0006"


class RefusedError(WorldError):
    """Raised when the other side refused, with its own fault name; repeating would not help."""

    code = "PG-WORLD-0007"

    def __init__(self, message: str, *, fault: str = "", hint: str = "", subject: str = "") -> None:
        super().__init__(message, hint=hint, subject=subject)
        self.fault = fault


class UnconfirmedError(WorldError):
    """Raised when an act was accepted but a fresh reading does not, or not yet, show its effect."""

    code = "PG-WORLD-0008"
    safe_to_repeat = True


class ConflictError(PassgateError):
    """Raised when another change holds the lease, or the state moved on meanwhile."""

    code = "PG-CONFLICT-0001"
    exit_code = 6


class SupersededError(ConflictError):
    """Raised when a newer run of the same change holds its leases: this one must leave without another word."""

    code = "PG-CONFLICT-0002"


class RecordError(PassgateError):
    """Raised when the ledger or the database can't be written, or does not verify."""

    code = "PG-RECORD-0001"
    exit_code = 7
