"""Keep one logged-in session with a vCenter or ESXi host, shared by threads, over verified TLS."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from pyVmomi import SoapStubAdapter, VmomiSupport, vim

from passgate.connect.vsphere.faults import BROKEN, of_broken, spoken
from passgate.errors import ConfigError, UnreachableError, UnsupportedError

T = TypeVar("T")

IDLE = 60
"""Seconds after which an idle connection is not used again: servers and firewalls drop them without a word."""


class Stub(SoapStubAdapter):
    """Count the round trips."""

    def __init__(self, *, counted: Callable[[], None], **how: Any) -> None:
        super().__init__(**how)
        self._counted = counted

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803  # pyVmomi's names
        """Send one call; http.client sets TCP_NODELAY on the connection, and the pool keeps it alive."""
        self._counted()
        return super().InvokeMethod(mo, info, args, outerStub)


class Session:
    """Hold a session that connects at its first use and logs in again when the server forgot it.

    `ca` is the PEM text that the server's certificate must lead to; None means the system's trust store. `password` is
    asked at each login and never kept. `timeout` bounds one call in seconds. `calls` counts round trips.
    """

    def __init__(
        self, url: str, *, user: str, password: Callable[[], str], ca: str | None = None, timeout: float = 30.0
    ) -> None:
        self._host, self._port = host_and_port(url)
        self.address = f"{self._host}:{self._port}"
        self.timeout = timeout
        self._user, self._password = user, password
        self._tls = trusting(ca)
        self._lock = threading.RLock()
        self._calls = 0
        self._login = 0
        self._stub: Any = None
        self._content: Any = None
        self._session_key = ""
        self._collectors: list[Any] = []
        self.remembered: dict[tuple[str, ...], Any] = {}
        """What does not change while a server runs: config options, environment browsers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def calls(self) -> int:
        """Return how many requests were sent so far."""
        return self._calls

    @property
    def content(self) -> Any:
        """Return the service content; connects and logs in at the first use."""
        with self._lock:
            if self._content is None:
                self._connect()
            return self._content

    @property
    def stub(self) -> Any:
        """Return pyVmomi's adapter, connected and logged in."""
        return self._stub if self.content else None

    @property
    def key(self) -> str:
        """Return the key of the vCenter session, as HasPrivilegeOnEntities wants it."""
        return self._session_key if self.content else ""

    @property
    def api_version(self) -> str:
        """Return the version of the API that the server offers, such as `8.0.2.0`."""
        return str(self.content.about.apiVersion)

    @property
    def negotiated(self) -> tuple[int, ...]:
        """Return the version that both sides can rely on; pyVmomi drops everything newer without a word."""
        return min(numbers(VmomiSupport.versionIdMap[self.stub.version]), numbers(self.api_version))

    def require(self, version: tuple[int, ...], feature: str, subject: str) -> None:
        """Refuse a feature that the server is too old for, because pyVmomi would leave it out silently."""
        if self.negotiated < version:
            raise UnsupportedError(
                f"{feature} needs vSphere API {'.'.join(map(str, version))}; {self.address} speaks "
                f"{'.'.join(map(str, self.negotiated))}.",
                hint="Upgrade vCenter and the hosts, or do without this feature.",
                subject=subject,
            )

    def object(self, kind: Any, ref: str) -> Any:
        """Return the managed object with that id, without a round trip."""
        return kind(ref, self.stub)

    def read(self, doing: str, subject: str, ask: Callable[[Any], T]) -> T:
        """Ask for something that changes nothing; `ask` gets the service content and may be called twice.

        Once more after a connection that broke: one that idled in the pool may have been dropped by the other side.
        """
        try:
            return self.call(doing, subject, ask)
        except UnreachableError as error:
            if not isinstance(error.__cause__, BROKEN):
                raise
            return self.call(doing, subject, ask)

    def call(self, doing: str, subject: str, ask: Callable[[Any], T]) -> T:
        """Send something once; when the server had forgotten the session, so that nothing was done, log in and resend.

        `doing` and `subject` are the words of the error, should there be one.
        """
        with spoken(doing, subject, self.address):
            content, login = self.content, self._login
            try:
                return ask(content)
            except vim.fault.NotAuthenticated:
                self._renew(login)
                return ask(self.content)

    @contextmanager
    def collector(self) -> Iterator[Any]:
        """Lend a property collector for filters: two threads that wait on one would cancel each other."""
        content = self.content
        with self._lock:
            login = self._login
            lent = self._collectors.pop() if self._collectors else None
        collector = lent or content.propertyCollector.CreatePropertyCollector()
        yield collector
        # Not reached after an error: such a collector is not lent again, and the server drops it with the session.
        with self._lock:
            if login == self._login:
                self._collectors.append(collector)

    def close(self) -> None:
        """Log out, if ever logged in; a server that is gone is left alone."""
        with self._lock:
            if self._content is not None:
                with suppress(vim.fault.VimFault, vim.fault.NotAuthenticated, *BROKEN):
                    self._content.sessionManager.Logout()
                self._stub.DropConnections()
            self._content = self._stub = None
            self._collectors.clear()

    def _connect(self) -> None:
        doing = f"connect to vCenter {self.address}"
        with spoken(doing, self.address):
            version = self._negotiate(doing)
            stub = Stub(
                counted=self._count, host=self._host, port=self._port, path="/sdk", version=version, poolSize=16,
                connectionPoolTimeout=IDLE, sslContext=self._tls, httpConnectionTimeout=self.timeout,
            )  # fmt: skip
            content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        self._stub = stub
        self._log_in(content)
        self._content = content

    def _log_in(self, content: Any) -> None:
        with spoken(f"log in to vCenter {self.address} as {self._user}", self.address):
            self._session_key = content.sessionManager.Login(self._user, self._password()).key
        self._login += 1
        self._collectors = [content.propertyCollector]

    def _renew(self, login: int) -> None:
        with self._lock:
            if self._login == login and self._content is not None:
                self._log_in(self._content)

    def _negotiate(self, doing: str) -> str:
        """Return the newest version that both sides know; the ids must match exactly (reference vSphere 0.1)."""
        self._count()
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=self.timeout, context=self._tls)
        try:
            connection.request("GET", "/sdk/vimServiceVersions.xml")
            answer = connection.getresponse()
            text = answer.read(1 << 20).decode("utf-8", "replace")
        finally:
            connection.close()
        offered = set(re.findall(r"<version>\s*([\w.]+)\s*</version>", text))
        known = VmomiSupport.GetServiceVersions("vim25")
        both = [version for version in known if VmomiSupport.versionIdMap.get(version) in offered]
        if answer.status != http.HTTPStatus.OK or not both:
            raise of_broken(http.client.HTTPException(f"no vSphere API, HTTP {answer.status}"), doing, self.address)
        return str(both[0])

    def _count(self) -> None:
        with self._lock:
            self._calls += 1


def host_and_port(url: str) -> tuple[str, int]:
    """Return the host and the port that the URL names."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return parts.hostname, parts.port or 443
    raise ConfigError(
        f"{url!r} is not the address of a vCenter.",
        hint="Accepted: https://host or https://host:port; the password is never sent without TLS.",
        subject="vcenter.url",
    )


def trusting(ca: str | None) -> ssl.SSLContext:
    """Return a TLS context that verifies certificate and name, against that PEM text or the system's store."""
    try:
        context = ssl.create_default_context(cadata=ca)
    except ssl.SSLError as error:
        raise ConfigError(
            "vcenter.ca does not hold a certificate.",
            hint="It must be PEM text: lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.",
            subject="vcenter.ca",
        ) from error
    if ca is not None:
        # So that a pinned server certificate or intermediate CA is enough; vCenter's own are often all there is.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def numbers(version: str) -> tuple[int, ...]:
    """Return a version such as `8.0.2.0` as numbers, so that versions can be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
