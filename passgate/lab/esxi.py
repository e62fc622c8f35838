"""Serve the hosts' shells over SSH: one server for each host, with keys that are made when it starts."""

from __future__ import annotations

import io
import logging
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko import common as ssh

from passgate.lab import vmkernel
from passgate.lab.esxi_commands import HostTools
from passgate.lab.esxi_shell import Output
from passgate.lab.hardware import LabHost
from passgate.lab.world import Fault, World

USER = "root"
CONNECT, EXEC = "ssh:connect", "ssh:exec"
"""Methods for injected faults: a connection, and a command line, whose object is the host or any word of the line.
Faults are those of `hardware.Fault`, and `Truncate` (half of the answer), `exit N` (that status, nothing done); any
other name is status 1 with the fault's message."""

STDIN_TIME = 20.0
"""Seconds that a command waits for its standard input to go on."""

LOG = logging.getLogger(__name__)
# paramiko tells of each client that went away with a traceback; that is no news in a lab whose clients are cut off.
WIRE_LOG = logging.getLogger("passgate.lab.esxi.wire")
WIRE_LOG.addHandler(logging.NullHandler())
WIRE_LOG.propagate = False


class EsxiShells:
    """The shells of all hosts of a world; `private_key` and `password` are root's ways in."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.private_key = new_private_key()
        self.password = secrets.token_urlsafe(16)
        self._shells = [_Shell(world, host, _key(self.private_key), self.password) for host in world.hosts]
        world.when_down.append(self._cut)

    @property
    def addresses(self) -> dict[str, str]:
        """Return where each host's shell listens."""
        return {one.host.name: f"127.0.0.1:{one.port}" for one in self._shells}

    @property
    def known_hosts(self) -> str:
        """Return the hosts' public keys, by name and by address."""
        return "".join(
            f"{one.host.name},[127.0.0.1]:{one.port} {one.key.get_name()} {one.key.get_base64()}\n"
            for one in self._shells
        )

    def start(self) -> None:
        """Begin to answer."""
        for one in self._shells:
            one.start()

    def _cut(self, host: LabHost) -> None:
        """Break the connections to a host that goes down; in a thread, because whoever takes it down holds the lock."""
        for one in self._shells:
            if one.host is host:
                threading.Thread(target=one.cut, name=f"ssh {host.name} down", daemon=True).start()

    def stop(self) -> None:
        """Close all listeners and connections."""
        for one in self._shells:
            one.stop()


def new_private_key() -> str:
    """Make an ed25519 key, as the text that ssh reads from a file."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _key(text: str) -> paramiko.Ed25519Key:
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))


class _Shell:
    """The SSH server of one host."""

    def __init__(self, world: World, host: LabHost, client_key: paramiko.PKey, password: str) -> None:
        self.world, self.host, self.client_key, self.password = world, host, client_key, password
        self.key = _key(new_private_key())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[paramiko.Transport] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._accept, name=f"ssh {self.host.name}", daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            connections, self._connections = tuple(self._connections), set()
        for one in connections:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(
                target=self._serve, args=(sock,), name=f"ssh {self.host.name} session", daemon=True
            ).start()

    def _serve(self, sock: socket.socket) -> None:
        fault = self.world.take_fault(CONNECT, self.host.name, self.host.ref)
        if fault:
            time.sleep(fault.delay)
        down = self.host.power != "poweredOn" or not self.host.services["TSM-SSH"].running
        if (fault and fault.fault) or down:
            # A reset instead of an orderly end: what a client sees of a host that is down.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = _Transport(sock)
        transport.set_log_channel(WIRE_LOG.name)
        transport.local_version = "SSH-2.0-OpenSSH_9.1"
        transport.add_server_key(self.key)
        with self._lock:
            self._connections = {one for one in self._connections if one.is_active()} | {transport}
        try:
            transport.start_server(server=_Session(self, transport))
        except (OSError, EOFError, paramiko.SSHException) as error:
            LOG.debug("%s: a client did not get as far as a session: %s", self.host.name, error)
            transport.close()


class _Transport(paramiko.Transport):
    """Start each command when the answer to its request has gone out, as sshd does.

    paramiko has no hook for that moment, and a command that ends before it would close the channel too early.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.due: list[threading.Thread] = []

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc] # left out of the stubs
        if data.asbytes()[:1] == ssh.cMSG_CHANNEL_SUCCESS:
            while self.due:
                self.due.pop().start()


