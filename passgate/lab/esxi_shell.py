"""Read a command line as ESXi's ash does, as far as operators' one-liners go: lists, pipes, quotes, redirections.

No variables but `$?` and no subshells: a line that needs more gets a syntax error, as ash gives it. Output can go into
files where the caller says how; text is UTF-8 with surrogates for what is not, so that bytes survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<operator>\|\||&&|[;|])
    |(?P<redirection>[12]?>\s*(?:&[12]|(?:'[^']*'|[^\s;|&<>()'"])+))
    |(?P<word>(?:'[^']*'|"(?:\\.|\$\?|[^"\\$`])*"|\\.|\$\?|[^\s;|&'"\\<>()$`])+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_PIECE = re.compile(r"""'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|(\$\?)|([^'"\\$]+)""", re.DOTALL)
_NOT_FOUND, _SYNTAX = 127, 2


@dataclass(frozen=True)
class Output:
    """Hold what a command wrote, and its exit status."""

    out: str = ""
    err: str = ""
    status: int = 0


Tool = Callable[[list[str], str], Output]
"""One command: its arguments and its standard input, to what it says."""


Write = Callable[[str, str], bool]
"""Put text into the file of that path, in place of what is there; False where that is not possible."""


def _nowhere(_path: str, _text: str) -> bool:
    return False


def _no_input() -> str:
    return ""


@dataclass(frozen=True)
class _Files:
    """Hold what a line reads from and writes to beside its pipes."""

    write: Write = _nowhere
    stdin: Callable[[], str] = _no_input


@dataclass(frozen=True)
class _Command:
    words: tuple[str, ...]
    redirections: tuple[str, ...]


def run(
    line: str, tools: Mapping[str, Tool], *, write: Write = _nowhere, stdin: Callable[[], str] = _no_input
) -> Output:
    """Run a command line with these tools and return all that it wrote.

    `write` carries redirections into files out; `stdin` is asked for the standard input by a `cat` without a file.
    """
    files = _Files(write, stdin)
    try:
        steps = _parse(line)
    except ValueError as error:
        return Output("", f"sh: syntax error: {error}\n", _SYNTAX)
    out, err, status = "", "", 0
    for joint, pipeline in steps:
        if (joint == "&&" and status) or (joint == "||" and not status):
            continue
        said = _run_pipeline(pipeline, tools, status, files)
        out, err, status = out + said.out, err + said.err, said.status
    return Output(out, err, status)


def _parse(line: str) -> list[tuple[str, list[_Command]]]:
    """Cut a line into pipelines, each with the operator before it."""
    steps: list[tuple[str, list[_Command]]] = []
    joint, pipeline, words, redirections, at = ";", list[_Command](), list[str](), list[str](), 0
    text = line.strip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if not token:
            raise ValueError(f'unexpected "{text[at:].strip()[:20]}"')
        at = token.end()
        if token["word"] is not None:
            words.append(token["word"])
        elif token["redirection"] is not None:
            redirections.append(re.sub(r">\s+", ">", token["redirection"]))
        else:
            if not words:
                raise ValueError(f'unexpected "{token["operator"]}"')
            pipeline.append(_Command(tuple(words), tuple(redirections)))
            words, redirections = [], []
            if token["operator"] != "|":
                steps.append((joint, pipeline))
                joint, pipeline = token["operator"], []
    if words:
        steps.append((joint, [*pipeline, _Command(tuple(words), tuple(redirections))]))
    elif pipeline or joint in ("&&", "||"):
        raise ValueError("unexpected end of line")
    return steps


def _run_pipeline(pipeline: list[_Command], tools: Mapping[str, Tool], status: int, files: _Files) -> Output:
    said, err = Output(), ""
    for number, command in enumerate(pipeline):
        name, *arguments = [_expand(word, status) for word in command.words]
        if number == 0 and name == "cat" and not arguments:
            said = Output(files.stdin())
        tool = tools.get(name)
        said = tool(arguments, said.out) if tool else Output("", f"sh: {name}: not found\n", _NOT_FOUND)
        said = _redirect(said, command.redirections, files)
        err += said.err
    return Output(said.out, err, said.status)


def _redirect(said: Output, redirections: tuple[str, ...], files: _Files) -> Output:
    for one in redirections:
        source, target = ("2", one[2:]) if one.startswith("2") else ("1", one.lstrip("1")[1:])
        if target == "/dev/null":
            said = Output("" if source == "1" else said.out, "" if source == "2" else said.err, said.status)
        elif target == "&1" and source == "2":
            said = Output(said.out + said.err, "", said.status)
        elif target == "&2" and source == "1":
            said = Output("", said.err + said.out, said.status)
        elif source == "2" or not files.write(_expand(target, 0), said.out):
            return Output("", said.err + f"sh: can't create {target}: Operation not permitted\n", 1)
        else:
            said = Output("", said.err, said.status)
    return said


def _expand(word: str, status: int) -> str:
    """Take the quotes off a word and put the last exit status in place of `$?`."""

    def piece(found: re.Match[str]) -> str:
        single, double, escaped, variable, plain = found.groups()
        if variable:
            return str(status)
        if double is not None:
            return re.sub(r'\\(["\\$`])', r"\1", double.replace("$?", str(status)))
        return next(part for part in (single, escaped, plain) if part is not None)

    return _PIECE.sub(piece, word)
