"""Let a person of the workspace act: click, fill in a modal, close it, write, use a slash command or a shortcut.

The page, the tests and the demo all come through here, and what a person does goes out over the real websocket.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any, Final

from passgate.lab.slack.blocks import elements_of
from passgate.lab.slack.socket_mode import Ack, Sockets
from passgate.lab.slack.web_api import ApiError, checked_view, ephemeral, new_view, replace_view
from passgate.lab.slack.workspace import APP, CHANNEL, TEAM, TEAM_DOMAIN, Workspace

Json = dict[str, Any]

MODAL_WAIT = 3.0
TROUBLE: Final = {
    "no_ack": "Passgate did not answer within 3 seconds. Nothing may have happened: look before you try again.",
    "not_connected": "Passgate is not connected to Slack just now. Nothing was sent: try again later.",
}


class ActError(Exception):
    """Raised when a person can't do that: the button, field or dialog is not there."""


def _origin(ws: Workspace, user: str) -> Json:
    """Return what every interaction says of the workspace and the person."""
    person = ws.people[user]
    return {
        "user": {"id": user, "username": person["name"], "name": person["name"], "team_id": person["team_id"]},
        "api_app_id": APP,
        "token": "deprecated-verification-token",
        "trigger_id": ws.new_trigger(user),
        "team": {"id": TEAM, "domain": TEAM_DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _response_url(ws: Workspace, channel: str, user: str, message_ts: str) -> str:
    ticket = secrets.token_urlsafe(18)
    ws.response_urls[ticket] = (channel, user, message_ts)
    return f"{ws.url}actions/{TEAM}/{ticket}"


def _person(ws: Workspace, act: Json) -> str:
    user = str(act.get("user", ""))
    if user not in ws.people or ws.people[user]["is_bot"]:
        raise ActError(f"no person {user!r} in this workspace; there are {', '.join(sorted(ws.people))}")
    return user


def _outcome(ws: Workspace, ack: Ack, user: str, **place: str) -> Json:
    """Return what the person sees of it, and show the warning where nobody answered."""
    if ack.acked:
        return {"ok": True, "acked": True, "warning": ""}
    ws.warn(user, TROUBLE[ack.why], **place)
    return {"ok": True, "acked": False, "warning": TROUBLE[ack.why]}


def _visible(ws: Workspace, user: str) -> list[tuple[str, Json]]:
    """Return each message that the person sees, with its channel, newest first."""
    notes = [(note["channel"], note) for note in ws.ephemerals if note["to"] == user]
    posts = [(channel, message) for channel, messages in ws.messages.items() for message in messages.values()]
    return sorted(notes + posts, key=lambda pair: str(pair[1]["ts"]), reverse=True)


def _wanted(act: Json, element: Json) -> bool:
    """Tell whether the act names this element, by action_id, by value or by both."""
    given = [name for name in ("action_id", "value") if act.get(name)]
    return bool(given) and all(element.get(name) == act[name] for name in given)


_COPIED: Final = {"action_id", "type", "text", "value", "style"}


def _action(ws: Workspace, block: Json, element: Json, act: Json) -> Json:
    """Return the `actions` entry of a click."""
    copied: Json = {name: part for name, part in element.items() if name in _COPIED}
    action: Json = {"block_id": block["block_id"], **copied, "action_ts": ws.stamp()}
    if "options" in element:
        chosen = next((one for one in element["options"] if one["value"] == act.get("selected")), None)
        if chosen is None:
            raise ActError(
                f"there is no option {act.get('selected')!r}; there are {[o['value'] for o in element['options']]}"
            )
        action["selected_option"] = chosen
    return deepcopy(action)


async def click(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Click a button of a message; with `fields`, fill in and submit the modal that opens.

    With `late`, the person's client is behind: it still shows the buttons that the message had before it was edited.
    """
    user = _person(ws, act)
    if act.get("home"):
        return await _click_home(ws, sockets, act, user)
    places = [
        (channel, message, block, element)
        for channel, message in _visible(ws, user)
        if message["ts"] == (act.get("message_ts") or message["ts"])
        for block, element in elements_of(
            [*message.get("blocks", []), *(ws.former.get(message["ts"], []) if act.get("late") else [])]
        )
        if _wanted(act, element)
    ]
    if not places:
        sought = ", ".join(f"{name} {act[name]!r}" for name in ("message_ts", "action_id", "value") if act.get(name))
        raise ActError(f"{user} sees no button with {sought}")
    channel, message, block, element = places[0]
    _confirmed(element, act)
    private = "to" in message
    container = {"type": "message", "message_ts": message["ts"], "channel_id": channel, "is_ephemeral": private}
    payload = {
        "type": "block_actions",
        **_origin(ws, user),
        "container": container | ({"thread_ts": message["thread_ts"]} if "thread_ts" in message else {}),
        "channel": {"id": channel, "name": ws.channels[channel]},
        "state": {"values": {}},
        "response_url": _response_url(ws, channel, user, message["ts"]),
        "actions": [_action(ws, block, element, act)],
    } | ({} if private else {"message": {name: deepcopy(part) for name, part in message.items() if name != "metadata"}})
    return await _pressed(ws, sockets, act, user, payload, message_ts=message["ts"])


async def _pressed(ws: Workspace, sockets: Sockets, act: Json, user: str, payload: Json, **place: str) -> Json:
    """Send a click, and fill in and submit the modal that it opens where the act has fields for one."""
    before = [view["id"] for view in ws.modals.get(user, [])]
    result = _outcome(ws, await sockets.deliver("interactive", payload), user, **place)
    if act.get("fields") is None or not result["acked"]:
        return result
    return await submit(
        ws, sockets, {"user": user, "fields": act["fields"], "view_id": await _opened(ws, user, before)}
    )


def _confirmed(element: Json, act: Json) -> None:
    """Refuse a click on what asks first, unless the act says yes to that."""
    if element.get("confirm") and act.get("confirm") is not True:
        raise ActError(f"a dialog asks {element['confirm']['text']['text']!r}: say confirm true to go on")


async def _click_home(ws: Workspace, sockets: Sockets, act: Json, user: str) -> Json:
    """Click a button of the App Home that the person sees."""
    view = ws.homes.get(user, {"blocks": []})
    places = [
        (block, element)
        for block, element in elements_of(view["blocks"])
        if _wanted(act, element) and block["block_id"] == (act.get("block_id") or block["block_id"])
    ]
    if not places:
        raise ActError(f"{user} sees no such button in the App Home")
    block, element = places[0]
    _confirmed(element, act)
    payload = {
        "type": "block_actions",
        **_origin(ws, user),
        "container": {"type": "view", "view_id": view["id"]},
        "view": deepcopy(view),
        "actions": [_action(ws, block, element, act)],
    }
    return await _pressed(ws, sockets, act, user, payload)


async def home(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Open the app's Home: Slack tells the app by an event, and shows what was published last meanwhile."""
    user = _person(ws, act)
    event = {"type": "app_home_opened", "user": user, "channel": f"D{user[1:]}", "tab": "home", "event_ts": ws.stamp()}
    payload = {
        "type": "event_callback",
        "token": "deprecated-verification-token",
        "team_id": TEAM,
        "api_app_id": APP,
        "event_id": ws.new_id("Ev"),
        "event_time": int(float(event["event_ts"])),
        "event": event | ({"view": deepcopy(ws.homes[user])} if user in ws.homes else {}),
    }
    ack = await sockets.deliver("events_api", payload)  # nobody is warned of an event that was not taken
    return {"ok": True, "acked": ack.acked, "warning": ""}


async def _opened(ws: Workspace, user: str, before: list[str]) -> str:
    """Return the modal that opens for the person, waiting for it a little."""
    try:
        async with asyncio.timeout(MODAL_WAIT):
            while True:
                for view in ws.modals.get(user, []):
                    if view["id"] not in before:
                        return str(view["id"])
                await ws.news()
    except TimeoutError:
        raise ActError("no modal opened for the fields that were given") from None


def _one_option(element: Json, given: Any) -> Json | None:
    return next((option for option in element["options"] if option["value"] == given), None)


# How each kind of input writes what was filled in: the name in the state, and the value.
_STATE: Final[dict[str, tuple[str, Callable[[Json, Any], Any]]]] = {
    "plain_text_input": ("value", lambda _element, given: None if given in {None, ""} else str(given)),
    "static_select": ("selected_option", _one_option),
    "radio_buttons": ("selected_option", _one_option),
    "checkboxes": ("selected_options", lambda e, given: [o for o in e["options"] if o["value"] in (given or [])]),
    "users_select": ("selected_user", lambda _element, given: given),
    "datepicker": ("selected_date", lambda _element, given: given),
    "timepicker": ("selected_time", lambda _element, given: given),
    "datetimepicker": ("selected_date_time", lambda _element, given: None if given in {None, ""} else int(given)),
    "number_input": ("value", lambda _element, given: None if given in {None, ""} else str(given)),
}
_INITIAL: Final = ("initial_value", "initial_user", "initial_date", "initial_time", "initial_date_time")


def _initial(element: Json) -> Any:
    """Return what an input holds before anybody touches it, as `fields` would say it."""
    if "initial_option" in element:
        return element["initial_option"]["value"]
    if "initial_options" in element:
        return [option["value"] for option in element["initial_options"]]
    return next((element[name] for name in _INITIAL if name in element), None)


def _filled(view: Json, fields: Json) -> tuple[Json, dict[str, str]]:
    """Return the modal's state and, per block, what Slack's own client would complain of before it sends."""
    values: Json = {}
    complaints: dict[str, str] = {}
    for block, element in elements_of(view["blocks"]):
        if block["type"] != "input":
            continue
        key = next((name for name in (block["block_id"], element["action_id"]) if name in fields), None)
        name, read = _STATE[element["type"]]
        value = read(element, fields[key] if key else _initial(element))
        values[block["block_id"]] = {element["action_id"]: {"type": element["type"], name: value}}
        if not value and not block.get("optional"):
            complaints[block["block_id"]] = "Please complete this required field."
        elif value and (wrong := _no_such_number(element, value)):
            complaints[block["block_id"]] = wrong
        elif isinstance(value, str) and len(value) < element.get("min_length", 0):
            complaints[block["block_id"]] = f"Please lengthen this text to {element['min_length']} characters or more."
        elif isinstance(value, str) and len(value) > element.get("max_length", 3000):
            complaints[block["block_id"]] = (
                f"Please shorten this text to {element.get('max_length', 3000)} characters or less."
            )
    return values, complaints


def _no_such_number(element: Json, given: Any) -> str:
    """Return what Slack's client says of a number that the field does not take; nothing of other fields."""
    if element["type"] != "number_input":
        return ""
    try:
        number = float(given) if element["is_decimal_allowed"] else int(given)
    except ValueError:
        return "Please enter a valid number."
    low, high = float(element.get("min_value", "-inf")), float(element.get("max_value", "inf"))
    return "" if low <= number <= high else f"Please enter a number between {low:g} and {high:g}."


def _view(ws: Workspace, act: Json) -> tuple[str, Json]:
    """Return the person and the modal that is on top for them."""
    user = _person(ws, act)
    stack = ws.modals.get(user, [])
    if not stack or (act.get("view_id") or stack[-1]["id"]) != stack[-1]["id"]:
        raise ActError(f"no such modal is open for {user}")
    return user, stack[-1]


def _close_top(ws: Workspace, user: str, *, everything: bool = False) -> None:
    stack = ws.modals.get(user, [])
    del stack[0 if everything else -1 :]
    if not stack:
        ws.modals.pop(user, None)
    ws.changed()


async def submit(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Fill in the open modal and send it; returns the errors under its fields, if any."""
    user, view = _view(ws, act)
    values, complaints = _filled(view, act.get("fields") or {})
    if complaints:
        return {"ok": True, "acked": False, "warning": "", "errors": complaints}
    view["state"] = {"values": values}
    payload = {"type": "view_submission", **_origin(ws, user), "view": deepcopy(view), "response_urls": []}
    ack = await sockets.deliver("interactive", payload)
    result = _outcome(ws, ack, user, view_id=view["id"])
    if not ack.acked or ws.view(view["id"]) is None:
        return result
    action = ack.payload.get("response_action")
    try:
        if action == "errors":
            return result | {"errors": ack.payload.get("errors", {})}
        if action == "update":
            replace_view(ws, view["id"], checked_view(ack.payload.get("view")))
        elif action == "push":
            pushed = new_view(ws, checked_view(ack.payload.get("view")), root=view["root_view_id"], previous=view["id"])
            ws.modals[user].append(pushed)
            ws.changed()
        else:
            _close_top(ws, user, everything=action == "clear")
    except ApiError as error:
        ws.warn(user, f"Passgate answered with a modal that Slack refuses: {error.beside}", view_id=view["id"])
        return result | {"acked": False, "warning": ws.warnings[-1]["text"]}
    return result


async def close(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Close the open modal; the app hears of it when it asked to."""
    user, view = _view(ws, act)
    _close_top(ws, user)
    if view["notify_on_close"]:
        payload = {"type": "view_closed", **_origin(ws, user), "view": deepcopy(view), "is_cleared": False}
        return _outcome(ws, await sockets.deliver("interactive", payload), user)
    return {"ok": True, "acked": True, "warning": ""}


async def say(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Write into the channel or a thread; what begins with a slash is a command."""
    user, text, channel = _person(ws, act), str(act.get("text", "")), str(act.get("channel") or CHANNEL)
    thread = str(act.get("thread_ts") or "")
    if channel not in ws.channels or not text.strip() or (thread and thread not in ws.messages[channel]):
        raise ActError("a message needs a text, a channel that exists, and a thread that exists if it names one")
    if text.startswith("/"):
        return await slash(ws, sockets, {**act, "channel": channel})
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    message = ws.post(channel, {"user": user, "text": escaped} | ({"thread_ts": thread} if thread else {}))
    return {"ok": True, "acked": True, "warning": "", "ts": message["ts"]}


async def slash(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Use a slash command; a text in the app's ack is shown to the person alone."""
    user, channel = _person(ws, act), str(act.get("channel") or CHANNEL)
    command, _, rest = str(act.get("text", "")).partition(" ")
    origin = _origin(ws, user)
    payload = {
        "token": origin["token"],
        "team_id": TEAM,
        "team_domain": TEAM_DOMAIN,
        "channel_id": channel,
        "channel_name": ws.channels[channel],
        "user_id": user,
        "user_name": ws.people[user]["name"],
        "command": command,
        "text": rest.strip(),
        "api_app_id": APP,
        "is_enterprise_install": "false",
        "response_url": _response_url(ws, channel, user, ""),
        "trigger_id": origin["trigger_id"],
    }
    ack = await sockets.deliver("slash_commands", payload)
    content: Json = {name: part for name, part in ack.payload.items() if name in {"text", "blocks"}}
    if content:
        ephemeral(ws, channel, user, {"text": ""} | content)
    return _outcome(ws, ack, user)


async def shortcut(ws: Workspace, sockets: Sockets, act: Json) -> Json:
    """Use a global shortcut of the app."""
    user = _person(ws, act)
    payload = {
        "type": "shortcut",
        **_origin(ws, user),
        "callback_id": str(act.get("callback_id")),
        "action_ts": ws.stamp(),
    }
    return _outcome(ws, await sockets.deliver("interactive", payload), user)


ACTS: Final[dict[str, Callable[[Workspace, Sockets, Json], Awaitable[Json]]]] = {
    "click": click,
    "submit": submit,
    "close": close,
    "say": say,
    "slash": slash,
    "shortcut": shortcut,
    "home": home,
}
