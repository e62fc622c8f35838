"""Promise: whatever a model refuses is said in our words: what was given, and what would be accepted."""

from __future__ import annotations

from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, create_model

from passgate.engine.catalogue import load
from passgate.errors import InputError
from passgate.settings.mistakes import mistakes

PYDANTIC = ("input", "should", "valid ", "string", "integer", "value error", "field required", "permitted", "pydantic")
"""Words of pydantic's own."""


def even(number: int) -> int:
    """Take even numbers."""
    if number == 3:
        raise InputError("3 is odd.", hint="Give 4.")
    if number % 2:
        raise ValueError("an even number")
    return number


def refused(annotation: Any, given: Any) -> str:
    """Return how a field of that kind refuses what was given."""
    model = create_model("Model", field=(annotation, ...))
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"field": given})
    (found,) = mistakes(caught.value, model)
    assert found.where == "field"
    return found.whole


@pytest.mark.parametrize(
    ("annotation", "given", "words"),
    [
        (bool, "maybe", "given 'maybe'; accepted: true or false"),
        (bool, [], "given a list; accepted: true or false"),
        (int, "x", "given 'x'; accepted: a whole number"),
        (int, 1.5, "given '1.5'; accepted: a whole number"),
        (float, "x", "given 'x'; accepted: a number"),
        (Annotated[int, Field(ge=1)], 0, "given '0'; accepted: 1 or more"),
        (Annotated[int, Field(gt=1)], 0, "given '0'; accepted: more than 1"),
        (Annotated[int, Field(le=9)], 10, "given '10'; accepted: at most 9"),
        (Annotated[int, Field(lt=9)], 10, "given '10'; accepted: less than 9"),
        (str, None, "given nothing; accepted: text; a number needs quotes around it"),
        (Annotated[str, Field(min_length=1)], "", "given ''; accepted: at least 1 character"),
        (Annotated[str, Field(max_length=2)], "x" * 99, f"given '{'x' * 56}...; accepted: at most 2 characters"),
        (Annotated[str, Field(pattern="^a$")], "b", "given 'b'; accepted: text that fits ^a$"),
        (Literal["a", "b"], "c", "given 'c'; accepted: 'a' or 'b'"),
        (tuple[str, ...], "x", "given 'x'; accepted: a list, such as [one, two]"),
        (Annotated[tuple[str, ...], Field(min_length=2)], ["x"], "given a list; accepted: at least 2 items"),
        (dict[str, str], "x", "given 'x'; accepted: fields, one per line, as `name: value`"),
        (datetime, "soon", "given 'soon'; accepted: a date and time, such as 2026-12-01T22:00"),
        (AwareDatetime, "2026-12-01", "given '2026-12-01'; accepted: a date and time with its offset, such as"),
        (date, "soon", "given 'soon'; accepted: a day, such as 2026-12-01"),
        (time, "soon", "given 'soon'; accepted: a time, such as 22:00"),
        (Annotated[int, AfterValidator(even)], 5, "given '5'; accepted: an even number"),
        (Annotated[int, AfterValidator(even)], 3, "3 is odd. Give 4"),
        (Annotated[bytes, Field(description="Some bytes.")], 5, "given '5'; accepted: something else (Some bytes)"),
    ],
)
def test_each_kind_of_mistake_is_in_our_words(annotation: Any, given: Any, words: str) -> None:
    """None of pydantic's own words reaches people, for no kind of field."""
    assert refused(annotation, given).startswith(words)


def test_a_field_that_there_is_not_names_those_that_there_are() -> None:
    """And a missing one says what it is for."""

    class Asks(BaseModel):
        model_config = ConfigDict(extra="forbid")
        colour: str = Field(description="Of the light")

    with pytest.raises(ValidationError) as caught:
        Asks.model_validate({"color": "red"})
    assert [one.words for one in mistakes(caught.value, Asks)] == [
        "is missing (Of the light)",
        "there is no such field. Did you mean 'colour'? Accepted: colour",
    ]


@pytest.mark.parametrize("given", [5, 1.5, True, None, [], {}, "", "\n", "x" * 9999])
def test_no_runbook_refuses_in_the_words_of_pydantic(given: Any) -> None:
    """Whatever is given for whatever field of whatever runbook."""
    for runbook in load(Path(__file__).parents[2]).values():
        try:
            runbook.ask.model_validate(dict.fromkeys(runbook.ask.model_fields, given))
        except ValidationError as error:
            for one in mistakes(error, runbook.ask):
                said = one.whole.partition(" (")[0].partition("accepted: ")[2].lower()
                assert [word for word in PYDANTIC if word in said] == [], one
