"""Ask Passgate's service over HTTP, with the standard library alone: the command line starts fast."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from passgate import errors
from passgate.errors import AuthenticationError, PassgateError, UnreachableError
from passgate.settings.place import home

URL_FILE = "service.url"
REPLICAS = "service-*.url"
TOKEN_FILE = "token"  # noqa: S105 - the name of a file, not a secret
PATIENCE = 180.0
"""Seconds for one answer; planning reads a whole estate."""

KINDS: dict[str, type[PassgateError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PassgateError)
}


class Service:
    """Speak to the service whose address is in Passgate's home, as the person whose token we have.

    Where replicas run, any of them takes what is asked: the next one is tried when one can't be reached at all.
    """

    def __init__(self, place: Path | None = None) -> None:
        self._home = place or home()

    @property
    def url(self) -> str:
        """Return where the service says that it listens, read anew, since a new start may take another port."""
        path = self._home / URL_FILE
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError:
            raise UnreachableError(
                f"Passgate's service is not running: {path} is not there.",
                hint="Start it with `passgate up`; or set PASSGATE_HOME to the home of the one that runs.",
                subject=str(path),
            ) from None

    @property
    def _urls(self) -> tuple[str, ...]:
        """Return where this service and its replicas say that they listen, this one first."""
        found = {path.name: path.read_text(encoding="utf-8").strip() for path in sorted(self._home.glob(REPLICAS))}
        return tuple(found.values()) if found and not (self._home / URL_FILE).exists() else (self.url, *found.values())

    def get(self, *path: str, **query: Any) -> Any:
        """Return what the service shows there."""
        return self._call("GET", path, query, None)

    def health(self) -> Any:
        """Return what the service says of itself; that needs no token."""
        return json.loads(self._raw("GET", ("health",), {}, None, token="")[1])

    def post(self, *path: str, body: dict[str, Any]) -> Any:
        """Send it and return the answer."""
        return self._call("POST", path, {}, body)

    def fetch(self, *path: str) -> tuple[str, bytes]:
        """Return the name and the bytes of a file."""
        answer, data = self._raw("GET", path, {}, None)
        name = answer.headers.get_filename() or path[-1]
        return Path(name).name, data

    def _call(self, method: str, path: tuple[str, ...], query: dict[str, Any], body: dict[str, Any] | None) -> Any:
        return json.loads(self._raw(method, path, query, body)[1])

    def lines(self, *path: str, **query: Any) -> Iterator[Any]:
        """Yield what the service tells line by line, as it comes; an error that it tells on the way is raised."""
        with self._asked("GET", path, query, None) as answer:
            for line in answer:
                told = json.loads(line)
                if "error" in told:
                    raise _error(self.url, answer.status, line)
                yield told

    def _raw(
        self,
        method: str,
        path: tuple[str, ...],
        query: dict[str, Any],
        body: dict[str, Any] | None,
        *,
        token: str | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with self._asked(method, path, query, body, token=token) as answer:
            return answer, answer.read()

    @contextmanager
    def _asked(
        self,
        method: str,
        path: tuple[str, ...],
        query: dict[str, Any],
        body: dict[str, Any] | None,
        *,
        token: str | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and lend its answer while the connection is open."""
        where = "/" + "/".join(quote(part, safe="") for part in path)
        asked = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        bearer = self._token() if token is None else token
        headers = {"Authorization": f"Bearer {bearer}", "Passgate-Door": "cli", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        *others, url = self._urls
        try:
            connection, base = next(filter(None, (_reached(one) for one in others)), None) or _connected(url)
            try:
                payload = None if body is None else json.dumps(body).encode()
                where = base + where
                connection.request(method, f"{where}?{asked}" if asked else where, payload, headers)
                answer = connection.getresponse()
                if answer.status >= http.client.BAD_REQUEST:
                    raise _error(url, answer.status, answer.read())
                yield answer
            finally:
                connection.close()
        except PassgateError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(
                f"Passgate's service does not answer at {url}.",
                hint="Start it with `passgate up`."
                + (f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""),
                subject=url,
            ) from None

    def _token(self) -> str:
        path = self._home / TOKEN_FILE
        token = os.environ.get("PASSGATE_TOKEN", "")
        if not token and path.exists():
            try:
                token = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise AuthenticationError(f"Your token in {path} can't be read.", subject=str(path)) from None
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable():
            raise AuthenticationError(
                "You have no token." if not token else "Your token is damaged: it holds characters that no token has.",
                hint=f"Let an administrator run `passgate token issue PERSON`; put it into PASSGATE_TOKEN or {path}.",
            )
        return token


def _connected(url: str) -> tuple[http.client.HTTPConnection, str]:
    """Return an open connection to that address, and the path that all paths there begin with."""
    there = urlsplit(url)
    kind = http.client.HTTPSConnection if there.scheme == "https" else http.client.HTTPConnection
    connection = kind(there.hostname or "", there.port, timeout=PATIENCE)
    connection.connect()
    return connection, there.path.rstrip("/")


def _reached(url: str) -> tuple[http.client.HTTPConnection, str] | None:
    try:
        return _connected(url)
    except (OSError, ValueError):
        return None


def _error(url: str, status: int, data: bytes) -> PassgateError:
    """Return the error that the service told, as the class that it was there."""
    try:
        told = json.loads(data)["error"]
        kind = KINDS.get(told["code"], PassgateError)
        return kind(told["message"], hint=told["hint"], subject=told["subject"])
    except (ValueError, LookupError, TypeError):
        return UnreachableError(
            f"What answers at {url} is not Passgate's service (HTTP {status}).",
            hint="Another program may have taken the port: run `passgate status`.",
            subject=url,
        )
