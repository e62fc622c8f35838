"""Read a runbook's checks and steps from its source: those too that only some asks, hosts or VMs lead to.

A procedure is a generator, and what it yields depends on the estate. So its source is read in order: each `yield`, and
each `yield from` a function of flows/ or tasks/ as if its lines stood there. What stands in a branch or a loop, or
below one that returns, is not always yielded, and is marked so.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar, get_args, get_type_hints

from passgate.engine.steps import Check, Runbook, Step

ALWAYS = ""
SOMETIMES = "only where it is called for"
EACH = "for each that it concerns"
DEEPEST = 8
Kind = type[Step] | type[Check]
K = TypeVar("K", bound=type)


@dataclass(frozen=True)
class Item:
    """Hold one check or step of a procedure, and when it is yielded: always (no words), or as the words say."""

    kind: Kind
    when: str = ALWAYS


def checks_of(runbook: Runbook[Any]) -> dict[type[Check], str]:
    """Return the checks of a runbook in their order, each once, with when it is made."""
    found: dict[type[Check], str] = {}
    for item in items_of(runbook):
        if issubclass(item.kind, Check):
            made = found.get(item.kind)
            found[item.kind] = item.when if made in {None, item.when} else made and item.when and SOMETIMES
    return found


def steps_of(runbook: Runbook[Any]) -> list[Item]:
    """Return the steps of a runbook in their order."""
    return [item for item in items_of(runbook) if issubclass(item.kind, Step)]


def items_of(runbook: Runbook[Any]) -> tuple[Item, ...]:
    """Return the checks and steps of a runbook in the order of its source."""
    ask = next(iter(inspect.signature(runbook.procedure).parameters))
    flags = {
        f"{ask}.{name}": f"--{name.replace('_', '-')}"
        for name, info in runbook.ask.model_fields.items()
        if info.annotation is bool
    }
    return tuple(_Function(runbook.procedure, flags, depth=0).items())


class _Function:
    """Read one generator function; `flags` are the yes-or-no fields of the ask, as its source writes them."""

    def __init__(self, function: Callable[..., Any], flags: dict[str, str], *, depth: int) -> None:
        self._function = inspect.unwrap(function)
        self._flags = flags
        self._depth = depth
        tree = ast.parse(textwrap.dedent(inspect.getsource(self._function))).body[0]
        self._body: list[ast.stmt] = tree.body if isinstance(tree, ast.FunctionDef) else []
        self._assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            for target, value in _assignments(node):
                self._assigned.setdefault(target, []).append(value)

    def items(self) -> Iterator[Item]:
        yield from self._block(self._body, ALWAYS)

    def _block(self, body: list[ast.stmt], when: str) -> Iterator[Item]:
        for statement in body:
            yield from self._statement(statement, when)
            if isinstance(statement, ast.If) and _returns(statement):
                when = when or SOMETIMES

    def _statement(self, statement: ast.stmt, when: str) -> Iterator[Item]:
        match statement:
            case ast.If(test, body, orelse):
                yield from self._block(body, _both(when, self._when(test)))
                yield from self._block(orelse, _both(when, self._when(ast.UnaryOp(ast.Not(), test))))
            case ast.For() | ast.While():
                yield from self._block(statement.body, _both(when, self._repeated(statement)))
            case ast.With(body=body):
                yield from self._block(body, when)
            case ast.Match(cases=cases):
                for case in cases:
                    yield from self._block(case.body, when or SOMETIMES)
            case ast.FunctionDef():
                return
            case _:
                yields = [one for one in ast.walk(statement) if isinstance(one, ast.Yield | ast.YieldFrom)]
                for one in sorted(yields, key=lambda node: (node.lineno, node.col_offset)):
                    if one.value is not None:
                        yield from self._yielded(one.value, when, many=isinstance(one, ast.YieldFrom))

    def _repeated(self, loop: ast.For | ast.While) -> str:
        """Say when the body of a loop is come to; one over classes written out stands for each of them."""
        match loop:
            case ast.For(iter=ast.Tuple()):
                return ALWAYS
            case ast.For(iter=ast.IfExp(test=test)) if self._when(test) != SOMETIMES:
                return self._when(test)
            case _:
                return EACH

    def _when(self, test: ast.expr) -> str:
        match test:
            case ast.UnaryOp(ast.Not(), inner):
                flag = self._flags.get(ast.unparse(inner))
                return f"only without `{flag}`" if flag else SOMETIMES
            case _:
                flag = self._flags.get(ast.unparse(test))
                return f"only with `{flag}`" if flag else SOMETIMES

    def _yielded(self, value: ast.expr, when: str, *, many: bool) -> Iterator[Item]:
        match value:
            case ast.IfExp(test, body, orelse):
                yield from self._yielded(body, _both(when, self._when(test)), many=many)
                yield from self._yielded(orelse, _both(when, self._when(ast.UnaryOp(ast.Not(), test))), many=many)
            case ast.GeneratorExp(elt=each) | ast.ListComp(elt=each):
                yield from self._yielded(each, when or EACH, many=False)
            case ast.Tuple(elts=all_) | ast.List(elts=all_) | ast.BoolOp(values=all_):
                for one in all_:
                    yield from self._yielded(one, when, many=many)
            case ast.Name(id=name) if name in self._assigned:
                alternatives = self._assigned[name]
                for one in alternatives:
                    yield from self._yielded(one, when or (SOMETIMES if len(alternatives) > 1 else ALWAYS), many=many)
            case ast.Call(func=ast.Name(id=name)) as call if name in self._assigned:
                for one in self._assigned[name]:
                    yield from self._called(self._meant(one), call, when, many=many)
            case ast.Call(func=function) as call:
                yield from self._called(self._meant(function), call, when, many=many)

    def _called(self, meant: object, call: ast.Call, when: str, *, many: bool) -> Iterator[Item]:
        if isinstance(meant, type) and issubclass(meant, Step | Check):
            yield Item(meant, when)
        elif callable(meant) and many and self._depth < DEEPEST:
            given = {one.arg or "": self._flags.get(ast.unparse(one.value), "") for one in call.keywords}
            flags = {name: flag for name, flag in given.items() if flag}
            for item in _Function(meant, flags, depth=self._depth + 1).items():
                yield Item(item.kind, _both(when, item.when))
        elif callable(meant):
            made = get_type_hints(meant).get("return")
            kinds = [one for one in (made, *get_args(made)) if isinstance(one, type) and issubclass(one, Step | Check)]
            for kind in kinds:
                yield Item(kind, when or (SOMETIMES if len(kinds) > 1 else ALWAYS))

    def _meant(self, expression: ast.expr) -> object:
        """Return what a dotted name means in the function's module; a method of a step class means that class."""
        match expression:
            case ast.Name(id=name):
                return self._function.__globals__.get(name)
            case ast.Attribute(value=inner, attr=name):
                owner = self._meant(inner)
                if isinstance(owner, type) and issubclass(owner, Step | Check):
                    return owner
                return getattr(owner, name, None) if isinstance(owner, ModuleType | type) else None
            case _:
                return None


def _both(outer: str, inner: str) -> str:
    """Return when something is yielded that stands in two branches: an option says more than that it depends."""
    return inner if not outer or (outer in {SOMETIMES, EACH} and inner.startswith("only with")) else outer


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((one.id, value) for one in targets if isinstance(one, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case ast.For(target=ast.Name(id=name), iter=ast.Tuple(elts=values)):
            yield from ((name, value) for value in values)
        case ast.NamedExpr(target=ast.Name(id=name), value=value):
            yield name, value


def _returns(statement: ast.If) -> bool:
    """Say whether a branch ends the procedure with steps of its own; one that only returns is a guard."""
    branches = (statement.body, statement.orelse)
    ending = [one for branch in branches if len(branch) > 1 for one in branch]
    return any(isinstance(node, ast.Return) for one in ending for node in ast.walk(one))
