"""Hold Slack's limits on blocks and modals, and say what is wrong with some in Slack's own words.

The limits are data: a shape lists its fields, each field a rule. Slack answers `invalid_blocks` with one message per
fault and a JSON pointer to it; `faults_of_blocks` and `faults_of_view` return those messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Faults = Iterator[str]
Rule = Callable[[Any, str], Faults]

MESSAGE_BLOCKS = 50
MODAL_BLOCKS = 100
# Slack documents no sum; bolt-js#2509 found about 13,200 characters of text in all blocks of a message.
TEXT_OF_ALL_BLOCKS = 13_200


def _fault(words: str, at: str) -> str:
    return f"{words} [json-pointer:{at}]"


def word(longest: int, *, shortest: int = 1) -> Rule:
    """Return the rule of a plain string."""

    def check(value: Any, at: str) -> Faults:
        if not isinstance(value, str):
            yield _fault("must be a string", at)
        elif len(value) > longest:
            yield _fault(f"must be less than {longest + 1} characters", at)
        elif len(value) < shortest:
            yield _fault(f"must be more than {shortest - 1} characters", at)

    return check


def flag(value: Any, at: str) -> Faults:
    """Complain unless the value is a boolean."""
    if not isinstance(value, bool):
        yield _fault("must be a boolean", at)


def count(value: Any, at: str) -> Faults:
    """Complain unless the value is a number from 0 to 3000."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 3000:  # noqa: PLR2004 - Slack's limit
        yield _fault("must be a number between 0 and 3000", at)


def moment(value: Any, at: str) -> Faults:
    """Complain unless the value is a Unix time of ten digits."""
    if not isinstance(value, int) or isinstance(value, bool) or not 10**9 <= value < 10**10:
        yield _fault("must be a Unix time with 10 digits", at)


def anything(_value: Any, _at: str) -> Faults:
    """Accept all: the page does not render it and nothing depends on it."""
    return iter(())


def one_of(*words: str) -> Rule:
    """Return the rule of a string from a fixed set."""

    def check(value: Any, at: str) -> Faults:
        if value not in words:
            yield _fault(f"must be a valid enum value: {', '.join(words)}", at)

    return check


@dataclass(frozen=True)
class Shape:
    """The fields of an object: what it must have, what it may have."""

    must: Mapping[str, Rule]
    may: Mapping[str, Rule] = field(default_factory=dict)

    def __call__(self, value: Any, at: str) -> Faults:
        """Say what is wrong with the value as an object of this shape."""
        if not isinstance(value, dict):
            yield _fault("must provide an object", at)
            return
        for name in self.must:
            if name not in value:
                yield _fault(f"missing required field: {name}", at)
        for name, part in value.items():
            rule = self.must.get(name) or self.may.get(name)
            if rule is None:
                yield _fault(f"invalid additional property: {name}", at)
            else:
                yield from rule(part, f"{at}/{name}")


@dataclass(frozen=True)
class Kinds:
    """An object whose `type` chooses its shape."""

    shapes: Mapping[str, Shape]

    def __call__(self, value: Any, at: str) -> Faults:
        """Say what is wrong with the value as one of these kinds."""
        if not isinstance(value, dict):
            yield _fault("must provide an object", at)
            return
        kind = value.get("type")
        shape = self.shapes.get(kind) if isinstance(kind, str) else None
        if shape is None:
            yield _fault(f"unsupported type: {kind}", f"{at}/type")
        else:
            yield from shape({name: part for name, part in value.items() if name != "type"}, at)

    def only(self, *names: str) -> Kinds:
        """Return the choice narrowed to these kinds."""
        return Kinds({name: self.shapes[name] for name in names})


@dataclass(frozen=True)
class Many:
    """A list with a least and a greatest length."""

    item: Rule
    most: int
    least: int = 1

    def __call__(self, value: Any, at: str) -> Faults:
        """Say what is wrong with the list and with each of its items."""
        if not isinstance(value, list):
            yield _fault("must be an array", at)
            return
        if len(value) > self.most:
            yield _fault(f"no more than {self.most} items allowed", at)
        if len(value) < self.least:
            yield _fault(f"no fewer than {self.least} items allowed", at)
        for number, item in enumerate(value[: self.most]):
            yield from self.item(item, f"{at}/{number}")


