"""Turn what vSphere, TLS and the network say into Passgate's own errors, in words for people.

Retry rules (reference vSphere 1.6): only TaskInProgress and transport errors are safe to repeat; ConcurrentAccess
needs a new plan first; everything else stops.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vim, vmodl

from passgate.errors import (
    BusyError,
    ConflictError,
    LoginError,
    PassgateError,
    RefusedError,
    TrustError,
    UnreachableError,
    UnsupportedError,
)

log = logging.getLogger(__name__)

BROKEN = (OSError, http.client.HTTPException, ExpatError)
"""What pyVmomi lets through when the connection broke or the answer was cut off."""


@dataclass(frozen=True)
class Saying:
    """Say which error a fault becomes, what it means, and what to do."""

    error: Callable[..., PassgateError]
    means: str
    hint: str


# The first row that fits decides, so that a fault stands before its parents.
FAULTS: tuple[tuple[type, Saying], ...] = (
    (
        vim.fault.TaskInProgress,
        Saying(BusyError, "another task is running on it", "Passgate tries again; see its recent tasks in vCenter."),
    ),
    (
        vim.fault.ConcurrentAccess,
        Saying(ConflictError, "somebody changed it after it was read", "Plan the change again."),
    ),
    (
        vim.fault.InvalidLogin,
        Saying(LoginError, "user name or password is wrong", "Check vcenter.user and vcenter.password in site.yaml."),
    ),
    (
        vim.fault.NotAuthenticated,
        Saying(LoginError, "the session ended and could not be renewed", "Check the account in vCenter."),
    ),
    (
        vim.fault.RestrictedVersion,
        Saying(UnsupportedError, "the host's licence does not allow changes through the API", "Use a licensed host."),
    ),
    (
        vmodl.fault.MethodNotFound,
        Saying(UnsupportedError, "this server has no such operation", "Use a newer vCenter."),
    ),
    (
        vmodl.fault.NotSupported,
        Saying(UnsupportedError, "this server does not support it", "Use a newer vCenter, or another host."),
    ),
    (
        vmodl.fault.HostNotReachable,
        Saying(UnreachableError, "vCenter does not reach the host", "Check the host's connection in vCenter."),
    ),
    (
        vmodl.fault.HostNotConnected,
        Saying(UnreachableError, "the host is not connected to vCenter", "Reconnect the host in vCenter."),
    ),
    (
        vmodl.fault.HostCommunication,
        Saying(UnreachableError, "vCenter and the host could not talk", "Check the host's connection in vCenter."),
    ),
    (
        vim.fault.NoPermission,
        Saying(RefusedError, "the account lacks a privilege", "Give Passgate's role that privilege, and try again."),
    ),
    (
        vmodl.fault.ManagedObjectNotFound,
        Saying(RefusedError, "it is no longer there", "Look for it in vCenter, then plan the change again."),
    ),
    (
        vim.fault.InvalidPowerState,
        Saying(RefusedError, "its power state does not allow that", "Look at the VM's power state, then plan again."),
    ),
    (
        vim.fault.ToolsUnavailable,
        Saying(
            RefusedError,
            "VMware Tools do not run in the guest",
            "Start VMware Tools in the guest, or have the VM powered off hard.",
        ),
    ),
    (
        vim.fault.DeviceHotPlugNotSupported,
        Saying(RefusedError, "the device can't be added or removed now", "Power the VM off first."),
    ),
    (
        vim.fault.DeviceUnsupportedForVmVersion,
        Saying(RefusedError, "the VM's hardware version is too old for it", "Upgrade the VM's hardware version."),
    ),
    (
        vim.fault.DeviceNotFound,
        Saying(RefusedError, "there is no such device", "Read the VM and the host again, then plan anew."),
    ),
    (
        vim.fault.InvalidDeviceBacking,
        Saying(RefusedError, "the host has no such device for it", "List the host's USB devices, then plan anew."),
    ),
    (
        vim.fault.InvalidDeviceSpec,
        Saying(RefusedError, "the device was not accepted", "Look at the VM's devices, then plan anew."),
    ),
    (
        vim.fault.TooManyDevices,
        Saying(RefusedError, "the VM has as many devices of that kind as it may", "Remove one first."),
    ),
    (
        vim.fault.DeviceNotSupported,
        Saying(RefusedError, "host or guest does not support the device", "See reason; choose another host or guest."),
    ),
    (
        vim.fault.InsufficientResourcesFault,
        Saying(RefusedError, "the host or cluster lacks resources", "Free resources, or choose another host."),
    ),
)
OTHER = Saying(RefusedError, "it did not accept that", "The fault's name and text above are vCenter's own.")

# OpenSSL's verify codes; each is one way in which a certificate is not the one that was expected.
CERTIFICATE = {
    9: ("is not valid yet", "Check the clocks of this machine and of vCenter."),
    10: ("has expired", "Renew vCenter's certificate."),
    18: ("is self-signed and not trusted", "Put the PEM text of that certificate, or of its CA, in vcenter.ca."),
    19: ("is signed by a CA that is not trusted", "Put the PEM text of the right CA in vcenter.ca."),
    20: ("is signed by a CA that is not trusted", "Put the PEM text of the right CA in vcenter.ca."),
    21: ("is signed by a CA that is not trusted", "Put the PEM text of the right CA in vcenter.ca."),
    62: ("is made out to another name", "Use the name that stands in the certificate in vcenter.url."),
    64: ("is made out to another address", "Use the name that stands in the certificate in vcenter.url."),
}


REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((TimeoutError,), "there was no answer in time"),
    ((socket.gaierror,), "its name can't be resolved"),
    ((ConnectionRefusedError,), "nothing listens at that address"),
    (
        (
            http.client.RemoteDisconnected,
            http.client.IncompleteRead,
            ConnectionResetError,
            BrokenPipeError,
            ssl.SSLEOFError,
        ),
        "the connection broke before the answer came",
    ),
    ((ssl.SSLError,), "the other side does not speak TLS as expected"),
    ((http.client.HTTPException, ExpatError), "the answer was not what a vCenter answers"),
)


@contextmanager
def spoken(doing: str, subject: str, at: str = "") -> Iterator[None]:
    """Raise Passgate's errors for everything that vSphere or the network raise inside.

    `doing` goes on after "could not": `spoken("power on win-01", "win-01")`. `at` is the vCenter's address, where
    `doing` does not name it.
    """
    try:
        yield
    except PassgateError:
        raise
    except vmodl.MethodFault as fault:
        raise of_fault(fault, doing, subject) from fault
    except BROKEN as broken:
        raise of_broken(broken, doing, subject, at) from broken


def of_fault(fault: Any, doing: str, subject: str) -> PassgateError:
    """Return the error for a fault of vSphere, and log the fault as vSphere told it."""
    kind = type(fault).__name__.rpartition(".")[2]
    texts = [one.message for one in fault.faultMessage or () if one.message]
    log.warning("vSphere could not %s: %s: %s %s", doing, kind, fault.msg or "", texts)
    saying = next((saying for kind_of, saying in FAULTS if isinstance(fault, kind_of)), OTHER)
    # Some servers send the fault's own name as its message, which says nothing that is not said already.
    said = " ".join(dict.fromkeys(one for one in (fault.msg, *details(fault), *texts) if one and one != kind))
    message = f"Could not {doing}: {saying.means}. vCenter said {kind}{f': {said}' if said else ''}"
    if not message.endswith("."):
        message += "."
    extra = {"fault": kind} if saying.error is RefusedError else {}
    return saying.error(message, hint=saying.hint, subject=subject, **extra)


def details(fault: Any) -> tuple[str, ...]:
    """Return the fields of the fault that say what it is about, as `name=value`."""
    names = ("privilegeId", "property", "deviceIndex", "reason", "existingState", "requestedState", "currentVersion",
             "expectedVersion", "device", "hostName", "name")  # fmt: skip
    return tuple(
        f"({name}={value})"
        for name in names
        if isinstance(value := getattr(fault, name, None), str | int) and value != ""
    )


def of_broken(broken: BaseException, doing: str, subject: str, at: str = "") -> PassgateError:
    """Return the error for a connection that was not made, not trusted, or broke."""
    log.warning("could not %s: %s: %s", doing, type(broken).__name__, broken)
    if isinstance(broken, ssl.SSLCertVerificationError):
        what, hint = CERTIFICATE.get(
            broken.verify_code, (f"is not trusted ({broken.verify_message})", "Check vcenter.ca.")
        )
        return TrustError(f"Could not {doing}: its certificate {what}. Nothing was sent.", hint=hint, subject=subject)
    return UnreachableError(
        f"Could not {doing}{f' through vCenter {at}' if at else ''}: {reason(broken)}.",
        hint="Check that vCenter runs and that this machine reaches it, then read the state before trying again.",
        subject=subject,
    )


def reason(broken: BaseException) -> str:
    """Return in words how the connection failed."""
    words = next((words for kinds, words in REASONS if isinstance(broken, kinds)), "")
    return words or str(broken) or type(broken).__name__
