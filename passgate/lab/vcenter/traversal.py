"""Select managed objects as a PropertyCollector filter says, and read their properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyVmomi import vmodl

from passgate.lab.hardware import Refusal
from passgate.lab.vcenter.faults import to_fault
from passgate.lab.vcenter.served import Served, Session

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_Q = vmodl.query.PropertyCollector


def contents(estate: Estate, specs: Any, session: Session) -> list[Any]:
    """Return the objects that the filters select, each with the properties that it was asked for and has."""
    found: list[Any] = []
    for spec in specs:
        found.extend(_content(served, spec.propSet, session) for served in _selected(estate, spec, session))
    return found


def _content(served: Served, wanted: Any, session: Session) -> Any:
    values = properties(served, wanted, session)
    refused = {path: fault for path in values if (fault := served.unreadable.get(path)) is not None}
    return _Q.ObjectContent(
        obj=served.me,
        propSet=[vmodl.DynamicProperty(name=path, val=value) for path, value in values.items() if path not in refused],
        missingSet=[_missing(served, path, fault) for path, fault in refused.items() if fault],
    )


def _missing(served: Served, path: str, fault: str) -> Any:
    """Return what stands in the answer for a property that can't be read."""
    known = {"object": served.me, "privilegeId": "System.Read"} if fault == "NoPermission" else {}
    return _Q.MissingProperty(path=path, fault=to_fault(Refusal(fault, "It can't be read.", **known)))


def properties(served: Served, wanted: Any, session: Session) -> dict[str, Any]:
    """Return path -> value for every property that is asked for and set."""
    paths: dict[str, None] = {}
    for spec in wanted:
        if issubclass(served.kind, spec.type):
            paths.update(dict.fromkeys(served.names() if spec.all else spec.pathSet))
    known: dict[str, Any] = {}
    values = {path: served.read(path, session, known) for path in paths}
    return {path: value for path, value in values.items() if value is not None}


def _selected(estate: Estate, spec: Any, session: Session) -> Iterator[Served]:
    """Walk from each start along its selection, and yield every object once that has a property asked for."""
    kinds = tuple(one.type for one in spec.propSet)
    seen: set[str] = set()
    for start in spec.objectSet:
        served = estate.find(start.obj, session)
        if served is None:
            if spec.reportMissingObjectsInResults:
                continue
            raise Refusal("ManagedObjectNotFound", f"The object {start.obj} does not exist.", obj=start.obj)
        named: dict[str, Any] = {
            str(one.name): one for one in _all_specs(start.selectSet) if isinstance(one, _Q.TraversalSpec)
        }
        reached = [served] if not start.skip else []
        reached.extend(_walk(estate, served, start.selectSet, named, session, set()))
        for one in reached:
            if one.ref not in seen and issubclass(one.kind, kinds):
                seen.add(one.ref)
                yield one


def _all_specs(specs: Any) -> Iterator[Any]:
    for spec in specs:
        yield spec
        if isinstance(spec, _Q.TraversalSpec):
            yield from _all_specs(spec.selectSet)


def _walk(  # noqa: PLR0917 - a recursion carries what it knows
    estate: Estate, served: Served, specs: Any, named: dict[str, Any], session: Session, gone: set[tuple[str, int]]
) -> Iterator[Served]:
    """Follow traversal specs; a selection spec stands for the traversal that it names, which makes recursion."""
    for given in specs:
        spec = given if isinstance(given, _Q.TraversalSpec) else named.get(given.name)
        if spec is None:
            raise Refusal("InvalidArgument", f"No traversal is named {given.name}.", invalidProperty="selectSet")
        if not issubclass(served.kind, spec.type) or (served.ref, id(spec)) in gone:
            continue
        gone.add((served.ref, id(spec)))
        value = served.read(spec.path, session)
        for ref in value if isinstance(value, list) else [value] if value is not None else []:
            if (child := estate.find(ref, session)) is not None:
                if not spec.skip:
                    yield child
                yield from _walk(estate, child, spec.selectSet, named, session, gone)
