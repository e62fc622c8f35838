"""The forms of Slack, made of a runbook's own model: within Slack's limits, and read back as they were filled in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from slack_sdk.models.views import View

from passgate.engine.catalogue import load
from passgate.engine.steps import Ask, Risk, Runbook, Steps, VmName
from passgate.faces.chat import dialogs, form
from passgate.lab.slack.blocks import faults_of_view
from passgate.model.inventory import Inventory

RUNBOOKS = load(Path(__file__).parents[2])


class Colour(StrEnum):
    """Name colours."""

    RED = "red"
    BLUE = "blue"


class Every(Ask):
    """Ask for one field of each kind."""

    vm: VmName
    colour: Colour = Colour.RED
    size: Literal["s", "m"] | None = None
    count: int | None = Field(default=None, ge=1, le=9)
    share: float = Field(default=0.5, ge=0, le=1)
    on: bool = False
    off: bool = Field(default=True, description="x" * 200)
    names: tuple[str, ...] = ()
    begin: datetime | None = None
    day: date | None = None
    hour: time | None = None
    words: str = Field(default="", max_length=5000, title="T" * 500, description="D" * 5000)


def nothing(ask: Every, site: Inventory) -> Steps:
    """Do nothing."""
    steps: Iterator[Any] = iter(())
    return steps


EVERY = Runbook("every", "t" * 400, "d" * 9000, Every, Risk.LOW, frozenset(), nothing)
ELEMENTS = {
    "vm": "plain_text_input", "colour": "static_select", "size": "static_select", "count": "number_input",
    "share": "number_input", "on": "checkboxes", "off": "checkboxes", "names": "plain_text_input",
    "begin": "datetimepicker", "day": "datepicker", "hour": "timepicker", "words": "plain_text_input",
    "reason": "plain_text_input", "ticket": "plain_text_input", "urgency": "static_select",
}  # fmt: skip


@pytest.mark.parametrize("runbook", [*RUNBOOKS.values(), EVERY], ids=lambda one: one.slug)
def test_a_form_keeps_slacks_limits(runbook: Runbook[Any]) -> None:
    """R22: Slack takes the form of every runbook, by its own validators and by the lab's, empty and filled."""
    for filled in (
        dialogs.EMPTY,
        dialogs.Filled(dict.fromkeys(runbook.ask.model_fields, "x" * 5000), {"reason": "y" * 9000}, "z"),
    ):
        view = dialogs.ask(runbook, "C0PASSGATE", filled)
        assert faults_of_view(view) == []
        View(**view).validate_json()


def test_each_kind_of_field_has_its_input() -> None:
    """A choice, a tick, a number within its bounds, a moment, lines and text; the runbook's own fields come first."""
    inputs = {one["block_id"]: one for one in form.inputs(EVERY, {}, {})}
    shown = {name: one["element"]["type"] for name, one in inputs.items()}
    assert {name: shown[name] for name in ELEMENTS} == ELEMENTS
    assert list(shown)[: len(ELEMENTS) - 3] == list(ELEMENTS)[:-3]
    assert [name for name, one in inputs.items() if not one["optional"]] == ["vm"]
    assert "initial_options" in inputs["off"]["element"]
    assert "initial_options" not in inputs["on"]["element"]
    assert inputs["colour"]["element"]["initial_option"]["value"] == "red"
    assert inputs["count"]["element"]["max_value"] == "9"


def test_what_was_filled_in_is_what_the_model_gets() -> None:
    """Every kind of input is read as the model takes it, moments with their zone; what is empty is left out."""
    state: dict[str, Any] = {
        "vm": {"value": " win-01 "},
        "colour": {"selected_option": {"value": "blue"}},
        "count": {"value": "3"},
        "share": {"value": "0.25"},
        "on": {"selected_options": [{"value": "yes"}]},
        "off": {"selected_options": []},
        "names": {"value": "esx-01\nesx-02, esx-03"},
        "begin": {"selected_date_time": 1_800_000_000},
        "day": {"selected_date": "2026-11-25"},
        "hour": {"selected_time": "13:30"},
        "words": {"value": None},
    }
    read = form.read(EVERY, {name: {form.INPUT: one} for name, one in state.items()})
    assert "words" not in read
    ask = Every.model_validate(read)
    assert (ask.vm, ask.colour, ask.count, ask.share) == ("win-01", Colour.BLUE, 3, 0.25)
    assert (ask.on, ask.off, ask.names) == (True, False, ("esx-01", "esx-02", "esx-03"))
    assert ask.begin is not None
    assert ask.begin.timestamp() == 1_800_000_000
    assert (ask.day, ask.hour) == (date(2026, 11, 25), time(13, 30))


@given(text=st.text(max_size=400), runbook=st.sampled_from(list(RUNBOOKS.values())))
def test_no_text_breaks_a_form(text: str, runbook: Runbook[Any]) -> None:
    """Whatever was filled in or is wrong, the form that comes back is one that Slack takes."""
    asked = dict.fromkeys(runbook.ask.model_fields, text)
    view = dialogs.ask(runbook, "C0PASSGATE", dialogs.Filled(asked, dict.fromkeys(asked, text or "?"), "again"))
    assert faults_of_view(view) == []
