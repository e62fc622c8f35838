"""Carry one SOAP call from request to answer: session, privilege, injected fault, object, method, record."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyVmomi import vim

from passgate.lab.hardware import Fault, Refusal
from passgate.lab.vcenter import soap
from passgate.lab.vcenter.accounts import Account
from passgate.lab.vcenter.collector import Collector
from passgate.lab.vcenter.estate import Estate, GuestRun
from passgate.lab.vcenter.faults import to_fault
from passgate.lab.vcenter.served import Call, Served, Session
from passgate.lab.world import World

_log = logging.getLogger(__name__)

_WITHOUT_LOGIN = {"RetrieveServiceContent", "Login"}
_READS = re.compile(
    r"^(Retrieve|ContinueRetrieve|CancelRetrieve|Query|Find|Fetch|Has|Current|CheckForUpdates|WaitFor|CancelWait"
    r"|CreateFilter|CreateContainerView|CreateListView|CreatePropertyCollector|DestroyProperty|DestroyView|Login|Logout"
    r"|SessionIsActive|List\w+InGuest|InitiateFileTransferFromGuest|ValidateCredentialsInGuest|RefreshServices|Refresh"
    r"|CheckMigrate_Task|CheckRelocate_Task|CheckVmConfig_Task|CheckPowerOn_Task)"
)
"""Calls that change nothing; every other one is recorded as mutating, known here or not."""


class DroppedError(Exception):
    """Raised when an injected fault breaks the connection."""


@dataclass(frozen=True)
class Reply:
    """Hold one answer; `session` is set when the client gets a cookie."""

    status: int
    body: str
    session: Session | None = None


class Dispatcher:
    """Answers calls on one estate."""

    def __init__(self, world: World, users: Mapping[str, Account], guest_run: GuestRun) -> None:
        self.world = world
        self.estate = Estate(world, users, guest_run)
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def count(self, name: str) -> None:
        """Count one request over the wire, by the name of its method."""
        with self._counting:
            self._counts[name] += 1

    def counts(self) -> dict[str, int]:
        """Return how many requests came in since the start, by method."""
        with self._counting:
            return dict(self._counts)

    def answer(self, body: bytes, *, action: str, cookie: str | None, agent: str) -> Reply:
        """Return the answer to one request; raises DroppedError where a fault was injected that breaks the wire."""
        version = soap.version_of(action)
        try:
            request = soap.read_request(body, action)
        except soap.BadRequestError as error:
            self.count("unreadable")
            return _fault(Refusal("InvalidRequest", str(error)), version)
        self.count(request.method)
        session = self.estate.sessions.live.get(cookie or "")
        try:
            return self._carry(request, Call(session, version, agent))
        except Refusal as refusal:
            return _fault(refusal, version)
        except DroppedError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of the lab must look like one of vCenter, not like a lost connection
            _log.exception("The lab's vCenter failed in %s", request.method)
            return _fault(
                Refusal("SystemError", f"A general system error occurred: {error}", reason=str(error)), version
            )

    def _carry(self, request: soap.Request, call: Call) -> Reply:
        if request.method == "Fetch":
            return self._fetch(request, call)
        target = self.estate.find(request.target, call.session)
        subject = self._subject(request, call) or target
        label = subject.label if subject else str(request.target)
        fault = self.world.take_fault(request.method, label, *{one.ref for one in (subject, target) if one})
        try:
            if fault is not None:
                _strike(fault)
            value = self._act(request, target, _with(call, fault))
        except (Refusal, DroppedError):
            self._record(request, call, label, accepted=False)
            raise
        self._record(request, call, label, accepted=True)
        if fault is not None and fault.fault == "DisconnectAfter":
            raise DroppedError
        entered = self.estate.sessions.live[value.key] if request.method == "Login" else None
        with self.world.lock:
            return Reply(200, soap.write_answer(request, value, request.info.result), entered)

    def _act(self, request: soap.Request, target: Served | None, call: Call) -> Any:
        if request.method not in _WITHOUT_LOGIN:
            self.estate.sessions.check(call.session)
        if target is None:
            raise _gone(request)
        self._permitted(request, target, call)
        method = getattr(target, request.method, None)
        if method is None:
            raise Refusal(
                "MethodNotFound", f"The lab does not serve {request.method} on {target.kind.__name__}.",
                receiver=target.me, method=request.method,
            )  # fmt: skip
        if request.method in Collector.waits:
            return method(call, **request.arguments)
        with self.world.lock:
            return method(call, **request.arguments)

    def _fetch(self, request: soap.Request, call: Call) -> Reply:
        """Answer the read of one property, pyVmomi's lazy way; the service instance can be read before login."""
        if not isinstance(request.target, vim.ServiceInstance):
            self.estate.sessions.check(call.session)
        target = self.estate.find(request.target, call.session)
        if target is None:
            raise _gone(request)
        name = request.arguments["prop"]
        with self.world.lock:
            kind = target.described(name).type
            return Reply(200, soap.write_answer(request, target.prop(name, call.session), kind))

    def _permitted(self, request: soap.Request, target: Served, call: Call) -> None:
        needed = request.info.privId
        if call.session and needed and not call.session.account.may(needed):
            raise Refusal(
                "NoPermission", "Permission to perform this operation was denied.", object=target.me,
                privilegeId=needed,
            )  # fmt: skip

    def _subject(self, request: soap.Request, call: Call) -> Served | None:
        """Return the VM that a guest operation is about; None when the call is about its own target."""
        vm = request.arguments.get("vm")
        return self.estate.find(vm, call.session) if isinstance(vm, vim.VirtualMachine) else None

    def _record(self, request: soap.Request, call: Call, label: str, *, accepted: bool) -> None:
        if not _READS.match(request.method):
            wire = "guest" if request.info.type.__name__.startswith("vim.vm.guest.") else "soap"
            self.world.record(wire, request.method, label, call.user, accepted=accepted)


def _with(call: Call, fault: Fault | None) -> Call:
    """Hand the call the fault that its task is to end with."""
    return replace(call, fault=fault) if fault is not None and fault.fault and fault.in_task else call


def _gone(request: soap.Request) -> Refusal:
    return Refusal(
        "ManagedObjectNotFound",
        f"The object '{request.target}' has already been deleted or has not been completely created",
        obj=request.target,
    )


def _strike(fault: Fault) -> None:
    time.sleep(fault.delay)
    if fault.fault == "Disconnect":
        raise DroppedError
    if fault.fault and fault.fault != "DisconnectAfter" and not fault.in_task:
        raise Refusal(fault.fault, fault.message)


def _fault(refusal: Refusal, version: str) -> Reply:
    return Reply(500, soap.write_fault(to_fault(refusal), refusal.message, version))
