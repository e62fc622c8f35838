# ruff: noqa: N803, ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve the PropertyCollector: reading with pages, and filters whose changes can be waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from pyVmomi import vmodl

from passgate.lab.hardware import Refusal
from passgate.lab.vcenter.served import Call, Served, Session, refs
from passgate.lab.vcenter.soap import serialized
from passgate.lab.vcenter.traversal import contents

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_Q = vmodl.query.PropertyCollector
_POLL = 1.0
"""Seconds after which a wait looks whether its session still lives, though nothing changed."""


class Filter(Served):
    """Hold one filter, and what its collector has told of it."""

    kind = _Q.Filter

    def __init__(self, estate: Estate, ref: str, spec: Any, owner: Collector) -> None:
        super().__init__(estate, ref)
        self.spec = spec
        self.partialUpdates = False
        self.owner = owner
        self.told: dict[str, dict[str, str]] = {}
        self.objects: dict[str, Any] = {}

    def DestroyPropertyFilter(self, call: Call) -> None:
        """Forget the filter."""
        self.owner.filters.pop(self.ref, None)
        _session(call).objects.pop(self.ref, None)

    def news(self, session: Session) -> Any:
        """Return what changed since it was told last, as a FilterUpdate; None when nothing did."""
        now = {one.obj._moId: one for one in contents(self.estate, [self.spec], session)}  # noqa: SLF001 - pyVmomi's name for it
        updates = [one for ref, content in now.items() if (one := self._object_news(ref, content))]
        for ref in [ref for ref in self.told if ref not in now]:
            updates.append(_Q.ObjectUpdate(kind="leave", obj=self.objects[ref]))
            del self.told[ref]
        return _Q.FilterUpdate(filter=self.me, objectSet=updates) if updates else None

    def _object_news(self, ref: str, content: Any) -> Any:
        values = {one.name: one.val for one in content.propSet}
        texts = {path: serialized(value) for path, value in values.items()}
        before = self.told.get(ref)
        self.told[ref], self.objects[ref] = texts, content.obj
        if before is None:
            changes = [_Q.Change(name=path, op="assign", val=value) for path, value in values.items()]
            return _Q.ObjectUpdate(kind="enter", obj=content.obj, changeSet=changes)
        changes = [
            _Q.Change(name=path, op="assign", val=values.get(path))
            for path in {**before, **texts}
            if before.get(path) != texts.get(path)
        ]
        return _Q.ObjectUpdate(kind="modify", obj=content.obj, changeSet=changes) if changes else None


class Collector(Served):
    """Hold one property collector of one session; the default one has the well-known reference."""

    kind = _Q
    waits: ClassVar[frozenset[str]] = frozenset({"WaitForUpdatesEx", "WaitForUpdates"})

    def __init__(self, estate: Estate, ref: str) -> None:
        super().__init__(estate, ref)
        self.filters: dict[str, Filter] = {}
        self.version = 0
        self.cancelled = 0

    @property
    def filter(self) -> Any:
        """Return the filters."""
        return refs(list(self.filters.values()), _Q.Filter)

    def CreatePropertyCollector(self, call: Call) -> Any:
        """Make another collector in this session."""
        session = _session(call)
        new = Collector(self.estate, f"session[{session.key}]{session.new_id()}")
        session.objects[new.ref] = new
        return new.me

    def DestroyPropertyCollector(self, call: Call) -> None:
        """Forget this collector and its filters."""
        objects = _session(call).objects
        for ref in [self.ref, *self.filters]:
            objects.pop(ref, None)
        self.filters.clear()

    def RetrieveProperties(self, call: Call, specSet: Any) -> Any:
        """Read everything in one answer."""
        return _Q.ObjectContent.Array(contents(self.estate, specSet, _session(call)))

    def RetrievePropertiesEx(self, call: Call, specSet: Any, options: Any) -> Any:
        """Read in pages of at most `maxObjects`."""
        return self._page(_session(call), contents(self.estate, specSet, _session(call)), options.maxObjects)

    def ContinueRetrievePropertiesEx(self, call: Call, token: str) -> Any:
        """Return the next page."""
        size, *rest = self._take(call, token)
        return self._page(_session(call), rest, size)

    def CancelRetrievePropertiesEx(self, call: Call, token: str) -> None:
        """Forget the pages that were not read."""
        self._take(call, token)

    def _take(self, call: Call, token: str) -> list[Any]:
        try:
            return _session(call).pages.pop(token)
        except KeyError:
            raise Refusal(
                "InvalidArgument", f"{token!r} is no token of this session.", invalidProperty="token"
            ) from None

    @staticmethod
    def _page(session: Session, found: list[Any], size: int | None) -> Any:
        if not found:
            return None
        page, rest = (found[:size], found[size:]) if size else (found, [])
        token = None
        if rest:
            token = session.new_id()
            session.pages[token] = [size, *rest]
        return _Q.RetrieveResult(token=token, objects=page)

    def CreateFilter(self, call: Call, spec: Any, partialUpdates: bool) -> Any:
        """Keep a filter whose changes can be waited for."""
        session = _session(call)
        contents(self.estate, [spec], session)  # a wrong filter is refused now, not in a later wait
        new = Filter(self.estate, f"session[{session.key}]{session.new_id()}", spec, self)
        new.partialUpdates = partialUpdates
        self.filters[new.ref] = session.objects[new.ref] = new
        return new.me

    def CheckForUpdates(self, call: Call, version: str | None) -> Any:
        """Return what changed, at once; nothing when nothing did."""
        return self._updates(call, version, timeout=0)

    def WaitForUpdates(self, call: Call, version: str | None) -> Any:
        """Return what changed, as soon as something did."""
        return self._updates(call, version, timeout=None)

    def WaitForUpdatesEx(self, call: Call, version: str | None, options: Any) -> Any:
        """Return what changed; nothing when nothing did for `maxWaitSeconds`. Answers are never truncated."""
        return self._updates(call, version, timeout=options.maxWaitSeconds if options else None)

    def CancelWaitForUpdates(self, call: Call) -> None:
        """End the wait that runs on this collector with RequestCanceled."""
        self.cancelled += 1
        self.world.changed()

    def _updates(self, call: Call, version: str | None, timeout: int | None) -> Any:
        session = _session(call)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.world.lock:
            if version and version != str(self.version):
                raise Refusal("InvalidCollectorVersion", f"{version!r} is not the version that was told last.")
            if not version:
                for one in self.filters.values():
                    one.told.clear()
            cancelled = self.cancelled
        while True:
            with self.world.lock:
                self.estate.sessions.check(session)
                if self.cancelled != cancelled:
                    raise Refusal("RequestCanceled", "The wait was canceled.")
                seen = self.world.version
                news = [one for each in list(self.filters.values()) if (one := each.news(session))]
                if news:
                    self.version += 1
                    return _Q.UpdateSet(version=str(self.version), filterSet=news, truncated=False)
            left = _POLL if deadline is None else min(_POLL, deadline - time.monotonic())
            if left <= 0:
                return None
            self.world.wait(seen, left)


def _session(call: Call) -> Session:
    if call.session is None:
        raise Refusal("NotAuthenticated", "The session is not authenticated.")
    return call.session
