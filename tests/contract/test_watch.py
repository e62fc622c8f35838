"""Let the step that watches meet what a real night brings: vCenter away, a killed process, notes that are lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from passgate.engine.estate import Estate
from passgate.engine.notes import Notebook
from passgate.engine.steps import Confirmation, Saw, Systems
from passgate.errors import RecordError, WorldError
from passgate.settings.load import load_config
from tasks.watch import Usb
from tests.lab_site import Lab

ESX_02 = "esx-02.lab.example"


@dataclass
class Night:
    """One watch of a lab, by as many processes as it takes; each `process` knows only what the notes say."""

    lab: Lab
    estate: Estate
    notes: Path
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def process(self, *, dies_telling: bool = False) -> Systems:
        """Return the systems of a process; one that dies telling has told, and comes no further."""

        def tell(words: str, facts: Mapping[str, Any]) -> None:
            self.told.append((words, facts))
            if dies_telling:
                raise KeyboardInterrupt

        systems = self.estate.acting_under(lambda *_: None)
        return replace(systems, tell=tell, notes=Notebook(self.notes, self.was_told))

    def was_told(self, number: int) -> bool:
        """Say what the ledger would say."""
        return any(facts.get("message") == str(number) for _, facts in self.told)

    @property
    def kinds(self) -> list[str]:
        """Return what was told, without how things stood at the start."""
        return [facts["what"] for _, facts in self.told if "what" in facts]


@pytest.fixture(scope="module")
def whole_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Estate]]:
    """Run one lab for all tests."""
    with Lab.start(tmp_path_factory.mktemp("watch")) as lab:
        estate = Estate(load_config(lab.config), lab.home)
        yield lab, estate
        estate.close()


@pytest.fixture
def night(whole_lab: tuple[Lab, Estate], tmp_path: Path) -> Night:
    """Return a night of the lab as it was at its start, with nobody watching yet."""
    whole_lab[0].control.reset()
    return Night(*whole_lab, tmp_path / "notes" / "1.json")


def until(step: Usb, systems: Systems, holds: Callable[[Confirmation], bool]) -> Confirmation:
    """Look again and again until it holds."""
    deadline = time.monotonic() + 30
    while True:
        seen = step.confirm(systems)
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, seen.words
        time.sleep(0.1)


def test_a_vcenter_that_goes_and_comes_is_told_once_each_and_what_changed_meanwhile(night: Night) -> None:
    """Looks that see nothing are no news but the first, and what was known stays what is compared with."""
    step, systems = Usb((ESX_02,), "1h", shells=False), night.process()
    step.confirm(systems)
    night.lab.control.fault("RetrievePropertiesEx", "Disconnect", times=2)
    night.lab.control.unplug(ESX_02, "0/1/4")

    until(step, systems, lambda _: "pulled out" in night.kinds)

    assert night.kinds == ["vCenter lost", "vCenter back", "pulled out"]


def test_a_watch_that_never_saw_anything_says_so(night: Night) -> None:
    """What was never read was not watched: the step fails with the reason."""
    night.lab.control.fault("RetrievePropertiesEx", "Disconnect", times=99)

    with pytest.raises(WorldError, match=r"Nothing could be watched: .*Could not read all hosts and VMs"):
        until(Usb((), "1s", shells=False), night.process(), lambda seen: seen.saw is Saw.YES)


def test_a_process_that_dies_while_it_tells_leaves_the_rest_to_the_next_and_nothing_is_told_twice(night: Night) -> None:
    """Killed right after the first of two messages was recorded: the next process tells the second one only."""
    step = Usb((ESX_02,), "1h", shells=False)
    step.confirm(night.process())
    night.lab.control.unplug(ESX_02, "0/1/2")
    with pytest.raises(KeyboardInterrupt):
        until(step, night.process(dies_telling=True), lambda _: False)
    assert night.kinds == ["pulled out"]

    step.confirm(night.process())

    assert night.kinds == ["pulled out", "fell off its VM"]


def test_a_watch_ends_at_the_moment_that_was_set_at_its_start(night: Night) -> None:
    """The deadline is absolute: a process that comes too late looks once more and ends."""
    step = Usb((ESX_02,), "1s", shells=False)
    assert step.confirm(night.process()).saw is Saw.NO
    night.lab.control.unplug(ESX_02, "0/1/4")
    time.sleep(1.1)

    seen = step.confirm(night.process())

    assert seen.saw is Saw.YES
    assert night.kinds == ["pulled out"]
    assert seen.table is not None
    assert [row["what"] for row in seen.table.records()] == ["pulled out"]


@pytest.mark.parametrize("damage", ["gone", "cut off", "of something else"])
def test_notes_that_can_not_be_read_are_begun_anew(night: Night, damage: str) -> None:
    """A watch without its memory watches on from now, and says so with a new start."""
    step = Usb((ESX_02,), "1h", shells=False)
    step.confirm(night.process())
    if damage == "gone":
        night.notes.unlink()
    else:
        night.notes.write_text('{"until": "' if damage == "cut off" else '{"a": 1}', encoding="utf-8")

    assert step.confirm(night.process()).saw is Saw.NO
    assert sum("At the start" in words for words, _ in night.told) >= 1


def test_notes_that_can_not_be_written_stop_the_step_as_an_unwritable_record_does(night: Night, tmp_path: Path) -> None:
    """Without its memory a crash would tell everything twice: the step waits until it can be written."""
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    systems = replace(night.process(), notes=Notebook(blocked / "1.json"))

    with pytest.raises(RecordError, match="can't be written"):
        Usb((ESX_02,), "1h", shells=False).confirm(systems)
    assert night.told == []


def test_a_configuration_that_changes_without_a_word_in_any_log_is_seen(night: Night) -> None:
    """Looks go on by the clock where no log calls for one: a VM that loses its device to a stop of the arbitrator."""
    step, systems = Usb((ESX_02,), "1h", shells=False), night.process()
    step.confirm(systems)
    night.lab.control.set_vm("lic-01", power="poweredOff")
    night.lab.control.set_vm("win-02", power="poweredOn")
    until(step, systems, lambda seen: "2 looks" in seen.words)

    assert night.kinds == [], "a VM that was powered off has lost nothing"
