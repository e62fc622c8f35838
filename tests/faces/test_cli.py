"""Prove what the command line promises: the way of a change, words for people, JSON for programs, its exit codes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from passgate.engine.runtime import open_store
from passgate.model.change import EXIT_CODES, Actor, Door, State
from tests.faces.served import CONTENT, Served
from tests.lab_site import Lab

USB = ("usb-attach", "--vm", "win-01", "--device", "18a5:0302")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a desk on a lab."""
    with Lab.start(tmp_path_factory.mktemp("cli")) as lab, Served(lab) as served:
        yield served


def test_help_imports_nothing_heavy() -> None:
    """`passgate --help` answers at once: neither Prefect nor vSphere nor the database is imported for it."""
    code = (
        "import sys; from passgate.faces.cli.main import main; main(['--help']);"
        "heavy = {'prefect', 'pyVmomi', 'sqlalchemy', 'httpx', 'pydantic', 'paramiko', 'slack_sdk'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Run change-managed" in done.stdout


def test_the_options_of_a_request_are_the_fields_of_the_runbooks_model(service: Served) -> None:
    """Flags, choices and needed options follow from the model of each runbook."""
    shown = service.run("request", "usb-attach", "--help").out
    for option in ("--vm", "--device", "--vmotion", "--reason", "--ticket", "--wait"):
        assert option in shown
    assert "[required]" in shown
    assert "xhci" in service.run("request", "usb-controller-add", "--help").out


def test_a_new_runbook_needs_no_edit_of_the_command_line(service: Served, tmp_path: Path) -> None:
    """A file in flows/ is all that it takes; its model makes flags, choices, lists and optional options."""
    for folder in ("flows", "tasks", "config"):
        shutil.copytree(CONTENT / folder, tmp_path / folder)
    (tmp_path / "flows" / "say_so.py").write_text(
        '''"""Say so."""
from typing import Literal
from passgate.engine.steps import Ask, Risk, Steps, runbook
from passgate.model.inventory import ControllerKind, Inventory

class SaySo(Ask):
    loud: bool = False
    times: int = 1
    kind: ControllerKind = ControllerKind.XHCI
    tone: Literal["high", "low"] | None = None
    vms: list[str] = []

@runbook(risk=Risk.READ_ONLY)
def say_so(ask: SaySo, site: Inventory) -> Steps:
    """Say so."""
    yield from ()
''',
        encoding="utf-8",
    )
    shown = service.run("request", "say-so", "--help", PASSGATE_CONTENT=str(tmp_path)).out
    for words in ("--loud", "--times", "--kind", "xhci", "ehci", "--tone", "high", "--vms"):
        assert words in shown
    assert "say-so" in service.run("runbook", "list", PASSGATE_CONTENT=str(tmp_path)).out
    wrong = service.run("request", "say-so", "--kind", "uhci", PASSGATE_CONTENT=str(tmp_path))
    assert (wrong.code, "xhci" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("requst",), 'Did you mean "request"'),
        (("request", "usb-atach"), 'Did you mean "usb-attach"'),
        ((*("request", "usb-attach", "--vm", "x"), "--devcie", "1:2"), "Did you mean --device"),
        (("request", *USB, "--vmtion"), "--vmotion"),
        (("request", "usb-attach", "--vm", "x"), "--device"),
        (("request", "usb-attach", "--vm", "win-01", "--device", "18a5:zz"), "--device: '18a5:zz' does not name"),
        (("request", "usb-attach", "--vm", "", "--device", "18a5:0302"), "--vm"),
        (("plan", "usb-attach", "--vm", "win-99", "--device", "18a5:0302"), "win-99"),
        (("plan", "usb-attach", "--vm", "win-01", "--device", "dead:beef"), "dead:beef"),
        (("plan", "usb-attach", "--vm", "lic-01", "--device", "0529:0001"), "path"),
        (("plan", "usb-attach", "--vm", "win-01", "--device", "stick"), "backup-stick"),
        (("deny", "CHG-0001", "--reason", " "), "A denial needs a reason"),
        (("show", "CHG-9999"), "CHG-9999"),
        (("list", "--state", "nope"), "nope"),
        (("runbook", "show", "nope"), "usb-attach"),
        (("token", "issue", "mallory"), "alice"),
        (("token", "revoke", "mallory"), "no personal token"),
        (("evidence", "verify", "nothing.zip"), "nothing.zip"),
        ((b"\xff".decode("utf-8", "surrogateescape"),), "not UTF-8"),
    ],
)
def test_bad_input_is_refused_in_words_with_exit_code_2(service: Served, words: tuple[str, ...], said: str) -> None:
    """Whatever is typed wrongly gets a sentence on standard error that leads on, and files nothing."""
    before = len(service.store.changes())
    ran = service.run(*words)
    assert ran.code == 2, ran.err
    assert ran.err.startswith("Error: ")
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert len(service.store.changes()) == before


