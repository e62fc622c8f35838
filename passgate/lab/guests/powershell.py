"""Understand as much PowerShell as people use to look at devices: pipelines, filters, hashtables, ConvertTo-Json.

A script is parsed into closures over a `Scope`, then run. What it doesn't know it refuses with PowerShell's own words.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Cmdlet = Callable[[dict[str, Any], list[Any]], list[Any]]
"""Take the named arguments (lower case) and the objects from the pipeline; return objects."""


class PowerShellError(Exception):
    """Carry what PowerShell would print before it gives up."""


@dataclass
class Scope:
    """Hold the variables (lower case) and the cmdlets that a script may use."""

    cmdlets: Mapping[str, Cmdlet]
    variables: dict[str, Any] = field(default_factory=dict)

    def with_(self, **variables: Any) -> Scope:
        """Return a scope that knows these variables too."""
        return Scope(self.cmdlets, {**self.variables, **variables})


Node = Callable[[Scope], Any]
Block = Callable[[Scope], list[Any]]

TOKENS: Final = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*|`\r?\n)|(?P<end>[\n;])
    |(?P<string>['\u2018-\u201b](?:[^'\u2018-\u201b]|['\u2018-\u201b]{2})*['\u2018-\u201b]|"(?:[^"`]|`.)*")
    |(?P<variable>\$\w+)|(?P<type>\[[A-Za-z][\w.]*\])|(?P<static>::\w+)|(?P<index>\[\d+\])|(?P<member>\.[A-Za-z]\w*)
    |(?P<open>@\(|@\{|\(|\{)|(?P<close>[)}])|(?P<mark>[|,=])|(?P<parameter>-[A-Za-z]\w*)
    |(?P<word>[^\s;|{}(),='"$@]+)""",
    re.VERBOSE,
)
QUOTES: Final = re.compile("(['\u2018-\u201b])['\u2018-\u201b]")
"""Typographic quotes end a string too, as PowerShell's grammar has it; doubled they stand for the first."""
SWITCHES: Final = {"presentonly", "compress", "unique", "descending"}
ALIASES: Final = {
    "?": "where-object", "where": "where-object", "%": "foreach-object", "foreach": "foreach-object",
    "select": "select-object", "sort": "sort-object",
}  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def like(value: Any, pattern: Any) -> bool:
    """Compare as -like does: wildcards, whatever the case."""
    return fnmatch.fnmatchcase(_text(value).upper(), _text(pattern).upper().replace("[", "[[]"))


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return bool(left) == bool(right)
    return _text(left).upper() == _text(right).upper()


COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "like": like,
    "notlike": lambda left, right: not like(left, right),
    "match": lambda left, right: re.search(_text(right), _text(left), re.IGNORECASE) is not None,
    "notmatch": lambda left, right: re.search(_text(right), _text(left), re.IGNORECASE) is None,
    "gt": lambda left, right: float(left or 0) > float(right),
    "lt": lambda left, right: float(left or 0) < float(right),
    "contains": lambda left, right: any(_equal(one, right) for one in stream(left)),
    "notcontains": lambda left, right: not any(_equal(one, right) for one in stream(left)),
    "in": lambda left, right: any(_equal(left, one) for one in stream(right)),
}
LOGIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "and": lambda left, right: bool(left) and bool(right),
    "or": lambda left, right: bool(left) or bool(right),
}


def _format(pattern: Any, value: Any) -> str:
    """Fill a -f pattern: {0} and hexadecimal {0:x4}."""
    return re.sub(
        r"\{0(?::[xX](\d))?\}",
        lambda found: f"{int(value):0{found[1]}x}" if found[1] else _text(value),
        _text(pattern),
    )


CASTS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": lambda value: ord(value) if isinstance(value, str) and len(value) == 1 else int(value),
    "char": lambda value: value if isinstance(value, str) else chr(value),
    "string": _text,
}


def run(script: str, cmdlets: Mapping[str, Cmdlet]) -> str:
    """Run a script and return what it prints. Raises PowerShellError."""
    known = {**cmdlets, "convertto-json": _to_json, "sort-object": _sort, "write-output": _echo}
    printed = _Parser(script).script()(Scope(known))
    return "\n".join(one if isinstance(one, str) else _listed(one) for one in printed) + "\n"


