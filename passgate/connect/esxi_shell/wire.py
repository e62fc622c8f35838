"""Keep one SSH connection per host, to keys that were pinned, and run command lines on it."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from paramiko.pkey import UnknownKeyType

from passgate.errors import ConfigError, LoginError, TrustError, UnreachableError

LARGEST_ANSWER = 4 * 1024 * 1024
SSH_PORT = 22
KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

# paramiko logs tracebacks of what it raises anyway; what a person needs to know is in our errors.
LOG = logging.getLogger("passgate.connect.esxi_shell.wire")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


@dataclass(frozen=True)
class ShellAccess:
    """Hold how to reach the ESXi shells, with all references resolved.

    `key` is a private key's text; with a key the password is not tried. `known_hosts` is text in that format, by host
    name or by `[address]:port`. `addresses` maps a host's name to `address:port` where DNS and `port` do not serve.
    """

    user: str
    known_hosts: str = field(repr=False)
    key: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    port: int = SSH_PORT
    addresses: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=20)

    def address(self, host: str) -> tuple[str, int]:
        """Return address and port of a host. Raises ConfigError for a malformed entry."""
        entry = self.addresses.get(host)
        if entry is None:
            return host, self.port
        address, colon, port = entry.rpartition(":")
        if not colon:
            return entry, self.port
        if not address or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ConfigError(
                f"The shell address of {host} is {entry!r}.", hint="Give it as address:port.", subject=host
            )
        return address.removeprefix("[").removesuffix("]"), int(port)


@dataclass(frozen=True)
class Answer:
    """Hold what a command line said, and its exit status; `raw` is its standard output as it came."""

    out: str
    err: str
    status: int
    raw: bytes = b""


class Wire:
    """Run command lines on one host over a connection that is kept until it breaks."""

    def __init__(self, access: ShellAccess, host: str) -> None:
        self._access = access
        self._host = host
        self._seconds = access.timeout.total_seconds()
        self._transport: paramiko.Transport | None = None
        self._lock = threading.Lock()

    def run(self, line: str, before_sending: Callable[[], None] | None = None, stdin: bytes | None = None) -> Answer:
        """Run one command line; `before_sending` is called as the last thing before it goes out.

        `stdin` is what the command gets to read, and its end; None leaves its standard input open.
        A connection that was kept and has died since is made anew first, so that nothing is ever sent twice. Raises
        UnreachableError, TrustError, LoginError.
        """
        with self._lock:
            channel = self._channel()
            try:
                if before_sending:  # outside the inner try: its refusals are errors of the operating system's kind too
                    before_sending()
                try:
                    return self._exchange(channel, line, stdin)
                except (OSError, EOFError, paramiko.SSHException) as error:
                    self._drop()
                    raise self._broken(error) from error
            finally:
                channel.close()

    def close(self) -> None:
        """Close the connection; the next command line makes a new one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._transport:
            self._transport.close()
        self._transport = None

    def _channel(self) -> paramiko.Channel:
        if self._transport and self._transport.is_active():
            try:
                return self._transport.open_session(timeout=self._seconds)
            except (OSError, EOFError, paramiko.SSHException):
                LOG.debug("%s: the kept connection is gone, making a new one", self._host)
        self._drop()
        transport = self.connect()
        try:
            channel = transport.open_session(timeout=self._seconds)
        except (OSError, EOFError, paramiko.SSHException) as error:
            transport.close()
            raise self._unreachable(error) from error
        self._transport = transport
        return channel

    def _exchange(self, channel: paramiko.Channel, line: str, stdin: bytes | None) -> Answer:
        deadline = time.monotonic() + self._seconds
        channel.settimeout(self._seconds)
        channel.exec_command(line)
        if stdin is not None:
            try:
                channel.sendall(stdin)
                channel.shutdown_write()
            except TimeoutError:
                raise
            except OSError:
                LOG.debug("%s: a command ended without reading its input; its status tells why", self._host)
        streams = []
        for receive in (channel.recv, channel.recv_stderr):
            gathered = bytearray()
            while part := receive(65536):
                gathered += part
                if len(gathered) > LARGEST_ANSWER or time.monotonic() > deadline:
                    raise TimeoutError("the answer does not end")
            streams.append(bytes(gathered))
        if not channel.status_event.wait(max(0.0, deadline - time.monotonic())) or channel.exit_status < 0:
            raise EOFError("no exit status")
        out, err = (one.decode("utf-8", errors="replace") for one in streams)
        return Answer(out, err, channel.exit_status, streams[0])

    def connect(self) -> paramiko.Transport:
        """Make a new connection, log in, and hand it over; whoever asked closes it.

        Raises UnreachableError, TrustError, LoginError.
        """
        address, port = self._access.address(self._host)
        pinned = pinned_keys(self._access.known_hosts, self._host, address, port)
        if not pinned:
            raise TrustError(
                f"No SSH host key is pinned for {self._host} ({address}:{port}), so its shell was not asked.",
                hint=f"Compare the key on the host's own console with `ssh-keyscan -p {port} {address}` and add it to "
                "known_hosts (config/site.yaml, shell.known_hosts).",
                subject=self._host,
            )
        try:
            sock = socket.create_connection((address, port), timeout=self._seconds)
            # Without this each command costs about 40 ms: paramiko leaves Nagle on, against the peer's delayed ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = paramiko.Transport(sock)
        except (OSError, paramiko.SSHException) as error:
            raise self._unreachable(error) from error
        try:
            self._open(transport, pinned)
        except BaseException:
            transport.close()
            raise
        return transport

    def _open(self, transport: paramiko.Transport, pinned: Mapping[str, paramiko.PKey]) -> None:
        transport.set_log_channel(LOG.name)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self._seconds
        options = transport.get_security_options()
        # Ask for a key of a kind that is pinned; a server with several keys would show another one.
        options.key_types = tuple(sorted(options.key_types, key=lambda kind: _stem(kind) not in pinned))
        try:
            transport.start_client(timeout=self._seconds)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._unreachable(error) from error
        offered = transport.get_remote_server_key()
        expected = pinned.get(offered.get_name())
        if expected is None or expected.asbytes() != offered.asbytes():
            wanted = ", ".join(fingerprint(key) for key in ([expected] if expected else pinned.values()))
            raise TrustError(
                f"{self._host} showed the SSH host key {fingerprint(offered)}; pinned is {wanted}. Nothing was sent.",
                hint="Either ESXi was installed anew and made new keys, or somebody else answers at this address. "
                "Compare with the fingerprint on the host's own console; only if it is right, put it into known_hosts.",
                subject=self._host,
            )
        self._log_in(transport)
        transport.set_keepalive(30)

    def _log_in(self, transport: paramiko.Transport) -> None:
        access = self._access
        try:
            if access.key:
                transport.auth_publickey(access.user, private_key(access.key))
            else:
                transport.auth_password(access.user, access.password or "")
        except paramiko.AuthenticationException as error:
            means = "key" if access.key else "password"
            raise LoginError(
                f"{self._host} refused the login of {access.user} by {means}.",
                hint=f"Check user and {means} under `shell` in config/site.yaml, and that the host is not in lockdown "
                "mode (then only exception users may log in).",
                subject=self._host,
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._unreachable(error) from error
        if not transport.is_authenticated():
            raise LoginError(
                f"{self._host} wants a second factor for {access.user}, which Passgate can't give.",
                hint="Give the shell account a key or a password that suffices alone.",
                subject=self._host,
            )

    def _broken(self, error: BaseException) -> UnreachableError:
        return UnreachableError(
            f"The connection to the shell of {self._host} broke before it had answered ({_words(error)}).",
            hint="It is not known whether the command was carried out: read the state before trying again.",
            subject=self._host,
        )

    def _unreachable(self, error: BaseException) -> UnreachableError:
        address, port = self._access.address(self._host)
        return UnreachableError(
            f"The shell of {self._host} did not answer at {address}:{port} ({_words(error)}).",
            hint="Is the host up, is its SSH service (TSM-SSH) started, and is the port open from here?",
            subject=self._host,
        )


def pinned_keys(text: str, host: str, address: str, port: int) -> dict[str, paramiko.PKey]:
    """Return the keys of known_hosts text for that host, by key type.

    Entries under the host's name win over those under its address. Raises ConfigError naming a line that is no entry:
    a key that is silently passed over would be one that somebody believes to be pinned.
    """
    keys = paramiko.HostKeys()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            entry = HostKeyEntry.from_line(" ".join(words), number)
        except (paramiko.SSHException, InvalidHostKey, UnknownKeyType, ValueError) as error:
            raise _not_an_entry(number) from error
        if entry is None:
            raise _not_an_entry(number)
        for name in entry.hostnames:
            keys.add(name, entry.key.get_name(), entry.key)
    names = (f"[{host}]:{port}", host, f"[{address}]:{port}") + ((address,) if port == SSH_PORT else ())
    for name in names:
        found = keys.lookup(name)
        if found:
            return dict(found)
    return {}


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's type and SHA-256 fingerprint as OpenSSH prints them."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def private_key(text: str) -> paramiko.PKey:
    """Read a private key of any kind that ESXi takes. Raises ConfigError without showing any of it."""
    for kind in KEY_KINDS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError, IndexError):
            continue  # another kind, perhaps
    raise ConfigError(
        "The private key for the ESXi shells can't be read.",
        hint="shell.key in config/site.yaml must name an OpenSSH private key (ed25519, ecdsa or rsa), no passphrase.",
        subject="shell.key",
    )


def _not_an_entry(number: int) -> ConfigError:
    return ConfigError(
        f"Line {number} of the known_hosts text for the ESXi shells is not an entry that can be used.",
        hint="Each line is `host key-type key`, as ssh-keyscan prints it; @markers are not used.",
        subject="shell.known_hosts",
    )


def _stem(kind: str) -> str:
    """Return the type of key behind a signature algorithm: three algorithms sign with an ssh-rsa key."""
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return str(error) or "no answer in time"
    if isinstance(error, paramiko.SSHException) and "banner" in str(error):
        return "what answers there does not speak SSH"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".").splitlines()[0]
