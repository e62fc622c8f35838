"""Keep the house's walls: who may import whom, and which names content may take."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("passgate", "flows", "tasks")
PLACES = {
    "prefect": ("passgate/engine/",),
    "pyVmomi": ("passgate/connect/vsphere/", "passgate/lab/"),
    "pyVim": ("passgate/connect/vsphere/", "passgate/lab/"),
    "paramiko": ("passgate/connect/esxi_shell/", "passgate/connect/guest/", "passgate/lab/"),
    "slack_sdk": ("passgate/connect/slack/", "passgate/faces/chat/"),
    "sqlalchemy": ("passgate/store/",),
    "flows": (),
    "tasks": ("flows/", "tasks/"),
}
"""Where alone a package is imported, be it at the top of a file or inside a function."""


@cache
def files() -> dict[Path, frozenset[str]]:
    """Return all source files, each with the top-level names of what it imports."""
    found = [file for room in CODE for file in sorted((ROOT / room).rglob("*.py"))]
    return {file: frozenset(imported(ast.parse(file.read_text(encoding="utf-8")))) for file in found}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level names of everything that a file imports, by statement or by name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name.partition(".")[0] for one in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module)), *_]):
                yield module.partition(".")[0]


@pytest.mark.parametrize("package", PLACES)
def test_a_package_is_imported_in_its_own_rooms_only(package: str) -> None:
    """R43: A library that is known to one room, such as Slack's, can be replaced there; content is handed in."""
    strangers = [
        str(file.relative_to(ROOT))
        for file, names in files().items()
        if package in names and not file.relative_to(ROOT).as_posix().startswith(PLACES[package])
    ]
    assert strangers == []


def test_content_hides_no_other_module() -> None:
    """With its folder on the path, a file named like a top-level module would be imported in its place."""
    taken = sys.stdlib_module_names | packages_distributions().keys()
    content = [file for room in ("flows", "tasks") for file in sorted((ROOT / room).glob("[!_]*.py"))]
    assert [str(file.relative_to(ROOT)) for file in content if file.stem in taken] == []


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    """An installation has what it needs without luck, and nothing that is there for no reason."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {_normal(re.split(r"[<>=!~\[; ]", one)[0]) for one in project["dependencies"]}
    names = set().union(*files().values())
    installed = packages_distributions()
    providers = {
        name: {_normal(one) for one in installed.get(name, [name])}
        for name in names - sys.stdlib_module_names - set(CODE)
    }
    assert {name for name, theirs in providers.items() if not theirs & declared} == {"pydantic_core"}  # pydantic's half
    # fastapi is named for its bound only; uvicorn answers websockets with that package in the lab.
    assert declared - set().union(*providers.values()) == {"fastapi", "websockets"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("arguments", [["--help"], ["runbook", "list"], ["request", "usb-attach", "--help"]])
def test_help_is_quick(arguments: list[str], tmp_path: Path) -> None:
    """Looking at commands and runbooks loads neither Prefect nor pyVmomi nor the database."""
    code = (
        "import sys\n"
        "from passgate.faces.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'prefect', 'pyVmomi', 'paramiko', 'slack_sdk', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else code)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={"PASSGATE_HOME": str(tmp_path / "home"), "PASSGATE_CONTENT": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
