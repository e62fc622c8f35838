"""The connector trusts only the certificate that it should, and says what is wrong with another one."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from passgate.connect.vsphere import Session
from passgate.errors import ConfigError, TrustError, UnreachableError
from passgate.lab import tls

Answer = Callable[[ssl.SSLSocket], None]


@contextmanager
def listener(pair: tls.Pair | None, answer: bytes = b"") -> Iterator[str]:
    """Answer every connection with these bytes, over TLS with that certificate; yields the URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return  # the test is over
                try:
                    with context.wrap_socket(plain, server_side=True) as one:
                        one.recv(4096)
                        one.sendall(answer)
                except OSError:
                    plain.close()  # the client did not trust us, which is what is tested

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def session(url: str, ca: Path | None, asked: list[str] | None = None) -> Session:
    """Return a session that would note down if it was asked for the password."""

    def password() -> str:
        (asked if asked is not None else []).append("asked")
        return "secret"

    return Session(url, ca=ca.read_text() if ca else None, user="user", password=password, timeout=5)


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "words"),
    [
        (["127.0.0.1"], True, True, "has expired"),
        (["vcenter.lab.example"], False, True, "made out to another"),
        (["127.0.0.1"], False, False, "not trusted"),
    ],
    ids=["expired", "wrong name", "unknown CA"],
)
def test_a_wrong_certificate_is_refused(
    tmp_path: Path, names: list[str], expired: bool, trusted: bool, words: str
) -> None:
    """Refuse before anything is sent, say what is wrong with the certificate and which setting to look at."""
    ca, stranger = tls.make_ca(tmp_path / "ca"), tls.make_ca(tmp_path / "stranger")
    asked: list[str] = []
    with (
        listener(tls.issue(ca, names, expired=expired)) as url,
        pytest.raises(TrustError, match=words) as caught,
    ):
        session(url, ca.cert if trusted else stranger.cert, asked).content  # noqa: B018  # reading it connects
    assert url.removeprefix("https://") in caught.value.message
    assert caught.value.hint
    assert asked == []


def test_without_a_ca_the_system_decides(tmp_path: Path) -> None:
    """Do not trust a private CA that nobody named."""
    ca = tls.make_ca(tmp_path)
    with listener(tls.issue(ca, ["127.0.0.1"])) as url, pytest.raises(TrustError, match="not trusted"):
        session(url, None).content  # noqa: B018  # reading it connects


def test_a_pinned_server_certificate_is_enough(tmp_path: Path) -> None:
    """Accept the server's own certificate in place of its CA's; then only the answer is found wanting."""
    pair = tls.issue(tls.make_ca(tmp_path), ["127.0.0.1"])
    with (
        listener(pair, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as url,
        pytest.raises(UnreachableError, match="not what a vCenter answers"),
    ):
        session(url, pair.cert).content  # noqa: B018  # reading it connects


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"", "connection broke"), (b"SSH-2.0-x\r\n\r\n", "not what a vCenter answers")],
    ids=["hangs up", "not HTTP"],
)
def test_something_else_answers(tmp_path: Path, answer: bytes, words: str) -> None:
    """Say so when what answers is no vCenter."""
    ca = tls.make_ca(tmp_path)
    with listener(tls.issue(ca, ["127.0.0.1"]), answer) as url, pytest.raises(UnreachableError, match=words):
        session(url, ca.cert).content  # noqa: B018  # reading it connects


def test_nothing_answers() -> None:
    """Say that nothing listens, and where."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match="nothing listens") as caught:
        session(f"https://127.0.0.1:{port}", None).content  # noqa: B018  # reading it connects
    assert f"127.0.0.1:{port}" in caught.value.message
    assert caught.value.safe_to_repeat


@pytest.mark.parametrize("url", ["http://vcenter", "vcenter", "https://", "ftp://vcenter", "https://vcenter:99999"])
def test_a_url_that_is_none(url: str) -> None:
    """Refuse an address without TLS, or without a host, before anything is sent."""
    with pytest.raises(ConfigError, match="not the address of a vCenter"):
        session(url, None)


def test_a_ca_that_is_none(tmp_path: Path) -> None:
    """Refuse text that holds no certificate."""
    (tmp_path / "ca").write_text("no certificate")
    with pytest.raises(ConfigError, match="does not hold a certificate"):
        session("https://vcenter", tmp_path / "ca")