def stream(value: Any) -> list[Any]:
    """Return the objects that a value puts into a pipeline."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _unwrap(objects: list[Any]) -> Any:
    return objects if len(objects) > 1 else objects[0] if objects else None


def _member(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_member(one, name) for one in value]
    if isinstance(value, Mapping):
        return next((one for key, one in value.items() if key.casefold() == name.casefold()), None)
    return len(value) if isinstance(value, str) and name.casefold() == "length" else None


def _listed(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _text(value)
    width = max(map(len, value), default=0)
    return "\n".join(f"{key:<{width}} : {_text(one)}" for key, one in value.items()) + "\n"


def _to_json(named: dict[str, Any], objects: list[Any]) -> list[Any]:
    """Write JSON as Windows PowerShell 5.1: one object is no list, and & < > ' are escaped."""
    data = _unwrap(objects)
    text = json.dumps(
        data, ensure_ascii=False, **({"separators": (",", ":")} if "compress" in named else {"indent": 4})
    )
    return [re.sub("[&<>']", lambda found: f"\\u{ord(found[0]):04x}", text)] if objects else []


def _sort(named: dict[str, Any], objects: list[Any]) -> list[Any]:
    key = _text(named.get("property") or next(iter(named.get("", [])), ""))
    return sorted(objects, key=lambda one: _text(_member(one, key)), reverse="descending" in named)


def _echo(named: dict[str, Any], objects: list[Any]) -> list[Any]:
    return [*objects, *named.get("", [])]