def test_with_json_errors_are_data_as_well(service: Served) -> None:
    """A program that reads standard output finds the error there, as one JSON document."""
    for words in (("show", "CHG-9999"), ("requst",)):
        ran = service.run(*words, "--json")
        assert ran.data["error"]["exit_code"] == ran.code == 2


def test_a_plan_shows_steps_impact_checks_and_what_it_needs(service: Served) -> None:
    """Who reads the plan knows what will happen, to what, and who decides; nothing was filed."""
    before = len(service.store.changes())
    ran = service.run("plan", *USB)
    assert ran.code == 0, ran.err
    for words in ("->", "Impact:", "Checks:", "1 approval from operations (bob, carol)", "nothing was filed"):
        assert words in ran.out
    assert service.run("plan", *USB, "--json").data["digest"].startswith("sha256:")
    assert len(service.store.changes()) == before


def test_the_way_of_a_change_by_the_command_line(service: Served) -> None:
    """A change is requested, shown, approved by another person, and each command says so in words and JSON."""
    filed = service.run("request", *USB, "--vmotion", "--reason", "backup", "--ticket", "CHG123", "--json")
    assert filed.code == 0, filed.err
    change = filed.data["id"]
    assert (filed.data["requester"]) == {"person": "alice", "door": "cli"}
    assert filed.data["ask"]["vmotion"] is True
    shown = service.run("show", change)
    for words in (change, "State: waiting", "ticket CHG123", "Reason: backup", "passgate watch"):
        assert words in shown.out
    own = service.run("approve", change)
    assert (own.code, "can't decide on it" in own.err) == (4, True)
    approved = service.run("approve", change, "--reason", "fine", person="bob", PASSGATE_UNUSED="")
    assert (approved.code, "approved" in approved.out) == (0, True)
    assert [one["door"] for one in service.run("show", change, "--json").data["decisions"]] == ["cli"]
    assert change in service.run("list", "--state", "approved").out
    late = service.run("deny", change, "--reason", "too late", person="carol")
    assert late.code == 6
    withdrawn = service.run("withdraw", change, "--reason", "not needed", "--json")
    assert withdrawn.data["state"] == "withdrawn"
    assert f"ask again: passgate again {change}" in service.run("show", change).out
    anew = service.run("again", change, "--json", person="carol").data
    assert (anew["replaces"], anew["requester"]["person"], anew["state"]) == (change, "carol", "waiting")
    refused = service.run("again", change)
    assert refused.code != 0
    assert f"{anew['id']} asks for what {change} asked for already" in refused.err


@pytest.mark.parametrize(
    ("end", "way"),
    [
        (State.DONE, (State.APPROVED, State.APPLYING, State.DONE)),
        (State.DENIED, (State.DENIED,)),
        (State.EXPIRED, (State.EXPIRED,)),
        (State.WITHDRAWN, (State.WITHDRAWN,)),
        (State.VOID, (State.APPROVED, State.VOID)),
        (State.UNDONE, (State.APPROVED, State.APPLYING, State.UNDONE)),
        (State.STOPPED, (State.APPROVED, State.APPLYING, State.STOPPED)),
    ],
)
def test_watching_ends_with_the_exit_code_of_the_end(service: Served, end: State, way: tuple[State, ...]) -> None:
    """Whoever waits sees each state as it comes, and a script tells the ends apart."""
    change = service.filed().id
    moving = threading.Timer(0.5, service.carry, (change, *way))
    moving.start()
    ran = service.run("watch", change)
    moving.join()
    assert ran.code == EXIT_CODES[end]
    for state in way:
        assert f"{state.value}: the test says" in ran.out
    assert f"{change} is {end.value}." in ran.out
    told = service.run("watch", change, "--json")
    assert told.code == EXIT_CODES[end]
    assert told.documents[-1]["change"]["state"] == end.value


def test_a_watch_outlives_a_restart_of_the_service(service: Served) -> None:
    """Whoever watches is told that the service is gone, and sees the rest once it is back, at another address even."""
    change = service.filed().id
    words = [sys.executable, "-m", "passgate.faces.cli.main", "watch", change]
    address = service.home / "service.url"
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env=service.environment(), cwd=CONTENT
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        seen = [watching.stdout.readline() for _ in range(3)]
        address.write_text("http://127.0.0.1:1", encoding="utf-8")
        service.carry(change, State.APPROVED)
        while "does not answer" not in seen[-1]:
            seen.append(watching.stdout.readline())
        address.write_text(service.url, encoding="utf-8")
        service.carry(change, State.WITHDRAWN)
        seen += watching.stdout.readlines()
        code = watching.wait(60)
    assert code == EXIT_CODES[State.WITHDRAWN]
    assert any("does not answer" in line for line in seen)
    assert sum("approved: the test says" in line for line in seen) == 1
    assert any("withdrawn: the test says" in line for line in seen)


