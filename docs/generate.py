# ruff: noqa: INP001 - a program of its own, no package
"""Write the reference pages that code already knows: `python docs/generate.py [--check]`."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App

from passgate import errors
from passgate.engine.catalogue import load
from passgate.engine.steps import Check, Runbook
from passgate.errors import PassgateError
from passgate.faces.cli.main import build
from passgate.faces.cli.words import AFTERWARDS
from passgate.model.change import EXIT_CODES, TRANSITIONS, State
from passgate.model.plan import Severity
from passgate.settings.load import FILES
from passgate.settings.place import content
from passgate.settings.shape import Policy, Settings

REFERENCE = Path(__file__).parent / "reference"
MARK = "<!-- Written by docs/generate.py; `make check` compares. -->\n"
PLACES = """\
Passgate reads `config/` once, when it starts: `passgate down && passgate up` after an edit. A field that it does not
know is an error, and every error names file, line and field. `passgate doctor` tries what the files name.

Each file has a JSON schema in `config/schema/`, which editors use through the first line of the file.

**A reference** stands in place of a value: `{env: NAME}` for an environment variable of the service, `{file: path}` for
a file, looked up in Passgate's home when the path is relative. Secrets must be references.

**A duration** is written as `30s`, `90m`, `8h`, `1h30m` or `2d`.

**Environment variables**

- `PASSGATE_HOME`: where this machine keeps the database, the ledger's key, evidence, logs and process files. Left out:
  the nearest folder `.passgate` upwards, else `~/.passgate`.
- `PASSGATE_CONTENT`: the folder with `flows/`, `tasks/` and `config/`. Left out: the nearest such folder upwards, else
  the shipped one.
