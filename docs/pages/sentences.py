"""Read from a step's source what it says of itself on paper: its impact, and what takes it back.

Both are sentences with names of VMs, hosts and devices in them, which only a plan knows: in their place stand the words
that the source has for them, in italics. An example plan shows the whole sentences.
"""

from __future__ import annotations

import ast
import inspect
import re
import string
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from pages.page import first_line, on_one_line
from passgate.engine.steps import Step

DEEPEST = 6
NAMELESS = {"name", "words", "label", "title", "value", "lower", "get", "join", "format"}


def impact_of(step: type[Step]) -> list[str]:
    """Return the sentences that the step may say of its impact."""
    reader = _Method(step.effect)
    readers = [reader, *(_Method(one) for one in reader.delegates())]
    found = [text for one in readers for value in one.keywords("impact") for text in one.texts(value)]
    return list(dict.fromkeys(one for text in found if (one := _tidy(text))))


def undo_of(step: type[Step]) -> list[str]:
    """Return what takes the step back, or why nothing does."""
    reader = _Method(step.undo)
    found: list[str] = []
    for value in reader.returned():
        for call in reader.calls(value):
            meant = reader.meant(call.func)
            if isinstance(meant, type) and issubclass(meant, Step):
                found.append(first_line(meant).partition(". ")[0].rstrip(".") + ".")
            elif getattr(meant, "__name__", "") == "NoUndo" and call.args:
                leaves = not any(one.arg == "leaves" and ast.unparse(one.value) == "False" for one in call.keywords)
                word = "none" if leaves else "none needed"
                found += [f"{word}: {_tidy(text)}." for text in reader.texts(call.args[0]) if _tidy(text)]
    return list(dict.fromkeys(found)) or [on_one_line(inspect.getdoc(step.undo) or "see the plan")]


class _Method:
    """Read one method of a step, or a function that it leaves its work to."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = inspect.unwrap(method)
        self._tree = ast.parse(textwrap.dedent(inspect.getsource(self._method))).body[0]

    def keywords(self, name: str) -> Iterator[ast.expr]:
        """Yield what calls in the method give under that keyword."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.keyword) and node.arg == name:
                yield node.value

    def returned(self) -> Iterator[ast.expr]:
        """Yield what the method returns."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Return) and node.value is not None:
                yield node.value

    def delegates(self) -> Iterator[Callable[..., Any]]:
        """Yield the functions whose results the method returns as they are."""
        for value in self.returned():
            for call in self.calls(value):
                if inspect.isfunction(meant := self.meant(call.func)):
                    yield meant

    def calls(self, value: ast.expr) -> Iterator[ast.Call]:
        """Yield the outermost calls that a value is made of."""
        match value:
            case ast.IfExp(body=body, orelse=orelse):
                yield from self.calls(body)
                yield from self.calls(orelse)
            case ast.Call():
                yield value
            case ast.Name(id=name):
                for one in self._assigned(name):
                    yield from self.calls(one)

    def meant(self, expression: ast.expr) -> object:
        """Return what a dotted name means in the method's module."""
        match expression:
            case ast.Name(id=name):
                return self._method.__globals__.get(name)
            case ast.Attribute(value=inner, attr=name):
                return getattr(self.meant(inner), name, None)
            case _:
                return None

    def texts(self, value: ast.expr, depth: int = 0) -> list[str]:  # noqa: C901, PLR0911 - one line for each kind of text
        """Return the texts that an expression may become, with italics for what only a plan knows."""
        if depth > DEEPEST:
            return [_italic(value)]
        match value:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return _joined([self.texts(part, depth + 1) for part in parts])
            case ast.FormattedValue(value=inner):
                return self.texts(inner, depth + 1) if isinstance(inner, ast.Name | ast.IfExp) else [_italic(inner)]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined([self.texts(left, depth + 1), self.texts(right, depth + 1)])
            case ast.IfExp(body=body, orelse=orelse):
                return [*self.texts(body, depth + 1), *self.texts(orelse, depth + 1)]
            case ast.Call(func=ast.Attribute(value=owner, attr="format"), keywords=given):
                known = {one.arg or "": _italic(one.value) for one in given}
                return [_filled(text, known) for text in self.texts(owner, depth + 1)]
            case ast.Name(id=name) if assigned := self._assigned(name):
                return [text for one in assigned for text in self.texts(one, depth + 1)]
            case ast.Name(id=name) if isinstance(text := self._method.__globals__.get(name), str):
                return [text]
            case ast.Attribute(value=ast.Name(), attr=_) if isinstance(constant := self.meant(value), str):
                return [constant]
            case _:
                return [_italic(value)]

    def _assigned(self, name: str) -> list[ast.expr]:
        return [
            node.value
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        ]


def _joined(parts: list[list[str]]) -> list[str]:
    """Return the parts put together, one text for each choice; more than a few are not told apart."""
    told = [""]
    for choices in parts:
        told = [before + one for before in told for one in choices][:4]
    return told


def _filled(text: str, known: dict[str, str]) -> str:
    parts = string.Formatter().parse(text)
    return "".join(before + (known.get(name, f"*{name}*") if name else "") for before, name, _, _ in parts)


def _italic(value: ast.expr) -> str:
    """Return the word that the source has for a value: `self.device.words` is the *device*."""
    names = [node.attr for node in _chain(value) if isinstance(node, ast.Attribute) and node.attr not in NAMELESS]
    names += [node.id for node in _chain(value) if isinstance(node, ast.Name) and node.id != "self"]
    word = re.sub(r"[^a-z]+", " ", names[0].lower()).strip() if names else ""
    return f"*{word}*" if word else "*…*"


def _chain(value: ast.AST) -> Iterator[ast.AST]:
    """Yield a dotted name from its end to its beginning; of a call, what is called or the first argument."""
    while True:
        yield value
        match value:
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.FormattedValue(value=inner):
                value = inner
            case ast.Call(func=ast.Attribute(value=inner, attr="join"), args=[first, *_]):
                value = first
            case ast.Call(func=ast.Name(), args=[first, *_]):
                value = first
            case ast.Call(func=inner):
                value = inner
            case ast.GeneratorExp(generators=[generator, *_]) | ast.ListComp(generators=[generator, *_]):
                value = generator.iter
            case ast.BoolOp(values=[first, *_]):
                value = first
            case _:
                return


def _tidy(text: str) -> str:
    return on_one_line(text).strip(" ;,")