def test_request_and_wait_is_one_document_for_programs(service: Served) -> None:
    """`request --wait --json` prints one JSON document, the change as it ended."""
    known = {one.id for one in service.store.changes()}

    def deny_when_filed() -> None:
        for _ in range(600):
            new = [one for one in service.store.changes((State.WAITING,)) if one.id not in known]
            if new:
                return service.carry(new[0].id, State.DENIED)
            threading.Event().wait(0.05)
        return None

    denying = threading.Thread(target=deny_when_filed)
    denying.start()
    ran = service.run("request", *USB, "--wait", "--json")
    denying.join()
    assert (ran.code, ran.data["change"]["state"]) == (10, "denied")


def test_a_check_that_is_not_met_has_its_own_exit_code(service: Served) -> None:
    """A change that the procedure forbids is not filed, and every failed check is named."""
    ran = service.run("request", "usb-attach", "--vm", "old-01", "--device", "18a5:0302")
    assert ran.code == 3, ran.out + ran.err
    planned = service.run("plan", "usb-attach", "--vm", "old-01", "--device", "18a5:0302")
    assert (planned.code, "NOT MET" in planned.out) == (3, True)


def test_hostile_text_cannot_steer_the_terminal(service: Served) -> None:
    """Newlines and reversed text in a VM's name, escape sequences in a reason: all are shown as what they are."""
    name = "evil\n\u202eDONE 'x' <@U0BOB> 🔌 データ"
    usb = ("usb-attach", "--vm", name, "--device", "0529:0001,path:0/1/4")
    service.lab.control.rename_vm("win-02", name)
    try:
        filed = service.run("request", *usb, "--reason", "\x1b[2J\x9b31m\rgone")
        assert filed.code == 0, filed.err
        shown = service.run("show", filed.out.split()[0], person="bob")
        for text in (filed.out, shown.out):
            assert "evil\\n\\u202eDONE" in text
            assert "\\x1b[2J\\x9b31m\\rgone" in text
            assert "🔌 データ" in text
            assert not {"\x1b", "\x9b", "\r", "\u202e"} & set(text)
        assert "\\U0001f50c" in service.run("plan", *usb, PYTHONIOENCODING="ascii").out
        unknown = service.run("plan", "usb-attach", "--vm", f"{name}\x1b[2J", "--device", "18a5:0302")
        assert (unknown.code, "\x1b" in unknown.err, "\u202e" in unknown.err) == (2, False, False)
    finally:
        service.lab.control.reset()


def test_usb_list_shows_devices_and_who_uses_them(service: Served) -> None:
    """The operator sees ids, path, serial and use of each device, host by host."""
    shown = service.run("usb", "list").out
    for words in ("esx-01.lab.example", "18a5:0302", "serial:07A40901A2B3C4D5", "used by lic-01", "arbitrator stopped"):
        assert words in shown
    assert len(service.run("usb", "list", "--host", "esx-02.lab.example", "--json").data["hosts"]) == 1


def test_a_service_that_is_not_there_is_told_with_what_to_do(service: Served, tmp_path: Path) -> None:
    """Nobody has to guess why nothing answers."""
    missing = service.run("list", PASSGATE_HOME=str(tmp_path))
    assert missing.code == 5
    assert "passgate up" in missing.err
    (tmp_path / "service.url").write_text("http://127.0.0.1:1", encoding="utf-8")
    gone = service.run("list", PASSGATE_HOME=str(tmp_path))
    assert gone.code == 5
    assert "Passgate's service does not answer at http://127.0.0.1:1." in gone.err
    assert "Start it with `passgate up`." in gone.err
    (tmp_path / "service.url").write_text("what is this", encoding="utf-8")
    assert service.run("list", PASSGATE_HOME=str(tmp_path)).code == 5


def test_a_token_comes_from_the_environment_or_the_home(service: Served, tmp_path: Path) -> None:
    """Without a token nothing works and the words say how to get one; a saved token is for its owner's eyes only."""
    nobody = service.run("list", person=None)
    assert (nobody.code, "token issue" in nobody.err) == (4, True)
    damaged = service.run("list", person=None, PASSGATE_TOKEN="a\nb")
    assert (damaged.code, "damaged" in damaged.err) == (4, True)
    issued = service.run("token", "issue", "carol", "--json", person=None).data
    assert service.run("list", person=None, PASSGATE_TOKEN=issued["token"]).code == 0
    saved = service.run("token", "issue", "dave", "--save", person=None)
    try:
        assert saved.code == 0
        assert stat.S_IMODE((service.home / "token").stat().st_mode) == 0o600
        assert service.run("list", person=None).code == 0
    finally:
        (service.home / "token").unlink()