- `PASSGATE_CONFIG`: the config folder, where it is not `config/` in the content.
- `PASSGATE_TOKEN`: your personal token. Left out: the file `token` in the home.
- `PASSGATE_DEBUG`: set, an unforeseen failure of the command line shows its traceback.
"""
PAGES_OF = {"policy": "policies/*.yaml"}


def command_line() -> str:
    """Return the page of all commands, from their own help."""
    app: App = build(["request"])
    text = app.generate_docs(output_format="markdown")
    commands = text[text.index("\n## passgate ") :]
    help_text = " ".join(str(app.help).split())
    return (
        f"# Commands\n\n{MARK}\n{help_text}\n\n{app.help_epilogue}\n\n`passgate plan RUNBOOK` takes the options of "
        f"`passgate request RUNBOOK`, without `--wait`.\n{commands.rstrip()}\n"
    )


def config() -> str:
    """Return the page of all settings, from their types and descriptions."""
    shapes: dict[str, type[Settings]] = {**FILES, "policy": Policy}
    pages = [f"## {PAGES_OF.get(name, f'{name}.yaml')}\n\n{_page(shape)}" for name, shape in shapes.items()]
    return "\n".join([f"# Config\n\n{MARK}\n{PLACES}", *pages])


def exit_codes() -> str:
    """Return the page of exit codes, from the tree of errors and the ends of changes."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PassgateError)]
    lines = ["# Exit codes", "", MARK]
    lines += ["A command that did what was asked ends with 0. Interrupted from the keyboard: 130.", ""]
    lines += ["## Errors", "", "With `--json` an error also carries its code; message and hint say what to do.", ""]
    for number in sorted({one.exit_code for one in kinds}):
        lines += [f"**{number}**", ""]
        lines += [f"- `{one.code}` {one.__name__}. {_first_line(one)}" for one in kinds if one.exit_code == number]
        lines.append("")
    lines += ["## Ends of a change", "", "Of `passgate watch` and `passgate request --wait`.", ""]
    lines += [f"- **{code}** {state}. {AFTERWARDS[state]}" for state, code in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"


def states() -> str:
    """Return the page of the states of a change, from the table that the store enforces."""
    lines = ["# States of a change", "", MARK]
    lines += ["The words are the same on the command line, in chat, in the database and in the ledger.", ""]
    for state in State:
        follows = [one.value for one in State if one in TRANSITIONS[state]]
        then = f" May become {', '.join(follows)}." if follows else f" An end; exit code {EXIT_CODES[state]}."
        lines.append(f"- **{state}**. {EARLY.get(state) or AFTERWARDS[state]}{then}")
    return "\n".join([*lines, "", STEPS])


def checks() -> str:
    """Return the page of all checks that the runbooks make, from the checks themselves."""
    runs: dict[type[Check], list[str]] = {}
    for slug, runbook in load(content()).items():
        for check in checks_of(runbook):
            runs.setdefault(check, []).append(slug)
    lines = ["# Checks", "", MARK, CHECKS]
    for check in sorted(runs, key=lambda one: one.code):
        lines += [f"## {check.code}", "", f"{check.rule}.", "", f"- Not met: {UNMET[check.severity]}"]
        lines += [
            f"- What to do: {check.hint}",
            f"- Runbooks: {', '.join(runs[check])}",
            f"- Source: {check.source}",
            "",
        ]
    return "\n".join(lines)


def checks_of(runbook: Runbook[Any]) -> set[type[Check]]:
    """Return the checks that a runbook names, those too that only some asks lead to."""
    module = inspect.getmodule(runbook.procedure)
    names = [
        node for node in ast.walk(ast.parse(inspect.getsource(runbook.procedure))) if isinstance(node, ast.Attribute)
    ]
    found = [getattr(getattr(module, ast.unparse(one.value), None), one.attr, None) for one in names]
    return {one for one in found if isinstance(one, type) and issubclass(one, Check)}


CHECKS = """\
Every requirement and limit of a procedure is a check. All of them are looked at on paper before a change is filed, and
again right before it begins; `passgate plan` shows what each saw. A code means the same rule for ever.
"""
UNMET = {
    Severity.STOP: "the change is refused. No decision overrides that.",
    Severity.WARNING: "those who decide are shown it with the plan, and their decision covers it.",
}
EARLY = {State.REQUESTED: "It is filed, and being planned.", State.PLANNED: "It has a plan, and policy looks at it."}
STEPS = """\
## States of a step

- **pending**: not begun.
- **intent**: recorded as about to be done. After a crash such a step is looked at first, and repeated only if its
  effect is not there.
- **done**: its effect was seen by a fresh reading.
- **not needed**: the world was that way already.
- **failed**: tried as often as it may be.
- **unknown**: it could not be taken back, or nobody knows whether it was. A person must look.
- **undone**: taken back.
"""


def _page(shape: type[Settings]) -> str:
    schema = shape.model_json_schema()
    return f"{_first_line(shape)}\n\n" + "\n".join(_fields(schema, schema, 0)) + "\n"


def _fields(part: dict[str, Any], whole: dict[str, Any], depth: int) -> Iterator[str]:
    """Yield a line for each field, and below it the fields of what it holds."""
    for name, field in part.get("properties", {}).items():
        inner = _inner(field, whole)
        needed = ["needed"] if name in part.get("required", ()) else []
        said = ", ".join([_kind(field, whole), *needed, *_default(field)])
        described = f": {field['description']}" if "description" in field else ""
        yield f"{'  ' * depth}- `{name}` ({said}){described}"
        if inner is not None:
            yield from _fields(inner, whole, depth + 1)


def _inner(field: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part that a field holds, be it one, a list or a mapping of names."""
    named = [*field.get("patternProperties", {}).values(), field.get("items", {}), field, *field.get("anyOf", ())]
    for one in named:
        name = one.get("$ref", "").rpartition("/")[2]
        if name and not name.startswith("From"):
            found: dict[str, Any] = whole["$defs"][name]
            return found
    return None


def _kind(field: dict[str, Any], whole: dict[str, Any]) -> str:  # noqa: PLR0911 - one line for each kind
    """Say in a word or two what a field takes."""
    match field:
        case {"anyOf": choices} | {"oneOf": choices}:
            return " or ".join(dict.fromkeys(one for each in choices if (one := _kind(each, whole)) != "nothing"))
        case {"$ref": name}:
            return "reference" if "/From" in name else "fields below"
        case {"enum": words}:
            return " or ".join(f"`{word}`" for word in words)
        case {"pattern": _, "examples": _}:
            return "duration"
        case {"items": items}:
            return f"list of {PLURALS.get(kind := _kind(items, whole), kind)}"
        case {"patternProperties": _}:
            return "a name for each, and below it these fields"
        case _:
            return KINDS[field["type"]]


def _default(field: dict[str, Any]) -> list[str]:
    value = field.get("default")
    if value in (None, "", [], {}):
        return []
    if _is_duration(field):
        value = str(value).removeprefix("PT").lower()
    return [f"default `{value if isinstance(value, str) else json.dumps(value)}`"]


def _is_duration(field: dict[str, Any]) -> bool:
    return any("pattern" in one and "examples" in one for one in (field, *field.get("anyOf", ())))


KINDS = {
    "string": "text", "boolean": "true or false", "integer": "whole number", "number": "number", "null": "nothing",
}  # fmt: skip
PLURALS = {"text": "texts", "number": "numbers", "fields below": "these fields"}


def _first_line(kind: type) -> str:
    return re.sub(r"\s+", " ", (kind.__doc__ or "").strip().split("\n\n")[0])


PAGES = {
    "checks.md": checks, "cli.md": command_line, "config.md": config, "exit-codes.md": exit_codes, "states.md": states,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which differ."""
    wanted = {REFERENCE / name: write() for name, write in PAGES.items()}
    if "--check" not in arguments:
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    differ = [path.name for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    if differ:
        sys.stderr.write(f"docs/reference: {', '.join(differ)} differ. Run: python docs/generate.py\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
