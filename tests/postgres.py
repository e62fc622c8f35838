"""Run a PostgreSQL server of one's own for tests, where Debian's packages have put one."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVERS = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    found = sorted(SERVERS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server in a temporary folder, reached by its socket only; yield the URL of an empty database.

    Without an installed server the test is skipped, or fails where PASSGATE_REQUIRE_PARTS says that all parts are here.
    """
    folder = programs()
    if folder is None:
        why = f"PostgreSQL's server is not installed (no {SERVERS}/*/bin/initdb): apt install postgresql"
        if os.environ.get("PASSGATE_REQUIRE_PARTS") == "1":
            pytest.fail(why)
        pytest.skip(why)
    # Its socket's path may have 107 characters at most, so pytest's own folder is too deep.
    home = Path(tempfile.mkdtemp(prefix="passgate-pg-"))
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
        shutil.chown(home, user)

    def run(program: str, *words: str) -> None:
        done = subprocess.run(
            [str(folder / program), *words],
            user=user if os.geteuid() == 0 else None,
            cwd=home,
            stdout=(home / "run.log").open("w"),
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, (home / "run.log").read_text()

    data = str(home / "data")
    try:
        run("initdb", "--no-sync", "--auth=trust", "--username=passgate", "--encoding=UTF8", "-D", data)
        options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off"
        run("pg_ctl", "-w", "-D", data, "-l", str(home / "server.log"), "-o", options, "start")
        try:
            yield f"postgresql://passgate@/postgres?host={home}"
        finally:
            run("pg_ctl", "-m", "immediate", "-D", data, "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