class _Session(paramiko.ServerInterface):
    """What one client may do on one connection: log in as root, and run command lines."""

    def __init__(self, shell: _Shell, transport: _Transport) -> None:
        self._shell = shell
        self._transport = transport

    def get_allowed_auths(self, _username: str) -> str:
        """Offer what sshd of ESXi offers."""
        return "publickey,password"

    def check_auth_password(self, username: str, password: str) -> int:
        """Accept root's password."""
        right = username == USER and secrets.compare_digest(password.encode(), self._shell.password.encode())
        return ssh.AUTH_SUCCESSFUL if right else ssh.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Accept root's key."""
        right = username == USER and key.asbytes() == self._shell.client_key.asbytes()
        return ssh.AUTH_SUCCESSFUL if right else ssh.AUTH_FAILED

    def check_channel_request(self, kind: str, _chanid: int) -> int:
        """Open sessions and nothing else: no forwarding."""
        return ssh.OPEN_SUCCEEDED if kind == "session" else ssh.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_pty_request(self, *_: object) -> bool:
        """Accept a terminal, which public code asks for with `lsusb -t`; nothing here behaves differently on one."""
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Run the command line beside the connection's own thread, which has to go on serving."""
        line = command.decode("utf-8", errors="replace")
        thread = threading.Thread(target=self._exec, args=(channel, line), name="ssh command", daemon=True)
        self._transport.due.append(thread)
        return True

    def _exec(self, channel: paramiko.Channel, line: str) -> None:
        shell = self._shell
        fault = shell.world.take_fault(EXEC, shell.host.name, shell.host.ref, *line.split())
        if fault:
            time.sleep(fault.delay)
            if fault.fault == "Disconnect":
                self._transport.close()
                return
        last = vmkernel.asks_to_follow(line)
        if last is not None:
            _follow(shell, channel, last)
            return
        said = _instead(fault) or HostTools(shell.world, shell.host, USER).run(line, lambda: _sent(channel))
        if fault and fault.fault == "DisconnectAfter":
            self._transport.close()
            return
        if fault and fault.fault == "Truncate":
            said = Output(said.out[: len(said.out) // 2], said.err, said.status)
        with suppress(OSError, EOFError, paramiko.SSHException):  # a client that went away misses nothing
            channel.sendall(said.out.encode("utf-8", "surrogateescape"))
            channel.sendall_stderr(said.err.encode())
            channel.send_exit_status(said.status)
            channel.close()


def _follow(shell: _Shell, channel: paramiko.Channel, last: int) -> None:
    """Send the host's log as it grows, until the client or the connection is gone."""

    def sending(send: Callable[[bytes], object]) -> Callable[[str], bool]:
        def sent(text: str) -> bool:
            try:
                send(text.encode())
            except (OSError, EOFError, paramiko.SSHException):
                return False
            return not channel.closed

        return sent

    out, err = sending(channel.sendall), sending(channel.sendall_stderr)
    vmkernel.follow(shell.world, shell.host, last, out, err)
    channel.close()


def _sent(channel: paramiko.Channel) -> str:
    """Return all that the client sends until it closes its side."""
    gathered = bytearray()
    with suppress(OSError):  # nobody sends any more: what was sent is all
        channel.settimeout(STDIN_TIME)
        while part := channel.recv(65536):
            gathered += part
    return gathered.decode("utf-8", "surrogateescape")


def _instead(fault: Fault | None) -> Output | None:
    """Return what a fault says in place of the command, which is then not run; None when it runs."""
    if fault is None or fault.fault in {"", "Disconnect", "DisconnectAfter", "Truncate"}:
        return None
    word, _, number = fault.fault.partition(" ")
    status = int(number) if word == "exit" and number.isdecimal() else 1
    return Output("", f"{fault.message or fault.fault}\n", status)