def text(longest: int, *kinds: str) -> Rule:
    """Return the rule of a text object of these kinds (both, unless named)."""
    plain = Shape({"text": word(longest)}, {"emoji": flag})
    marked = Shape({"text": word(longest)}, {"verbatim": flag})
    shapes = {"plain_text": plain, "mrkdwn": marked}
    return Kinds({kind: shapes[kind] for kind in kinds or shapes})


def plain(longest: int) -> Rule:
    """Return the rule of a plain_text object."""
    return text(longest, "plain_text")


NAME = word(255)
CONFIRM = Shape(
    {"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)},
    {"style": one_of("primary", "danger")},
)
OPTION = Shape({"text": text(75), "value": word(150)}, {"description": text(75), "url": word(3000)})
_INTERACTIVE: Mapping[str, Rule] = {"action_id": NAME, "confirm": CONFIRM}
_CHOICE: Mapping[str, Rule] = {**_INTERACTIVE, "focus_on_load": flag}
_SELECT: Mapping[str, Rule] = {**_CHOICE, "placeholder": plain(150)}

ELEMENTS = Kinds(
    {
        "button": Shape(
            {"text": plain(75)},
            {
                **_INTERACTIVE,
                "value": word(2000),
                "url": word(3000),
                "style": one_of("primary", "danger"),
                "accessibility_label": word(75),
            },
        ),
        "static_select": Shape({"options": Many(OPTION, 100)}, {**_SELECT, "initial_option": OPTION}),
        "users_select": Shape({}, {**_SELECT, "initial_user": word(255)}),
        "overflow": Shape({"options": Many(OPTION, 5)}, _INTERACTIVE),
        "radio_buttons": Shape({"options": Many(OPTION, 10)}, {**_CHOICE, "initial_option": OPTION}),
        "checkboxes": Shape({"options": Many(OPTION, 10)}, {**_CHOICE, "initial_options": Many(OPTION, 10)}),
        "datepicker": Shape({}, {**_SELECT, "initial_date": word(10)}),
        "timepicker": Shape({}, {**_SELECT, "initial_time": word(5), "timezone": word(255)}),
        "datetimepicker": Shape({}, {**_CHOICE, "initial_date_time": moment}),
        "number_input": Shape(
            {"is_decimal_allowed": flag},
            {
                "action_id": NAME,
                "initial_value": word(3000),
                "min_value": word(3000),
                "max_value": word(3000),
                "placeholder": plain(150),
                "focus_on_load": flag,
                "dispatch_action_config": anything,
            },
        ),
        "plain_text_input": Shape(
            {},
            {
                "action_id": NAME,
                "initial_value": word(3000, shortest=0),
                "multiline": flag,
                "min_length": count,
                "max_length": count,
                "placeholder": plain(150),
                "focus_on_load": flag,
                "dispatch_action_config": anything,
            },
        ),
        "image": Shape({"alt_text": word(2000)}, {"image_url": word(3000), "slack_file": anything}),
    }
)
CLICKABLE = ELEMENTS.only(
    "button", "static_select", "users_select", "overflow", "radio_buttons", "checkboxes", "datepicker", "timepicker"
)
FILLABLE = ELEMENTS.only(
    "plain_text_input",
    "number_input",
    "static_select",
    "users_select",
    "radio_buttons",
    "checkboxes",
    "datepicker",
    "timepicker",
    "datetimepicker",
)
ACCESSORY = ELEMENTS.only(*CLICKABLE.shapes, "image")
IN_CONTEXT = Kinds(
    {
        "plain_text": Shape({"text": word(3000)}, {"emoji": flag}),
        "mrkdwn": Shape({"text": word(3000)}, {"verbatim": flag}),
        "image": ELEMENTS.shapes["image"],
    }
)


def _block(must: Mapping[str, Rule], may: Mapping[str, Rule] | None = None) -> Shape:
    return Shape(must, {**(may or {}), "block_id": NAME})


class _Section(Shape):
    """A section, which needs a text or fields."""

    def __call__(self, value: Any, at: str) -> Faults:
        """Say what is wrong with the section."""
        if isinstance(value, dict) and not value.keys() & {"text", "fields"}:
            yield _fault("must provide text or fields", at)
        yield from super().__call__(value, at)


BLOCKS = Kinds(
    {
        "header": _block({"text": plain(150)}),
        "section": _Section(
            {},
            {
                "text": text(3000),
                "fields": Many(text(2000), 10),
                "accessory": ACCESSORY,
                "expand": flag,
                "block_id": NAME,
            },
        ),
        "context": _block({"elements": Many(IN_CONTEXT, 10)}),
        "divider": _block({}),
        "actions": _block({"elements": Many(CLICKABLE, 25)}),
        "image": _block(
            {"alt_text": word(2000)}, {"image_url": word(3000), "title": plain(2000), "slack_file": anything}
        ),
        "input": _block(
            {"label": plain(2000), "element": FILLABLE},
            {"hint": plain(2000), "optional": flag, "dispatch_action": flag},
        ),
        "markdown": _block({"text": word(12_000)}),
        "rich_text": _block({"elements": Many(anything, 1000)}),
    }
)
VIEW = Shape(
    {"type": one_of("modal"), "title": plain(24), "blocks": Many(BLOCKS, MODAL_BLOCKS)},
    {
        "submit": plain(24),
        "close": plain(24),
        "private_metadata": word(3000, shortest=0),
        "callback_id": word(255, shortest=0),
        "external_id": word(255, shortest=0),
        "clear_on_close": flag,
        "notify_on_close": flag,
        "submit_disabled": flag,
    },
)

HOME = Shape(
    {"type": one_of("home"), "blocks": Many(BLOCKS, MODAL_BLOCKS)},
    {"private_metadata": word(3000, shortest=0), "callback_id": word(255, shortest=0), "external_id": word(255)},
)


def elements_of(blocks: Sequence[Json]) -> Iterator[tuple[Json, Json]]:
    """Yield each interactive or input element together with its block."""
    for block in blocks:
        parts = [*block.get("elements", []), block.get("accessory"), block.get("element")]
        yield from ((block, part) for part in parts if isinstance(part, dict) and part.get("type") in ELEMENTS.shapes)


def _twins(blocks: Any, at: str) -> Faults:
    """Complain of a block_id, or of an action_id within one block, that is used twice."""
    if not isinstance(blocks, list):
        return
    seen: set[str] = set()
    for number, block in enumerate(block if isinstance(block, dict) else {} for block in blocks):
        block_id = block.get("block_id")
        if isinstance(block_id, str) and block_id in seen:
            yield _fault(f"block_id already exists: {block_id}", f"{at}/{number}/block_id")
        seen.add(str(block_id))
        elements = block.get("elements")
        actions: set[str] = set()
        for place, element in enumerate(elements if isinstance(elements, list) else []):
            action_id = element.get("action_id") if isinstance(element, dict) else None
            if isinstance(action_id, str) and action_id in actions:
                yield _fault(f"action_id already exists: {action_id}", f"{at}/{number}/elements/{place}/action_id")
            actions.add(str(action_id))


def faults_of_blocks(blocks: Any) -> list[str]:
    """Return what Slack would say of a message's blocks; nothing when they are right."""
    return [*Many(BLOCKS, MESSAGE_BLOCKS, least=0)(blocks, "/blocks"), *_twins(blocks, "/blocks")]


def faults_of_view(view: Any) -> list[str]:
    """Return what Slack would say of a modal or an App Home; nothing when it is right."""
    if isinstance(view, dict) and view.get("type") == "home":
        return [*HOME(view, "/view"), *_twins(view.get("blocks"), "/view/blocks")]
    found = list(VIEW(view, "/view"))
    if isinstance(view, dict):
        blocks = view.get("blocks")
        found += _twins(blocks, "/view/blocks")
        inputs = any(isinstance(block, dict) and block.get("type") == "input" for block in blocks or ())
        if inputs and "submit" not in view:
            found.append(_fault("missing required field: submit, the modal has inputs", "/view"))
    return found


def text_in(part: Any) -> int:
    """Return how many characters of text are in blocks, wherever they stand."""
    if isinstance(part, dict):
        own = len(part["text"]) if isinstance(part.get("text"), str) else 0
        return own + sum(text_in(inner) for inner in part.values())
    return sum(text_in(inner) for inner in part) if isinstance(part, list) else 0
