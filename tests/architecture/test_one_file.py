"""Add a runbook as one file, and a step as one class: every face has them, and nothing else was touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from passgate.lab.slack.blocks import faults_of_view
from tests import forked
from tests.lab_site import Lab

ROOT = Path(__file__).parents[2]
RUNBOOK = '''
"""Restart a virtual machine.

The VM is shut down, and powered on again.
"""

from __future__ import annotations

from pydantic import Field

from passgate.engine.steps import Ask, Risk, Steps, VmName, runbook
from passgate.model.inventory import Inventory
from tasks import power, vm


class VmRestart(Ask):
    """Ask for one VM."""

    vm: VmName
    pause_minutes: int = Field(default=0, ge=0, le=9, title="Pause", description="Minutes that the VM stays off")


@runbook(risk=Risk.DISRUPTIVE)
def vm_restart(ask: VmRestart, site: Inventory) -> Steps:
    """Restart a virtual machine."""
    machine = site.vm(ask.vm)
    yield vm.IsReachable(machine)
    yield power.Off(machine, power.gentlest(machine))
    yield power.On(machine)
'''
NOTE = '''
"""Write notes on virtual machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from passgate.engine.steps import Check, Confirmation, Effect, NoUndo, Saw, Step, Systems
from passgate.model.inventory import Inventory, Vm, VmId


@dataclass(frozen=True)
class IsShort(Check):
    """Demand a note that fits."""

    code: ClassVar[str] = "NOTE-01"
    rule: ClassVar[str] = "The note is shorter than the name of the VM"
    source: ClassVar[str] = "this test"
    hint: ClassVar[str] = "Say less."

    vm: Vm
    text: str

    def look(self, site: Inventory) -> tuple[bool, str]:
        """Compare both."""
        return len(self.text) < len(self.vm.name), f"{len(self.text)} characters"


@dataclass(frozen=True)
class Write(Step):
    """Write a note on a VM."""

    vm: VmId
    text: str

    @property
    def title(self) -> str:
        """Say what is done."""
        return f"Write a note on {self.vm.name}"

    def effect(self, site: Inventory) -> Effect:
        """Need a note always."""
        return Effect(needed=True, before="no note", after=self.text, then=site, impact=f"{self.vm.name} is noted")

    def apply(self, systems: Systems) -> None:
        """Write it."""

    def confirm(self, systems: Systems) -> Confirmation:
        """Read it."""
        return Confirmation(Saw.YES, self.text)

    def undo(self) -> NoUndo:
        """Leave it."""
        return NoUndo("a note harms nobody")


def written(vm: Vm, text: str) -> Iterator[Step]:
    """Yield what leaves a note."""
    if text:
        yield Write(vm, text)
