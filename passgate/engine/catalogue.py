"""Find the runbooks and steps of a site's content; nothing registers itself, each file is asked."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from passgate.engine.steps import Runbook, Step
from passgate.errors import ConfigError, UnknownNameError


class Catalogue:
    """Hold the runbooks of one content folder by slug, and find step classes by kind."""

    def __init__(self, content: Path) -> None:
        self.content = content
        _import("flows", content)
        self.runbooks = _runbooks(content)

    def runbook(self, slug: str) -> Runbook[Any]:
        """Return the runbook of that slug. Raises UnknownNameError that lists what there is."""
        if slug not in self.runbooks:
            raise UnknownNameError(
                f"There is no runbook {slug!r}.", hint=f"Runbooks: {', '.join(self.runbooks) or 'none'}.", subject=slug
            )
        return self.runbooks[slug]

    def gates(self) -> frozenset[str]:
        """Return the names of the second gates that steps in tasks/ have."""
        files = sorted((self.content / "tasks").glob("*.py"))
        modules = (_import(f"tasks.{file.stem}", self.content) for file in files if not file.stem.startswith("_"))
        kinds = (found for module in modules for found in vars(module).values() if isinstance(found, type))
        return frozenset(kind.gate for kind in kinds if issubclass(kind, Step) and kind.gate)

    def step(self, kind: str, fields: dict[str, Any]) -> Step:
        """Make a step of its kind (`power.Off`) and its fields. Raises ConfigError when the content has it no more."""
        module, _, name = kind.partition(".")
        try:
            found = getattr(_import(f"tasks.{module}", self.content), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"The step {kind} is not in tasks/ any more.",
                hint="The content changed while this change waited: restore the file, or withdraw and request anew.",
                subject=kind,
            ) from error
        step: Step = found.from_fields(fields)
        return step


def load(content: Path) -> dict[str, Runbook[Any]]:
    """Return the content's runbooks by slug."""
    return Catalogue(content).runbooks


def _runbooks(content: Path) -> dict[str, Runbook[Any]]:
    found: dict[str, Runbook[Any]] = {}
    for file in sorted((content / "flows").glob("*.py")):
        if file.stem.startswith("_"):
            continue
        slug = file.stem.replace("_", "-")
        mine = getattr(_flow_file(file, content), file.stem, None)
        if not isinstance(mine, Runbook) or mine.slug != slug:
            raise ConfigError(
                f"flows/{file.name} holds no runbook called {file.stem}.",
                hint=f"Write a generator `def {file.stem}(ask, site)` under @runbook; a file holds one runbook.",
                subject=file.name,
            )
        found[slug] = mine
    return found


def _flow_file(file: Path, content: Path) -> ModuleType:
    """Import a file of flows/; whatever is wrong in it is told with its name."""
    try:
        return _import(f"flows.{file.stem}", content)
    except ConfigError:
        raise
    except Exception as error:
        lines = [one.lineno for one in extract_tb(error.__traceback__) if Path(one.filename).name == file.name]
        where = f", line {lines[-1]}" if lines else ""
        raise ConfigError(
            f"flows/{file.name}{where} can't be loaded: {type(error).__name__}: {error}.",
            hint="Mend the file, or take it out of flows/.",
            subject=file.name,
        ) from error


def _import(name: str, content: Path) -> ModuleType:
    """Import a module of the content, and make sure that it is not another distribution of that name."""
    root = str(content.resolve())
    if root not in sys.path:
        sys.path.insert(0, root)
    module = importlib.import_module(name)
    if module.__file__ is None or not Path(module.__file__).resolve().is_relative_to(root):
        raise ConfigError(
            f"`{name}` comes from {module.__file__}, not from {content}.",
            hint="A package on PyPI has the same name; uninstall it, or start Passgate with PASSGATE_CONTENT set.",
            subject=name,
        )
    return module