class _Parser:
    def __init__(self, script: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(script):
            found = TOKENS.match(script, at)
            if not found or found.lastgroup is None:
                raise PowerShellError(f"Unexpected token '{script[at : at + 10]}' in expression or statement.")
            if found.lastgroup != "skip":
                self._tokens.append((found.lastgroup, found[0]))
            at = found.end()
        self._at = 0

    # -- tokens --------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ("over", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, text: str) -> bool:
        if self._peek()[1] == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        self._skip_ends()
        if not self._take(text):
            raise PowerShellError(f"Missing closing '{text}' in statement block or type definition.")

    def _skip_ends(self) -> None:
        while self._peek()[0] == "end":
            self._at += 1

    # -- statements ----------------------------------------------------------------------------------------------

    def script(self) -> Block:
        """Parse statements up to a closing bracket or the end."""
        statements: list[Node] = []
        self._skip_ends()
        while self._peek()[0] not in {"over", "close"}:
            statements.append(self._statement())
            self._skip_ends()
        return lambda scope: [one for statement in statements for one in stream(statement(scope))]

    def _statement(self) -> Node:
        kind, text = self._peek()
        if (kind, text.casefold()) == ("word", "if"):
            return self._if()
        if kind == "variable" and self._peek(1)[1] == "=":
            self._at += 2
            value, name = self._pipeline(), text[1:].casefold()

            def assign(scope: Scope) -> None:
                scope.variables[name] = value(scope)

            return assign
        return self._pipeline()

    def _if(self) -> Node:
        self._at += 1
        self._expect("(")
        condition = self._pipeline()
        self._expect(")")
        self._skip_ends()
        then, otherwise = self._block(), None
        if self._peek()[1].casefold() == "else":
            self._at += 1
            otherwise = self._block()

        def branch(scope: Scope) -> Any:
            # A branch is no scope of its own: what it sets, the script has.
            return then(scope) if condition(scope) else otherwise(scope) if otherwise else None

        return branch

    def _pipeline(self) -> Node:
        if self._peek()[0] == "word" and not self._peek()[1].isdigit():
            first, commands = None, [self._command()]
        else:
            first, commands = self._expression(), []
        while self._take("|"):
            self._skip_ends()
            commands.append(self._command())
        if first is not None and not commands:
            return first

        def run_all(scope: Scope) -> Any:
            objects = stream(first(scope)) if first else commands[0](scope, [])
            for command in commands if first else commands[1:]:
                # What follows an empty pipeline never runs: it must not answer as if it stood alone.
                objects = command(scope, objects) if objects else []
            return _unwrap(objects)

        return run_all

    # -- commands ------------------------------------------------------------------------------------------------

    def _command(self) -> Callable[[Scope, list[Any]], list[Any]]:
        name = self._next()[1]
        known = ALIASES.get(name.casefold(), name.casefold())
        if known == "where-object":
            return self._where()
        if known == "foreach-object":
            block = self._block()
            return lambda scope, objects: [one for each in objects for one in block(scope.with_(_=each))]
        named, given = self._arguments()

        def call(scope: Scope, objects: list[Any]) -> list[Any]:
            values: dict[str, Any] = {key: value(scope) for key, value in named.items()}
            values[""] = [one for node in given for one in stream(node(scope))]
            if known == "select-object":
                return _select(scope, values, objects)
            if known not in scope.cmdlets:
                raise PowerShellError(
                    f"{name} : The term '{name}' is not recognized as the name of a cmdlet, function, script file, or "
                    "operable program."
                )
            return scope.cmdlets[known](values, objects)

        return call

    def _arguments(self) -> tuple[dict[str, Node], list[Node]]:
        named: dict[str, Node] = {}
        given: list[Node] = []
        while self._peek()[0] not in {"end", "over", "close"} and self._peek()[1] != "|":
            kind, text = self._peek()
            if kind != "parameter":
                given.append(self._values())
                continue
            self._at += 1
            key = text[1:].casefold()
            named[key] = (lambda _: True) if key in SWITCHES else self._values()
        return named, given

    def _values(self) -> Node:
        nodes = [self._argument()]
        while self._take(","):
            self._skip_ends()
            nodes.append(self._argument())
        return nodes[0] if len(nodes) == 1 else lambda scope: [node(scope) for node in nodes]

    def _argument(self) -> Node:
        kind, text = self._peek()
        if kind == "word":
            self._at += 1
            value: Any = int(text) if text.isdigit() else text
            return lambda _: value
        return self._primary()

    def _where(self) -> Callable[[Scope, list[Any]], list[Any]]:
        if self._peek()[1] == "{":
            block = self._block()
            return lambda scope, objects: [each for each in objects if _unwrap(block(scope.with_(_=each)))]
        key = self._next()[1]
        kind, text = self._peek()
        if kind != "parameter":
            return lambda _, objects: [each for each in objects if _member(each, key)]
        self._at += 1
        compare, value = self._operator(text), self._values()
        return lambda scope, objects: [each for each in objects if compare(_member(each, key), value(scope))]

    @staticmethod
    def _operator(text: str) -> Callable[[Any, Any], Any]:
        if text[1:].casefold() not in COMPARE:
            raise PowerShellError(f"A parameter cannot be found that matches parameter name '{text[1:]}'.")
        return COMPARE[text[1:].casefold()]

    def _block(self) -> Block:
        self._expect("{")
        inside = self.script()
        self._expect("}")
        return inside

    # -- expressions ---------------------------------------------------------------------------------------------

    def _expression(self) -> Node:
        return self._binary(LOGIC, lambda: self._binary(COMPARE, lambda: self._binary({"f": _format}, self._unary)))

    def _binary(self, operators: Mapping[str, Callable[[Any, Any], Any]], operand: Callable[[], Node]) -> Node:
        node = operand()
        while self._peek()[0] == "parameter" and self._peek()[1][1:].casefold() in operators:
            act = operators[self._next()[1][1:].casefold()]
            node = _apply(act, node, operand())
        return node

    def _unary(self) -> Node:
        kind, text = self._peek()
        if kind == "parameter" and text.casefold() == "-not":
            self._at += 1
            inner = self._unary()
            return lambda scope: not inner(scope)
        return self._primary()

    def _primary(self) -> Node:
        kind, text = self._next()
        node: Node
        if kind == "string":
            node = _string(text)
        elif kind == "variable":
            node = _variable(text[1:])
        elif kind == "type":
            return self._typed(text[1:-1].casefold())
        elif text == "@{":
            node = self._table()
        elif text in {"@(", "("}:
            inside = self.script()
            self._expect(")")
            node = inside if text == "@(" else lambda scope: _unwrap(inside(scope))
        elif text == "{":
            self._at -= 1
            block = self._block()
            node = lambda _: block  # noqa: E731 - one of several closures
        elif text.isdigit():
            node = lambda _: int(text)  # noqa: E731 - one of several closures
        else:
            raise PowerShellError(f"Unexpected token '{text}' in expression or statement.")
        return self._postfix(node)

    def _postfix(self, node: Node) -> Node:
        while self._peek()[0] in {"member", "index"}:
            kind, text = self._next()
            node = _access(node, text[1:]) if kind == "member" else _at(node, int(text[1:-1]))
        return node

    def _typed(self, name: str) -> Node:
        if self._peek()[0] != "static":
            if name not in CASTS:
                raise PowerShellError(f"Unable to find type [{name}].")
            inner, cast = self._unary(), CASTS[name]
            return lambda scope: cast(inner(scope))
        method = self._next()[1].removeprefix("::")
        if (name, method.casefold()) != ("regex", "replace"):
            raise PowerShellError(f"Method invocation failed because [{name}] does not contain '{method}'.")
        self._expect("(")
        given = [self._expression()]
        while self._take(","):
            given.append(self._expression())
        self._expect(")")
        return lambda scope: _regex_replace(scope, *(node(scope) for node in given))

    def _table(self) -> Node:
        entries: list[tuple[str, Node]] = []
        self._skip_ends()
        while not self._take("}"):
            key = self._next()[1].strip("'\"")
            if not self._take("="):
                raise PowerShellError("Missing '=' operator after key in hash literal.")
            entries.append((key, self._pipeline()))
            self._skip_ends()
        return lambda scope: {key: node(scope) for key, node in entries}


def _apply(act: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda scope: act(left(scope), right(scope))


def _access(node: Node, name: str) -> Node:
    return lambda scope: _member(node(scope), name)


def _at(node: Node, place: int) -> Node:
    return lambda scope: dict(enumerate(stream(node(scope)))).get(place)


def _variable(name: str) -> Node:
    fixed = {"true": True, "false": False, "null": None}
    return lambda scope: fixed.get(name.casefold(), scope.variables.get(name.casefold()))


def _string(text: str) -> Node:
    if text[0] != '"':
        return lambda _: QUOTES.sub(r"\1", text[1:-1])
    return lambda scope: re.sub(
        r"\$(\w+)", lambda found: _text(scope.variables.get(found[1].casefold())), re.sub("`(.)", r"\1", text[1:-1])
    )


def _regex_replace(scope: Scope, text: Any, pattern: Any, with_: Any) -> str:
    def replacement(found: re.Match[str]) -> str:
        if not callable(with_):
            return found.expand(_text(with_))
        return _text(_unwrap(with_(scope.with_(args=[{"Value": found[0]}]))))

    return re.sub(_text(pattern), replacement, _text(text))


def _select(scope: Scope, named: dict[str, Any], objects: list[Any]) -> list[Any]:
    wanted = [*named[""], *stream(named.get("property"))]
    if (expanded := named.get("expandproperty")) is not None:
        return [one for each in objects for one in stream(_member(each, _text(expanded)))]
    chosen = objects[: int(named["first"])] if "first" in named else objects
    return [_picked(scope, one, wanted) for one in chosen] if wanted else chosen


def _picked(scope: Scope, one: Any, wanted: list[Any]) -> dict[str, Any]:
    """Return the wanted properties, in the order that was asked for; a hashtable in it computes one."""
    picked: dict[str, Any] = {}
    for want in wanted:
        if isinstance(want, Mapping):
            name = _text(_member(want, "Name") or _member(want, "N") or _member(want, "Label"))
            act = _member(want, "Expression") or _member(want, "E")
            picked[name] = _unwrap(act(scope.with_(_=one))) if callable(act) else _member(one, _text(act))
        elif want == "*":
            picked.update(one)
        else:
            picked[_text(want)] = _member(one, _text(want))
    return picked
