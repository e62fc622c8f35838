# ruff: noqa: N803, ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve the service instance, login and sessions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyVmomi import vim, vmodl

from passgate.lab.hardware import Refusal
from passgate.lab.vcenter.accounts import Account
from passgate.lab.vcenter.faults import made
from passgate.lab.vcenter.served import Call, Served, Session
from passgate.lab.world import World

API_VERSION = "8.0.2.0"


class Sessions:
    """Hold who is logged in."""

    def __init__(self, world: World, users: Mapping[str, Account]) -> None:
        self.world = world
        self.users = dict(users)
        self.live: dict[str, Session] = {}

    def login(self, user: str, password: str, agent: str) -> Session:
        """Return a new session; raises InvalidLogin without saying whether name or password was wrong."""
        account = self.users.get(user)
        if account is None or account.password != password:
            raise Refusal("InvalidLogin", "Cannot complete login due to an incorrect user name or password.")
        new = Session(key=str(uuid.uuid4()), user=user, account=account, agent=agent)
        with self.world.lock:
            self.live[new.key] = new
        return new

    def check(self, session: Session | None) -> Session:
        """Return the session if it still lives."""
        if session is None or session.key not in self.live:
            raise Refusal("NotAuthenticated", "The session is not authenticated.")
        return session

    def end(self, key: str) -> None:
        """Log a session out."""
        with self.world.lock:
            self.live.pop(key, None)
            self.world.changed()

    def expire(self, user: str | None = None) -> None:
        """Let all sessions (of one user) expire, as an idle vCenter does."""
        with self.world.lock:
            self.live = {key: one for key, one in self.live.items() if user is not None and one.user != user}
            self.world.changed()


def about() -> Any:
    """Return what the vCenter says about itself."""
    return vim.AboutInfo(
        name="VMware vCenter Server",
        fullName="VMware vCenter Server 8.0.2 build-22617221 (Passgate lab)",
        vendor="VMware, Inc.",
        version="8.0.2",
        build="22617221",
        localeVersion="INTL",
        localeBuild="000",
        osType="linux-x64",
        productLineId="vpx",
        apiType="VirtualCenter",
        apiVersion=API_VERSION,
        instanceUuid="5f1a4ad2-5c7e-4d4b-9b0c-0c8c6d9be0aa",
        licenseProductName="VMware VirtualCenter Server",
        licenseProductVersion="8.0",
    )


class ServiceInstance(Served):
    """The root of the API."""

    kind = vim.ServiceInstance

    @property
    def content(self) -> Any:
        """Return the managers that the lab has; what it has not is unset."""
        return vim.ServiceInstanceContent(
            rootFolder=vim.Folder("group-d1", None),
            propertyCollector=vmodl.query.PropertyCollector("propertyCollector", None),
            viewManager=vim.view.ViewManager("ViewManager", None),
            about=about(),
            setting=vim.option.OptionManager("VpxSettings", None),
            sessionManager=vim.SessionManager("SessionManager", None),
            authorizationManager=vim.AuthorizationManager("AuthorizationManager", None),
            taskManager=vim.TaskManager("TaskManager", None),
            customFieldsManager=vim.CustomFieldsManager("CustomFieldsManager", None),
            vmProvisioningChecker=vim.vm.check.ProvisioningChecker("ProvisioningChecker", None),
            vmCompatibilityChecker=vim.vm.check.CompatibilityChecker("CompatibilityChecker", None),
            scheduledTaskManager=vim.scheduler.ScheduledTaskManager("ScheduledTaskManager", None),
            searchIndex=vim.SearchIndex("SearchIndex", None),
            guestOperationsManager=vim.vm.guest.GuestOperationsManager("guestOperationsManager", None),
        )

    @property
    def serverClock(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC) + self.world.clock_ahead

    @property
    def capability(self) -> Any:
        """Return that this is a vCenter for several hosts."""
        return vim.Capability(
            provisioningSupported=True, multiHostSupported=True, userShellAccessSupported=False,
            nestedFoldersSupported=True,
        )  # fmt: skip

    def RetrieveServiceContent(self, call: Call) -> Any:
        """Return the managers; needs no login."""
        return self.content

    def CurrentTime(self, call: Call) -> datetime:
        """Return the time."""
        return self.serverClock


class SessionManager(Served):
    """Login and logout."""

    kind = vim.SessionManager

    def prop(self, name: str, session: Session | None) -> Any:
        """Return the caller's own session for `currentSession`."""
        if name == "currentSession":
            return _described(session) if session else None
        return super().prop(name, session)

    @property
    def sessionList(self) -> Any:
        """Return all sessions."""
        return vim.UserSession.Array([_described(one) for one in self.estate.sessions.live.values()])

    @property
    def defaultLocale(self) -> str:
        """Return the language of messages."""
        return "en"

    def Login(self, call: Call, userName: str, password: str, locale: str | None) -> Any:
        """Log in; the session itself is made in `dispatch`, which sets the cookie."""
        session = self.estate.sessions.login(userName, password, call.agent)
        self.estate.begin(session)
        return _described(session)

    def Logout(self, call: Call) -> None:
        """Log out."""
        if call.session:
            self.estate.sessions.end(call.session.key)

    def SessionIsActive(self, call: Call, sessionID: str, userName: str) -> bool:
        """Say whether a session lives."""
        found = self.estate.sessions.live.get(sessionID)
        return found is not None and found.user == userName

    def TerminateSession(self, call: Call, sessionId: Any) -> None:
        """Log other sessions out."""
        for key in sessionId:
            self.estate.sessions.end(key)


def _described(session: Session) -> Any:
    return made(
        vim.UserSession,
        key=session.key,
        userName=session.user,
        fullName=session.user,
        loginTime=session.login_time,
        lastActiveTime=session.last_active,
        locale="en",
        messageLocale="en",
        extensionSession=False,
        ipAddress="127.0.0.1",
        userAgent=session.agent,
    )