'''
PLAN = """
import asyncio, json, sys
from pathlib import Path
from passgate.engine.filing import asked, previewed
from passgate.engine.runtime import open_runtime
from passgate.model.change import Actor, Door
from passgate.settings import place

runtime = open_runtime(place.home(), place.content(), place.config_dir())
runbook, ask = asked(runtime, sys.argv[1], json.loads(sys.argv[2]))
plan, terms = asyncio.run(previewed(runtime, runbook, ask, Actor(person="alice", door=Door.CLI)))
again = [runtime.catalogue.step(step.kind, step.fields).title for step in plan.steps]
runtime.estate.close()
runtime.store.close()
print(json.dumps({"plan": plan.model_dump(mode="json"), "policy": terms.policy, "again": again}))
"""
"""Plan as the service does, through the engine that the copy is handed to."""
API = """
import asyncio, json, sys
from datetime import UTC, datetime
import httpx
from passgate.engine.desk import Desk
from passgate.engine.runtime import open_runtime
from passgate.faces.web.app import make_app
from passgate.settings import place

async def ask():
    runtime = open_runtime(place.home(), place.content(), place.config_dir())
    token = runtime.store.issue_token("alice", datetime.now(UTC))
    through = httpx.ASGITransport(app=make_app(Desk(runtime, None), runtime.config.people))
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=through, base_url="http://passgate", headers=headers) as client:
        print((await client.get(f"/v1/runbooks/{sys.argv[1]}")).text)
    runtime.store.close()

asyncio.run(ask())
"""
"""Ask the service's HTTP API for the runbook that the first argument names."""
FORM = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.schema_tools.validation import validate
from passgate.engine.catalogue import load
from passgate.engine.deployed import entry_point
from passgate.engine.flow import form_of
from passgate.settings import place

slug = sys.argv[1]
flow, form = load_flow_from_entrypoint(entry_point(slug)), form_of(load(place.content())[slug])
refused = [bool(validate(one, form)) for one in json.loads(sys.argv[2])]
print(json.dumps({"name": flow.name, "description": flow.description, "form": form, "refused": refused}))
"""
"""Load the flow as Prefect does, and let Prefect judge the asks of the second argument by the form."""
SLACK_FORM = """
import json, sys
from passgate.engine.catalogue import load
from passgate.faces.chat import dialogs, form
from passgate.settings import place

runbook = load(place.content())[sys.argv[1]]
listed = dialogs.pick(tuple(load(place.content()).values()), "C0PASSGATE")
values = {name: {form.INPUT: {"value": value}} for name, value in json.loads(sys.argv[2]).items()}
print(json.dumps({"listed": listed, "form": dialogs.ask(runbook, "C0PASSGATE"), "read": form.read(runbook, values)}))
"""
"""Draw the dialogs that Slack shows for a runbook, and read its form as it was filled in."""


@dataclass(frozen=True)
class Site:
    """A copy of the shipped content in a folder of its own."""

    content: Path

    def write(self, path: str, text: str) -> None:
        """Write one file of the content."""
        (self.content / path).write_text(text.lstrip(), encoding="utf-8")

    def passgate(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line on that content."""
        return self.python("-m", "passgate.faces.cli.main", *words)

    def python(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python with that content."""
        there = {"PASSGATE_HOME": str(self.content / "home"), "PASSGATE_CONTENT": str(self.content), **environment}
        return forked.python(words, {**os.environ, **there}, self.content)

    def json(self, *words: str) -> dict[str, Any]:
        """Run a command and return what it says."""
        told = self.passgate(*words, "--json")
        assert told.returncode == 0, told.stderr
        said: dict[str, Any] = json.loads(told.stdout)
        return said

    def said(self, program: str, *words: str, **environment: str) -> dict[str, Any]:
        """Run a program and return what it says."""
        told = self.python("-c", program, *words, **environment)
        assert told.returncode == 0, told.stderr
        said: dict[str, Any] = json.loads(told.stdout)
        return said

    def page(self, name: str) -> str:
        """Return a page of the reference."""
        return (self.content / "docs/reference" / name).read_text(encoding="utf-8")

    def plan(self, lab: Lab, runbook: str, **ask: Any) -> dict[str, Any]:
        """Plan on the lab."""
        home = {"PASSGATE_HOME": str(lab.home), "PASSGATE_CONFIG": str(lab.config)}
        return self.said(PLAN, runbook, json.dumps(ask), **home)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run one lab for all tests here: they only plan on it."""
    with Lab.start(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a copy of flows/, tasks/ and config/, and of the pages that are made from them."""
    content = tmp_path / "content"
    for room in ("flows", "tasks", "config"):
        shutil.copytree(ROOT / room, content / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", content / "docs", ignore=shutil.ignore_patterns("__pycache__", "images"))
    shutil.copy(ROOT / "prefect.yaml", content)
    return Site(content)


def test_a_runbook_is_one_file(site: Site, lab: Lab) -> None:
    """List, show, options, schema, plan on the lab and Prefect deployment follow from the file alone."""
    site.write("flows/vm_restart.py", RUNBOOK)

    assert "vm-restart" in [one["slug"] for one in site.json("runbook", "list")["runbooks"]]
    shown = site.json("runbook", "show", "vm-restart")
    assert (shown["title"], shown["risk"]) == ("Restart a virtual machine", "disruptive")
    assert shown["ask"]["properties"]["pause_minutes"]["maximum"] == 9
    assert shown["ask"]["required"] == ["vm"]
    for verb in ("request", "plan"):
        told = site.passgate(verb, "vm-restart", "--help").stdout
        assert "--pause-minutes" in told
        assert "Restart a virtual machine" in told
    refused = site.passgate("request", "vm-restart", "--vm", "win-01", "--pause-minutes", "10")
    assert refused.returncode == 2
    assert "--pause-minutes" in refused.stderr

    checked = site.python("-m", "passgate.engine.prefect_yaml", "--check")
    assert (checked.returncode, "(vm-restart)" in checked.stderr) == (1, True), checked.stderr
    assert site.python("-m", "passgate.engine.prefect_yaml").returncode == 0
    assert "vm-restart" in (site.content / "prefect.yaml").read_text(encoding="utf-8")

    made = site.plan(lab, "vm-restart", vm="win-01")
    assert lab.control.mutations() == []
    assert [step["title"] for step in made["plan"]["steps"]] == ["Shut down the guest of win-01", "Power on win-01"]
    assert [check["code"] for check in made["plan"]["checks"] if check["met"]] == ["USB-VM-01"]
    assert made["policy"]


def test_a_step_is_one_class(site: Site, lab: Lab) -> None:
    """A runbook uses it by name, and a stored plan is made into the same step again."""
    site.write("tasks/note.py", NOTE)
    site.write(
        "flows/vm_restart.py",
        RUNBOOK.replace("import power,", "import note, power,")
        + '    yield from note.written(machine, f"restarted: {ask.reason}")\n',
    )
    assert site.python("docs/generate.py").returncode == 0
    page = site.page("runbooks/vm-restart.md")
    assert "3. **Write a note on a VM.** `note.Write` *Only where it is called for.*" in page
    assert "   - Impact: *vm* is noted.\n   - Undo: none: a note harms nobody.\n" in page
    told = site.plan(lab, "vm-restart", vm="lnx-01", reason="a test")
    last = told["plan"]["steps"][-1]
    assert (last["kind"], last["title"], last["after"]) == ("note.Write", "Write a note on lnx-01", "restarted: a test")
    assert last["undo"] == "none: a note harms nobody"
    assert last["fields"]["vm"].keys() == {"ref", "name", "uuid", "host"}
    assert told["again"][-1] == last["title"]


def test_the_pages_are_made_of_a_runbook_and_its_checks(site: Site) -> None:
    """Its command, its options, and which checks it makes come from the file; a page that lags behind is named."""
    site.write("flows/vm_restart.py", RUNBOOK)
    lagging = site.python("docs/generate.py", "--check")
    assert (lagging.returncode, "checks.md" in lagging.stderr, "cli.md" in lagging.stderr) == (1, True, True)

    assert site.python("docs/generate.py").returncode == 0

    assert site.python("docs/generate.py", "--check").returncode == 0
    _, _, command = site.page("cli.md").partition("### passgate request vm-restart\n")
    assert "`--pause-minutes INT`: Minutes that the VM stays off" in command.partition("\n### ")[0]
    assert "[vm-restart](runbooks/vm-restart.md)" in row(site.page("checks.md"), "USB-VM-01")[4]
    assert "[vm-restart](vm-restart.md) | Restart a virtual machine | disruptive" in site.page("runbooks/index.md")

    page = site.page("runbooks/vm-restart.md")
    assert "The VM is shut down, and powered on again." in page
    assert "| `--pause-minutes` | whole number, from 0, up to 9 | `0` | Minutes that the VM stays off |" in page
    assert "[USB-VM-01](../checks.md#usb-vm-01)" in page
    assert [line[:28] for line in page.splitlines() if line[:2] in {"1.", "2.", "3."}] == [
        "1. **Power a VM off: by a sh", "2. **Power a VM on.** `power",
    ]  # fmt: skip
    assert "passgate plan vm-restart --vm VM" in page
    assert "`normal`: 1 approval of operations" in page

    (site.content / "flows/vm_restart.py").unlink()
    assert "runbooks/vm-restart.md" in site.python("docs/generate.py", "--check").stderr
    assert site.python("docs/generate.py").returncode == 0
    assert not (site.content / "docs/reference/runbooks/vm-restart.md").exists()


def test_prefect_has_its_form(site: Site) -> None:
    """Prefect loads the flow by its entry point, and its form refuses what the ask's fields refuse."""
    site.write("flows/vm_restart.py", RUNBOOK)
    asks = [{"vm": "win-01", "pause_minutes": 9}, {"vm": "win-01", "pause_minutes": 10}, {"pause_minutes": 1}]

    said = site.said(FORM, "vm-restart", json.dumps(asks))

    assert said["name"] == "vm-restart"
    assert said["description"].startswith("Restart a virtual machine.")
    pause = said["form"]["properties"]["pause_minutes"]
    assert (pause["title"], pause["description"]) == ("Pause", "Minutes that the VM stays off")
    assert said["refused"] == [False, True, True]


def test_slack_has_its_form(site: Site) -> None:
    """The list of runbooks, an input of the right kind for each field, and what was filled in follow from the file."""
    site.write("flows/vm_restart.py", RUNBOOK)

    said = site.said(SLACK_FORM, "vm-restart", json.dumps({"vm": "win-01", "pause_minutes": "9", "reason": " why "}))

    assert faults_of_view(said["listed"]) == faults_of_view(said["form"]) == []
    assert "vm-restart" in [one["value"] for one in said["listed"]["blocks"][1]["element"]["options"]]
    inputs = {one["block_id"]: one for one in said["form"]["blocks"] if one["type"] == "input"}
    assert list(inputs)[:2] == ["vm", "pause_minutes"]
    pause = inputs["pause_minutes"]
    assert (pause["label"]["text"], pause["hint"]["text"]) == ("Pause", "Minutes that the VM stays off")
    number = {"type": "number_input", "action_id": "value", "is_decimal_allowed": False}
    assert pause["element"] == {**number, "min_value": "0", "max_value": "9", "initial_value": "0"}
    assert (inputs["vm"]["optional"], pause["optional"]) == (False, True)
    assert inputs["urgency"]["element"]["type"] == "static_select"
    read = {"vm": "win-01", "pause_minutes": "9", "reason": "why"}
    assert said["read"] == read


def test_the_api_tells_its_schema(site: Site, lab: Lab) -> None:
    """What the service answers over HTTP is what the command line shows."""
    site.write("flows/vm_restart.py", RUNBOOK)
    told = site.said(API, "vm-restart", PASSGATE_HOME=str(lab.home), PASSGATE_CONFIG=str(lab.config))
    assert told["ask"] == site.json("runbook", "show", "vm-restart")["ask"]
    assert told["ask"]["properties"]["pause_minutes"]["maximum"] == 9


def test_a_check_is_one_class(site: Site, lab: Lab) -> None:
    """A runbook that yields it is judged by it, and its page tells code, rule, source and hint."""
    site.write("tasks/note.py", NOTE)
    site.write(
        "flows/vm_restart.py",
        RUNBOOK.replace("import power,", "import note, power,").replace(
            "    yield power.Off", "    yield note.IsShort(machine, ask.reason)\n    yield power.Off"
        ),
    )
    assert site.python("docs/generate.py").returncode == 0
    page = site.page("checks.md")
    assert row(page, "NOTE-01")[1:] == [
        "The note is shorter than the name of the VM", "stop", "Say less.", "[vm-restart](runbooks/vm-restart.md)",
        "this test",
    ]  # fmt: skip

    told = site.plan(lab, "vm-restart", vm="lnx-01", reason="much longer than its name")
    [judged] = [check for check in told["plan"]["checks"] if check["code"] == "NOTE-01"]
    assert (judged["met"], judged["saw"], judged["severity"]) == (False, "25 characters", "stop")


def row(page: str, code: str) -> list[str]:
    """Return the cells of a check in the table of checks."""
    [line] = [one for one in page.splitlines() if one.startswith(f'| <a id="{code.lower()}"></a>{code} |')]
    return [cell.strip() for cell in line.strip("|").split("|")]


BROKEN = {
    "no runbook in it": "X = 1\n",
    "a runbook of another name": RUNBOOK.replace("def vm_restart", "def vm_reset"),
    "two runbooks under one roof": RUNBOOK.replace("def vm_restart", "def vm_reset") + "vm_restart = vm_reset\n",
    "no Python": "def vm_restart(:\n",
    "an import that fails": "import nothing_of_this_name\n",
    "a class in place of a runbook": "class vm_restart:\n    pass\n",
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_file_that_is_no_runbook_is_an_error_that_names_it(site: Site, why: str) -> None:
    """Whoever wrote the file learns which one it is and what is wrong with it; no traceback."""
    site.write("flows/vm_restart.py", BROKEN[why])
    told = site.passgate("runbook", "list")
    assert told.returncode == 2, told.stderr
    assert "vm_restart.py" in told.stderr
    assert "Traceback" not in told.stderr
