"""Run programs in processes of their own that were forked from one which has imported most of Passgate already.

To start an interpreter and import half of Passgate costs more than most commands do. The process that is forked from
runs no thread and holds nothing open, and each program gets its own environment, folder and streams.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

ROOT = Path(__file__).parents[1]
OWN_INTERPRETER = ("PYTHON", "LANG", "LC_")
"""How names in the environment begin that an interpreter reads once, at its start."""
LOADED = (
    "passgate.faces.cli.main", "passgate.faces.cli.asks", "passgate.faces.cli.changes", "passgate.faces.cli.doctor",
    "passgate.faces.cli.policy", "passgate.faces.cli.calendar", "passgate.faces.cli.processes",
    "passgate.faces.cli.records", "passgate.faces.cli.reviews", "passgate.faces.cli.schedules",
    "passgate.faces.cli.census", "passgate.faces.cli.words", "passgate.engine.runtime", "passgate.connect.slack",
    "httpx", "rich.console", "rich.table",
)  # fmt: skip
_lock = Lock()


def run(
    words: Sequence[str], environment: Mapping[str, str], cwd: Path = ROOT, within: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `passgate` with these words and that environment, and return its exit code and what it said."""
    return python(("-m", LOADED[0], *words), environment, cwd, within)


def python(
    words: Sequence[str], environment: Mapping[str, str], cwd: Path = ROOT, within: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run Python with these words: `-m` and a module, `-c` and a program, or a file; then its arguments.

    One program runs at a time. One whose environment an interpreter must be started with gets an interpreter.
    """
    if any(os.environ.get(name) != value for name, value in environment.items() if name.startswith(OWN_INTERPRETER)):
        return subprocess.run(
            [sys.executable, *words],
            env=dict(environment), cwd=cwd, capture_output=True, text=True, timeout=within, check=False,
        )  # fmt: skip
    with _lock, tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        asked = {"words": [*words], "environment": dict(environment), "cwd": str(cwd), "within": int(within)}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps({**asked, "out": str(out), "err": str(err)}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(list(words), code, out.read_text("utf-8"), err.read_text("utf-8"))


@cache
def _server() -> subprocess.Popen[str]:
    """Start the process that all others are forked from; it ends when this one does."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__))],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _serve() -> None:
    # That a module is imported before it is run is what this is about.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    for name in LOADED:
        import_module(name)
    said = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be(asked)
        _, status = os.waitpid(pid, 0)
        said.write(f"{os.waitstatus_to_exitcode(status)}\n")
        said.flush()


def _be(asked: dict[str, Any]) -> None:
    """Be the program, in the forked process."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    signal.alarm(asked["within"])
    for stream, name in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), stream)
    code: Any = 0
    try:
        _do(*asked["words"])
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)  # noqa: T201 - as an interpreter does
            code = 1
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _do(first: str, *others: str) -> None:
    """Do what an interpreter does with these words."""
    match first:
        case "-m":
            sys.argv, sys.path[0] = list(others), str(Path.cwd())
            runpy.run_module(others[0], run_name="__main__", alter_sys=True)
        case "-c":
            sys.argv, sys.path[0] = ["-c", *others[1:]], str(Path.cwd())
            exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - that is what -c is
        case file:
            sys.argv, sys.path[0] = [file, *others], str(Path(file).resolve().parent)
            runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    _serve()
