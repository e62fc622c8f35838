"""What vSphere and the network say becomes the right error, in words that name the VM and what to do."""

from __future__ import annotations

import http.client
import ssl
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from passgate.connect.vsphere.faults import FAULTS, of_fault, spoken
from passgate.errors import (
    BusyError,
    ConflictError,
    InputError,
    LoginError,
    PassgateError,
    RefusedError,
    UnreachableError,
    UnsupportedError,
)

DOING = "add an xHCI controller to win-01"


@pytest.mark.parametrize(
    ("fault", "error", "safe"),
    [
        (vim.fault.TaskInProgress(), BusyError, True),
        (vim.fault.ConcurrentAccess(), ConflictError, False),
        (vim.fault.InvalidLogin(), LoginError, False),
        (vim.fault.NotAuthenticated(), LoginError, False),
        (vim.fault.RestrictedVersion(), UnsupportedError, False),
        (vmodl.fault.MethodNotFound(), UnsupportedError, False),
        (vmodl.fault.HostNotConnected(), UnreachableError, True),
        (vim.fault.NoPermission(), RefusedError, False),
        (vim.fault.InvalidPowerState(), RefusedError, False),
        (vim.fault.DeviceUnsupportedForVmVersion(), RefusedError, False),
        (vim.fault.InvalidDeviceSpec(), RefusedError, False),
        (vim.fault.TooManyDevices(), RefusedError, False),
        (vim.fault.GenericVmConfigFault(), RefusedError, False),
        (http.client.RemoteDisconnected(), UnreachableError, True),
        (http.client.BadStatusLine("x"), UnreachableError, True),
        (ConnectionRefusedError(), UnreachableError, True),
        (TimeoutError(), UnreachableError, True),
        (ssl.SSLError("wrong version number"), UnreachableError, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_each_fault_has_its_error(fault: BaseException, error: type[PassgateError], safe: bool) -> None:
    """Only a busy object and a broken connection are safe to repeat; each message says what was tried."""
    with pytest.raises(error) as caught, spoken(DOING, "win-01"):
        raise fault
    assert type(caught.value) is error
    assert caught.value.safe_to_repeat is safe
    assert DOING in caught.value.message
    assert caught.value.subject == "win-01"
    assert caught.value.hint


def test_details_of_a_refusal_are_told() -> None:
    """Name vSphere's fault, its text and the field at fault, and hold the fault's name as data."""
    fault: Any = vim.fault.InvalidDeviceSpec(
        msg="Invalid configuration for device '0'.", deviceIndex=0, property="virtualDeviceSpec.device.backing"
    )
    fault.faultMessage = [vmodl.LocalizableMessage(key="k", message="No such port.")]
    error = of_fault(fault, DOING, "win-01")
    assert isinstance(error, RefusedError)
    assert error.fault == "InvalidDeviceSpec"
    for part in (
        "InvalidDeviceSpec",
        "device '0'",
        "deviceIndex=0",
        "virtualDeviceSpec.device.backing",
        "No such port.",
    ):
        assert part in error.message


def test_missing_privilege_is_named() -> None:
    """Say which privilege the account lacks, so that somebody can grant it."""
    error = of_fault(vim.fault.NoPermission(privilegeId="VirtualMachine.Interact.PowerOff"), DOING, "win-01")
    assert "VirtualMachine.Interact.PowerOff" in error.message


def test_an_own_error_passes_unchanged() -> None:
    """Leave Passgate's own errors as they are, such as a refusal of the gate inside a call."""
    own = InputError("no")
    with pytest.raises(InputError) as caught, spoken(DOING, "win-01"):
        raise own
    assert caught.value is own


def test_no_fault_hides_behind_its_parent() -> None:
    """Keep every row of the table reachable: a parent that stands before its child would swallow it."""
    kinds = [kind for kind, _ in FAULTS]
    hidden = [(kind, earlier) for at, kind in enumerate(kinds) for earlier in kinds[:at] if issubclass(kind, earlier)]
    assert hidden == []
