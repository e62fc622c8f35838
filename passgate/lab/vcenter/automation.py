"""Serve the part of the vSphere Automation API that tells tags: sessions, tags, categories, what is on which object."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from passgate.lab.hardware import Refusal
from passgate.lab.vcenter.session import Sessions
from passgate.lab.world import World

HEADER = "vmware-api-session-id"
SESSION = "/api/session"
TAGGING = "/api/cis/tagging/"
_IDS = uuid.UUID("3f8d5f0e-52c1-4c5d-9f0b-5f2f1c0d7a11")


@dataclass(frozen=True)
class Answer:
    """Hold one answer: the status, and what the body says, None for an empty one."""

    status: HTTPStatus
    says: Any = None

    @property
    def body(self) -> bytes:
        """Return the body as JSON."""
        return b"" if self.says is None else json.dumps(self.says).encode()


def refused(status: HTTPStatus, kind: str, message: str) -> Answer:
    """Return an error in the API's own form."""
    return Answer(status, {"error_type": kind, "messages": [{"default_message": message, "id": "lab", "args": []}]})


class Automation:
    """Answer requests on one world; tags are what its VMs and hosts bear, written `Category/Name`."""

    def __init__(self, world: World, sessions: Sessions) -> None:
        self._world, self._sessions = world, sessions

    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer one request."""
        if path == SESSION and method == "POST":
            return self._log_in(headers.get("authorization", ""))
        key = headers.get(HEADER, "")
        if key not in self._sessions.live:
            return refused(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", "Authentication required.")
        if path == SESSION and method == "DELETE":
            self._sessions.end(key)
            return Answer(HTTPStatus.NO_CONTENT)
        kind, _, identity = path.removeprefix(TAGGING).partition("/")
        if path.startswith(TAGGING) and method == "GET" and identity:
            return self._named(kind, identity)
        wanted = (f"{TAGGING}tag-association", "list-attached-tags-on-objects")
        if method == "POST" and (path, query.get("action")) == wanted:
            return self._attached(body)
        return refused(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"The lab does not serve {method} {path}.")

    def _log_in(self, given: str) -> Answer:
        coded = given.removeprefix("Basic ")
        try:
            user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
            session = self._sessions.login(user, password, "automation")
        except (Refusal, ValueError, binascii.Error):
            return refused(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", "Authentication required.")
        return Answer(HTTPStatus.CREATED, session.key)

    def _attached(self, body: bytes) -> Answer:
        try:
            objects = [(one["type"], one["id"]) for one in json.loads(body)["object_ids"]]
        except (ValueError, KeyError, TypeError):
            return refused(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", "object_ids is a list of type and id.")
        bearing = self._bearing()
        return Answer(
            HTTPStatus.OK,
            [
                {
                    "object_id": {"type": kind, "id": ref},
                    "tag_ids": [_id("Tag", one) for one in bearing.get((kind, ref), ())],
                }
                for kind, ref in objects
            ],
        )

    def _named(self, kind: str, identity: str) -> Answer:
        for one in sorted({tag for tags in self._bearing().values() for tag in tags}):
            category, _, name = one.partition("/")
            if kind == "tag" and identity == _id("Tag", one):
                return Answer(HTTPStatus.OK, {"id": identity, "name": name, "category_id": _id("Category", category)})
            if kind == "category" and identity == _id("Category", category):
                return Answer(HTTPStatus.OK, {"id": identity, "name": category, "cardinality": "MULTIPLE"})
        return refused(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"There is no {kind} {identity}.")

    def _bearing(self) -> dict[tuple[str, str], tuple[str, ...]]:
        with self._world.lock:
            vms = {("VirtualMachine", vm.ref): tuple(vm.tags) for vm in self._world.vms}
            return vms | {("HostSystem", host.ref): tuple(host.tags) for host in self._world.hosts}


def _id(kind: str, name: str) -> str:
    """Return an id in vCenter's form, the same one for the same name."""
    return f"urn:vmomi:InventoryService{kind}:{uuid.uuid5(_IDS, kind + name)}:GLOBAL"
