"""Serve the simulated vCenter over HTTPS."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from passgate.lab.tls import issue, make_ca
from passgate.lab.vcenter.accounts import Account
from passgate.lab.vcenter.automation import Automation
from passgate.lab.vcenter.dispatch import Dispatcher, DroppedError
from passgate.lab.vcenter.estate import GuestRun
from passgate.lab.world import World

COOKIE = "vmware_soap_session"
_VERSIONS = """<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0"><namespace><name>urn:vim25</name><version>8.0.2.0</version><priorVersions>\
<version>8.0.1.0</version><version>8.0.0.1</version><version>7.0.3.0</version><version>7.0.2.0</version>\
<version>7.0.1.1</version><version>7.0.0.0</version><version>6.7</version><version>6.5</version>\
<version>6.0</version></priorVersions></namespace></namespaces>
"""
"""pyVmomi matches these ids exactly (reference 0.1)."""
_MOST_BODY = 32 * 2**20


class VCenterServer:
    """The vCenter: `start()`, then reach it at `url`, then `stop()`.

    Without a certificate it makes a CA and a certificate of its own; clients then trust `ca_pem`.
    """

    def __init__(
        self,
        world: World,
        users: Mapping[str, Account],
        guest_run: GuestRun | None = None,
        *,
        port: int = 0,
        cert: Path | None = None,
        key: Path | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.world = world
        self.dispatcher = Dispatcher(world, users, guest_run or _nothing_installed)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca_pem = ""
        if cert is None:
            with tempfile.TemporaryDirectory() as folder:
                ca = make_ca(Path(folder))
                own = issue(ca, [address, "localhost"])
                tls.load_cert_chain(own.cert, own.key)
                self.ca_pem = ca.cert.read_text()
        else:
            tls.load_cert_chain(cert, key)
        self._http = _Server((address, port), _Handler)
        self._http.dispatcher = self.dispatcher
        # The handshake runs in the connection's own thread, so that a silent client does not block the others.
        self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._http.server_address[1]
        self.url = f"https://{address}:{self.port}"
        self.dispatcher.estate.url = self.url
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="lab-vcenter", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, break all connections and give the port back."""
        self._http.shutdown()
        self._http.server_close()
        self._http.break_connections()

    def requests(self) -> dict[str, int]:
        """Return how many requests came in since the start, reading ones too, by method."""
        return self.dispatcher.counts()

    def expire_sessions(self, user: str | None = None) -> None:
        """Let all sessions (of one user) expire: their next call gets NotAuthenticated."""
        self.dispatcher.estate.sessions.expire(user)


def _nothing_installed(_vm: str, _program: str, _arguments: str, _files: MutableMapping[str, bytes]) -> int:
    """Answer for guests that have no programs: what a shell says when a command does not exist."""
    return 127


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    dispatcher: Dispatcher

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._guard:
                self._connections.discard(request)

    def break_connections(self) -> None:
        with self._guard:
            for one in self._connections:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that break are part of what is simulated."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 2**16
    server: _Server

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        self.server.dispatcher.count(f"GET {where.path}")
        if where.path == "/sdk/vimServiceVersions.xml":
            self._send(200, _VERSIONS.encode(), "text/xml")
        elif where.path == "/guestFile":
            content = self.server.dispatcher.estate.guests.fetch(self._token())
            if content is None:
                self._send(404, b"No such file.", "text/plain")
            else:
                self._send(200, content, "application/octet-stream")
        elif where.path.startswith("/api/"):
            self._automate(b"")
        else:
            self._send(404, b"Not found.", "text/plain")

    def do_DELETE(self) -> None:
        self._automate(self._body())

    def do_PUT(self) -> None:
        content = self._body()
        self.server.dispatcher.count("PUT /guestFile")
        if urlsplit(self.path).path == "/guestFile" and self.server.dispatcher.estate.guests.store(
            self._token(), content
        ):
            self._send(200, b"", "text/plain")
        else:
            self._send(404, b"No such file.", "text/plain")

    def do_POST(self) -> None:
        body = self._body()
        if urlsplit(self.path).path.startswith("/api/"):
            self._automate(body)
            return
        if not urlsplit(self.path).path.startswith("/sdk"):
            self._send(404, b"Not found.", "text/plain")
            return
        try:
            reply = self.server.dispatcher.answer(
                body,
                action=self.headers.get("SOAPAction", ""),
                cookie=self._cookie(),
                agent=self.headers.get("User-Agent", ""),
            )
        except DroppedError:
            self.close_connection = True
            return
        cookie = f'{COOKIE}="{reply.session.key}"; Path=/; HttpOnly; Secure;' if reply.session else None
        self._send(reply.status, reply.body.encode(), "text/xml; charset=utf-8", cookie)

    def _automate(self, body: bytes) -> None:
        """Answer in the vSphere Automation API, which is JSON beside the SOAP."""
        where, estate = urlsplit(self.path), self.server.dispatcher.estate
        self.server.dispatcher.count(f"{self.command} /api")
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        answer = Automation(self.server.dispatcher.world, estate.sessions).answer(
            self.command, where.path, query, {name.lower(): value for name, value in self.headers.items()}, body
        )
        self._send(answer.status, answer.body, "application/json")

    def _token(self) -> str:
        return parse_qs(urlsplit(self.path).query).get("token", [""])[0]

    def _cookie(self) -> str | None:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return found.value if found else None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":  # govc sends its requests so
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(min(int(self.headers.get("Content-Length", 0)), _MOST_BODY))

    def _send(self, status: int, body: bytes, kind: str, cookie: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Write no access log."""
