"""Name who is measured, and let each do the work once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stage import BIN, ROOT, VM, Stage, StageError

PEERS = Path(__file__).parent / "peers"
VENV = ROOT / "build/bench-venv"
PATIENCE = 120.0
Words = Callable[[Stage], list[str]]


@dataclass(frozen=True)
class Contender:
    """Say what to call, from a fresh process, and how this contender is shown. `rounds` bounds one that is slow."""

    name: str
    shown: str
    words: Words
    rounds: int | None = None


@dataclass(frozen=True)
class Turn:
    """Hold what one turn took, and when it began (seconds since the epoch)."""

    began: float
    seconds: float
    requests: int


def take_turn(contender: Contender, stage: Stage) -> Turn:
    """Let a contender do the work on a fresh world. Raises StageError unless the lab then shows that it is done."""
    stage.put_back()
    words, environment = contender.words(stage), stage.environment()
    before, began, clock = stage.requests(), time.time(), time.perf_counter()
    done = subprocess.run(
        words, env=environment, cwd=stage.home, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    seconds = time.perf_counter() - clock
    if done.returncode:
        raise StageError(f"{contender.shown} failed with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    turn = Turn(began, seconds, stage.requests() - before)
    stage.insist_it_is_done()
    return turn


def _bare(stage: Stage) -> list[str]:
    there = stage.environment()
    return [
        sys.executable, str(PEERS / "bare.py"), there["VMWARE_HOST"], there["VMWARE_PORT"], there["VMWARE_USER"], VM,
    ]  # fmt: skip


def _passgate(_: Stage) -> list[str]:
    return [
        str(BIN / "passgate"), "request", "usb-controller-add", "--vm", VM, "--kind", "xhci", "--force-off",
        "--reason", "benchmark", "--wait", "--json",
    ]  # fmt: skip


def _ansible(sleep: int) -> Words:
    interpreter = f"ansible_python_interpreter={VENV / 'bin/python'}"

    def words(_: Stage) -> list[str]:
        values = [part for value in (f"vm={VM}", f"sleep_time={sleep}", interpreter) for part in ("-e", value)]
        return [str(VENV / "bin/ansible-playbook"), "-i", "localhost,", str(PEERS / "ansible.yaml"), *values]

    return words


BARE = Contender("bare", "bare pyvmomi script", _bare)
PASSGATE = Contender("passgate", "Passgate, service up", _passgate)
ANSIBLE_NOSLEEP = Contender("ansible_nosleep", "Ansible, sleep_time 0", _ansible(0))
ANSIBLE = Contender("ansible", "Ansible, default sleep_time 10", _ansible(10), rounds=3)


def ansible_is_installed() -> bool:
    """Install Ansible into an environment of its own, once; False when that can't be done."""
    requirements = PEERS / "requirements.txt"
    wanted = requirements.read_text(encoding="utf-8")
    stamp = VENV / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return True
    make = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    pip = [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    for words in (make, pip):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"Ansible could not be installed: {done.stderr.strip()[-600:]}")
            return False
    stamp.write_text(wanted, encoding="utf-8")
    return True