def test_revoked_tokens_open_nothing_any_more(service: Served) -> None:
    """All tokens of one person are worthless from then on, while the service runs; those of others stay."""
    tokens = [service.run("token", "issue", "dave", "--json", person=None).data["token"] for _ in range(2)]
    other = service.run("token", "issue", "carol", "--json", person=None).data["token"]
    codes = [service.run("list", person=None, PASSGATE_TOKEN=token).code for token in (*tokens, other)]
    assert codes == [0, 0, 0]
    revoked = service.run("token", "revoke", "dave", "--json", person=None)
    assert revoked.code == 0
    assert revoked.data["person"] == "dave"
    assert revoked.data["revoked"] >= len(tokens)
    codes = [service.run("list", person=None, PASSGATE_TOKEN=token).code for token in (*tokens, other)]
    assert codes == [4, 4, 0]


def test_the_ledger_is_verified_and_the_first_bad_entry_is_named(service: Served, tmp_path: Path) -> None:
    """`ledger verify` says that the record is whole, or names the first entry that was altered, with exit code 7."""
    store = open_store(tmp_path, service.runtime.config)
    alice = Actor(person="alice", door=Door.CLI)
    for reason in ("one", "two", "three"):
        store.file_change("usb-attach", {"vm": "win-01"}, alice, reason, None, datetime.now(UTC))
    store.close()
    good = service.run("ledger", "verify", "--json", PASSGATE_HOME=str(tmp_path))
    assert (good.code, good.data["whole"], good.data["size"]) == (0, True, 3)
    database = sqlite3.connect(tmp_path / "passgate.db")
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {trigger}")
    database.execute("UPDATE ledger SET body = CAST(replace(body, 'two', 'six') AS BLOB) WHERE seq = 2")
    database.commit()
    database.close()
    bad = service.run("ledger", "verify", PASSGATE_HOME=str(tmp_path))
    assert (bad.code, "First at event 2" in bad.out) == (7, True)


def test_looking_for_a_record_makes_none(service: Served, tmp_path: Path) -> None:
    """In a home without a ledger nothing is made up: no key, no database, and words that lead to the right home."""
    evidence = tmp_path / "some.zip"
    evidence.write_bytes(b"not a bundle")
    place = tmp_path / "home"
    codes = [
        service.run(*words, PASSGATE_HOME=str(place)).code
        for words in (("ledger", "verify"), ("ledger", "key"), ("evidence", "verify", str(evidence)))
    ]
    assert codes == [7, 2, 2]
    assert not place.exists()
    key = service.run("ledger", "key").out.strip()
    broken = service.run("evidence", "verify", str(evidence), "--key", key, "--json", PASSGATE_HOME=str(place))
    assert (broken.code, broken.data["whole"]) == (7, False)


def test_doctor_looks_at_everything_and_one_failure_hides_nothing(service: Served) -> None:
    """Each check has its line; Prefect, which does not run here, fails alone and says what to do."""
    ran = service.run("doctor")
    lines = {line[6:17].strip(): line for line in ran.out.splitlines()[:-1]}
    assert [name for name, line in lines.items() if line.startswith("FAIL")] == ["Prefect"]
    assert "passgate up" in lines["Prefect"]
    assert "18a5" not in ran.out
    assert ran.code == 5
    told = service.run("doctor", "--json").data
    assert {one["check"] for one in told["checks"]} >= {"config", "vCenter", "clock", "shells", "Slack", "service"}


def test_doctor_goes_on_where_config_is_wrong(service: Served, tmp_path: Path) -> None:
    """With a broken config each check that needs it says so, and the others are looked at all the same."""
    config = tmp_path / "config"
    shutil.copytree(CONTENT / "config", config)
    (config / "site.yaml").write_text("vcenter: {}\n", encoding="utf-8")
    ran = service.run("doctor", PASSGATE_CONFIG=str(config))
    assert ran.code == 2
    assert len(ran.out.splitlines()) >= 12
    assert "ok    service" in ran.out
    assert "Traceback" not in ran.out + ran.err


def test_a_reader_that_leaves_causes_no_traceback(service: Served) -> None:
    """`passgate list | head -1` ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        words = [sys.executable, "-m", "passgate.faces.cli.main", "runbook", "list"]
        done = subprocess.run(
            words, stdout=out, stderr=subprocess.PIPE, env=service.environment(), cwd=CONTENT, timeout=60, check=False
        )
    assert done.stderr == b""
