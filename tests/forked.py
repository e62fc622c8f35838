"""Run the command line in a process of its own that was forked from one which has imported everything already.

To start an interpreter and import half of Passgate costs more than most commands do. The process that is forked from
runs no thread and holds nothing open, and each command gets its own environment, folder and streams.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
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
    """Run `passgate` with these words and that environment, and return its exit code and what it said.

    One command runs at a time. One whose environment an interpreter must be started with gets an interpreter.
    """
    if any(os.environ.get(name) != value for name, value in environment.items() if name.startswith(OWN_INTERPRETER)):
        return subprocess.run(
            [sys.executable, "-m", LOADED[0], *words],
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
    """Start the process that the commands are forked from; it ends when this one does."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__))],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _serve() -> None:
    from importlib import import_module

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
    """Be the command, in the forked process."""
    import signal

    from passgate.faces.cli.main import main

    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    signal.alarm(asked["within"])
    for stream, name in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), stream)
    code: Any = 1
    try:
        code = main(asked["words"])
    except SystemExit as end:
        code = end.code
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve()
