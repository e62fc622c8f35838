"""Answer Slack's Web API methods on the simulated workspace.

Each method is a function of the workspace and the call's arguments, entered in METHODS with the scope that it needs.
What it can't do it raises as ApiError, which becomes Slack's `{"ok": false, "error": ...}`.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from passgate.lab.slack.blocks import TEXT_OF_ALL_BLOCKS, faults_of_blocks, faults_of_view, text_in
from passgate.lab.slack.workspace import APP, BOT, BOT_USER, TEAM, TEAM_NAME, Workspace

Json = dict[str, Any]

POST_TEXT = 40_000
UPDATE_TEXT = 4_000
VIEWS_DEEP = 3
PAGE = 100
BURST = 5


class ApiError(Exception):
    """Raised when a method refuses; carries Slack's error and what stands beside it in the answer."""

    def __init__(self, error: str, *, status: int = 200, **beside: Any) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.beside = beside


@dataclass(frozen=True)
class Call:
    """The arguments of one call, read as the method needs them, whether they came as JSON or as a form."""

    args: Json

    def word(self, name: str, default: str = "") -> str:
        """Return a string."""
        value = self.args.get(name)
        return default if value is None else str(value)

    def flag(self, name: str) -> bool:
        """Return a boolean, which a form writes as 1 or true."""
        return self.word(name).lower() in {"1", "true"}

    def number(self, name: str, default: int) -> int:
        """Return a whole number."""
        try:
            return int(self.word(name) or default)
        except ValueError:
            raise ApiError(
                "invalid_arguments", response_metadata={"messages": [f"[ERROR] {name} is no number"]}
            ) from None

    def structure(self, name: str, error: str) -> Any:
        """Return a list or object, which a form writes as JSON text; None when it is absent."""
        value = self.args.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise ApiError(error) from None

    def need(self, *names: str) -> None:
        """Refuse the call unless these arguments are there."""
        missing = [name for name in names if not self.word(name)]
        if missing:
            words = [f"[ERROR] missing required field: {name}" for name in missing]
            raise ApiError("invalid_arguments", response_metadata={"messages": words})


@dataclass
class RateLimit:
    """Slack's limit on posting: one message per second per channel, with a short burst."""

    on: bool = False
    _tokens: dict[str, tuple[float, float]] = field(default_factory=dict)

    def pay(self, channel: str) -> None:
        """Take one token of the channel, or refuse with the seconds to wait."""
        if not self.on:
            return
        now = time.monotonic()
        tokens, since = self._tokens.get(channel, (float(BURST), now))
        tokens = min(float(BURST), tokens + now - since)
        if tokens < 1:
            self._tokens[channel] = (tokens, now)
            raise ApiError("ratelimited", status=429, retry_after=max(1, math.ceil(1 - tokens)))
        self._tokens[channel] = (tokens - 1, now)


def _channel(ws: Workspace, call: Call) -> str:
    """Return the channel's id, given by id or by #name."""
    named = call.word("channel").removeprefix("#")
    for channel, name in ws.channels.items():
        if named in {channel, name}:
            return channel
    raise ApiError("channel_not_found")


def _blocks(ws: Workspace, call: Call) -> list[Json] | None:
    blocks = call.structure("blocks", "invalid_blocks_format")
    if blocks is None:
        return None
    if not isinstance(blocks, list):
        raise ApiError("invalid_blocks_format")
    if faults := faults_of_blocks(blocks):
        raise ApiError(
            "invalid_blocks", errors=faults, response_metadata={"messages": [f"[ERROR] {words}" for words in faults]}
        )
    if text_in(blocks) > TEXT_OF_ALL_BLOCKS:
        raise ApiError("msg_blocks_too_long")
    return ws.named(blocks)


def _metadata(call: Call) -> Json | None:
    given = call.structure("metadata", "invalid_metadata_format")
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("event_type"), str):
        raise ApiError("invalid_metadata_format")
    if not isinstance(given.get("event_payload"), dict):
        raise ApiError("invalid_metadata_schema")
    return {"event_type": given["event_type"], "event_payload": given["event_payload"]}


def _content(ws: Workspace, call: Call, longest: int) -> Json:
    """Return text, blocks and metadata of a message that is posted or changed."""
    blocks, text = _blocks(ws, call), call.word("text")
    if not text and not blocks:
        raise ApiError("no_text")
    if len(text) > longest:
        raise ApiError("msg_too_long")
    metadata = _metadata(call)
    # Slack keeps text with &, < and > escaped, and escapes them itself where the app did not.
    text = re.sub(r"&(?!amp;|lt;|gt;)", "&amp;", text)
    return {"text": text} | ({"blocks": blocks} if blocks else {}) | ({"metadata": metadata} if metadata else {})


def shown(message: Json, *, metadata: bool = False) -> Json:
    """Return a message as the API shows it: metadata only to those who ask for it."""
    return {name: deepcopy(part) for name, part in message.items() if metadata or name != "metadata"}


_SELF: Final = {
    "user": BOT_USER,
    "bot_id": BOT,
    "app_id": APP,
    "bot_profile": {"id": BOT, "app_id": APP, "name": "Passgate"},
}


def auth_test(ws: Workspace, _call: Call) -> Json:
    """Tell who the token is."""
    return {"url": ws.url, "team": TEAM_NAME, "user": "passgate", "team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT}


def chat_post_message(ws: Workspace, call: Call) -> Json:
    """Post a message into a channel or a thread."""
    channel, content = _channel(ws, call), _content(ws, call, POST_TEXT)
    thread = call.word("thread_ts")
    if thread and thread not in ws.messages[channel]:
        raise ApiError("thread_not_found")
    if thread:
        content["thread_ts"] = ws.messages[channel][thread].get("thread_ts", thread)
    message = ws.post(channel, {**_SELF, **content})
    return {"channel": channel, "ts": message["ts"], "message": shown(message, metadata=True)}


def _own(ws: Workspace, channel: str, call: Call, error: str) -> Json:
    call.need("ts")
    message = ws.messages[channel].get(call.word("ts"))
    if message is None:
        raise ApiError("message_not_found")
    if message.get("bot_id") != BOT:
        raise ApiError(error)
    return message


def chat_update(ws: Workspace, call: Call) -> Json:
    """Change a message of one's own; new text without blocks takes the old blocks away."""
    channel = _channel(ws, call)
    message = _own(ws, channel, call, "cant_update_message")
    content = _content(ws, call, UPDATE_TEXT)
    ws.former.setdefault(message["ts"], []).extend(message.pop("blocks", []))
    message |= content | {"edited": {"user": BOT_USER, "ts": ws.stamp()}}
    ws.changed()
    return {"channel": channel, "ts": message["ts"], "text": message["text"], "message": shown(message, metadata=True)}


def chat_delete(ws: Workspace, call: Call) -> Json:
    """Delete a message of one's own."""
    channel = _channel(ws, call)
    message = _own(ws, channel, call, "cant_delete_message")
    del ws.messages[channel][message["ts"]]
    ws.recount(channel, message.get("thread_ts"))
    ws.changed()
    return {"channel": channel, "ts": message["ts"]}


def chat_post_ephemeral(ws: Workspace, call: Call) -> Json:
    """Show a message to one person alone."""
    channel, content = _channel(ws, call), _content(ws, call, POST_TEXT)
    call.need("user")
    if call.word("user") not in ws.people:
        raise ApiError("user_not_in_channel")
    return {"message_ts": ephemeral(ws, channel, call.word("user"), content, call.word("thread_ts"))}


def ephemeral(ws: Workspace, channel: str, user: str, content: Json, thread: str = "") -> str:
    """Keep a message that one person alone sees; return its timestamp."""
    note = {"type": "message", "ts": ws.stamp(), "channel": channel, "to": user, **_SELF, **content}
    ws.ephemerals.append(note | ({"thread_ts": thread} if thread else {}))
    ws.changed()
    return str(note["ts"])


def chat_get_permalink(ws: Workspace, call: Call) -> Json:
    """Return the address of a message."""
    channel, ts = _channel(ws, call), call.word("message_ts")
    if ts not in ws.messages[channel]:
        raise ApiError("message_not_found")
    return {"channel": channel, "permalink": f"{ws.url}archives/{channel}/p{ts.replace('.', '')}"}


def _paged(call: Call, messages: list[Json]) -> Json:
    """Return the page of messages that the call asks for."""
    oldest, latest, inclusive = (
        call.word("oldest", "0"),
        call.word("latest") or "9999999999.999999",
        call.flag("inclusive"),
    )
    try:
        low, high, start = float(oldest or 0), float(latest), int(call.word("cursor").removeprefix("page:") or 0)
    except ValueError:
        raise ApiError("invalid_cursor" if call.word("cursor") else "invalid_ts_oldest") from None
    within = [m for m in messages if low < float(m["ts"]) < high or (inclusive and m["ts"] in {oldest, latest})]
    limit = max(1, min(call.number("limit", PAGE), 999))
    more = len(within) > start + limit
    return {
        "messages": [shown(m, metadata=call.flag("include_all_metadata")) for m in within[start : start + limit]],
        "has_more": more,
        "response_metadata": {"next_cursor": f"page:{start + limit}" if more else ""},
    }


def conversations_history(ws: Workspace, call: Call) -> Json:
    """Return a channel's messages without its threads' replies, newest first."""
    return _paged(call, ws.top(_channel(ws, call))[::-1])


def conversations_replies(ws: Workspace, call: Call) -> Json:
    """Return a thread, its parent first."""
    channel = _channel(ws, call)
    call.need("ts")
    parent = ws.messages[channel].get(call.word("ts"))
    if parent is None:
        raise ApiError("thread_not_found")
    return _paged(call, [parent, *ws.replies(channel, parent["ts"])])


def _channel_shown(channel: str, name: str) -> Json:
    facts = {"is_channel": True, "is_private": False, "is_archived": False, "is_member": True, "is_ext_shared": False}
    return {"id": channel, "name": name, "context_team_id": TEAM, **facts}


def conversations_info(ws: Workspace, call: Call) -> Json:
    """Describe a channel."""
    channel = _channel(ws, call)
    return {"channel": _channel_shown(channel, ws.channels[channel])}


def conversations_list(ws: Workspace, _call: Call) -> Json:
    """List the channels."""
    channels = [_channel_shown(channel, name) for channel, name in ws.channels.items()]
    return {"channels": channels, "response_metadata": {"next_cursor": ""}}


def users_info(ws: Workspace, call: Call) -> Json:
    """Describe a person."""
    if call.word("user") not in ws.people:
        raise ApiError("user_not_found")
    return {"user": deepcopy(ws.people[call.word("user")])}


def users_list(ws: Workspace, _call: Call) -> Json:
    """List the people."""
    return {"members": deepcopy(list(ws.people.values())), "response_metadata": {"next_cursor": ""}}


def usergroups_list(ws: Workspace, call: Call) -> Json:
    """List the user groups, with their members when asked."""
    groups = [
        {"id": group, "team_id": TEAM, "is_usergroup": True, "handle": handle, "name": name, "user_count": len(users)}
        | ({"users": list(users)} if call.flag("include_users") else {})
        for group, (handle, name, users) in ws.groups.items()
    ]
    return {"usergroups": groups}


def usergroups_users_list(ws: Workspace, call: Call) -> Json:
    """List the members of a user group."""
    if call.word("usergroup") not in ws.groups:
        raise ApiError("no_such_subteam")
    return {"users": list(ws.groups[call.word("usergroup")][2])}


def checked_view(given: Any, kind: str = "modal") -> Json:
    """Return a modal, or an App Home, that keeps Slack's limits."""
    if not isinstance(given, dict):
        raise ApiError("invalid_arguments", response_metadata={"messages": ["[ERROR] missing required field: view"]})
    if given.get("type") != kind:
        raise ApiError("invalid_arguments", response_metadata={"messages": [f"[ERROR] view is no {kind}"]})
    if faults := faults_of_view(given):
        raise ApiError("invalid_arguments", response_metadata={"messages": [f"[ERROR] {words}" for words in faults]})
    return given


def new_view(ws: Workspace, given: Json, *, view_id: str = "", root: str = "", previous: str | None = None) -> Json:
    """Return a modal as Slack keeps one that is open."""
    defaults = {"private_metadata": "", "callback_id": "", "external_id": "", "clear_on_close": False}
    view_id = view_id or ws.new_id("V")
    return (
        {**defaults, "notify_on_close": False, "submit": None, "close": None}
        | deepcopy(given)
        | {"id": view_id, "team_id": TEAM, "app_id": APP, "bot_id": BOT, "root_view_id": root or view_id}
        | {
            "previous_view_id": previous,
            "hash": ws.stamp(),
            "state": {"values": {}},
            "blocks": ws.named(given["blocks"]),
        }
    )


def _triggered(ws: Workspace, call: Call) -> str:
    """Return the person whose act allows a modal now; the trigger is used up."""
    call.need("trigger_id")
    trigger = ws.triggers.get(call.word("trigger_id"))
    if trigger is None:
        raise ApiError("invalid_trigger_id")
    if trigger.used:
        raise ApiError("exchanged_trigger_id")
    if trigger.expires < time.monotonic():
        raise ApiError("expired_trigger_id")
    trigger.used = True
    return trigger.user


def views_open(ws: Workspace, call: Call) -> Json:
    """Open a modal for the person who just acted."""
    given = checked_view(call.structure("view", "invalid_arguments"))
    user = _triggered(ws, call)
    view = new_view(ws, given)
    ws.modals[user] = [view]
    ws.changed()
    return {"view": deepcopy(view)}


def views_push(ws: Workspace, call: Call) -> Json:
    """Put a modal on top of the one that is open."""
    given = checked_view(call.structure("view", "invalid_arguments"))
    user = _triggered(ws, call)
    stack = ws.modals.get(user, [])
    if not stack:
        raise ApiError("not_found")
    if len(stack) >= VIEWS_DEEP:
        raise ApiError("push_limit_reached")
    stack.append(new_view(ws, given, root=stack[0]["id"], previous=stack[-1]["id"]))
    ws.changed()
    return {"view": deepcopy(stack[-1])}


def replace_view(ws: Workspace, view_id: str, given: Json) -> Json:
    """Put a new modal in the place of one that is open."""
    found = ws.view(view_id)
    if found is None:
        raise ApiError("not_found")
    user, old = found
    stack = ws.modals[user]
    view = new_view(ws, given, view_id=old["id"], root=old["root_view_id"], previous=old["previous_view_id"])
    stack[stack.index(old)] = view
    ws.changed()
    return view


def views_update(ws: Workspace, call: Call) -> Json:
    """Change a modal that is open, unless it changed meanwhile."""
    given = checked_view(call.structure("view", "invalid_arguments"))
    wanted, outer = call.word("view_id"), call.word("external_id")
    views = [view for stack in ws.modals.values() for view in stack]
    old = next((view for view in views if view["id"] == wanted or (outer and view["external_id"] == outer)), None)
    if old is None:
        raise ApiError("not_found")
    if call.word("hash") and call.word("hash") != old["hash"]:
        raise ApiError("hash_conflict")
    return {"view": deepcopy(replace_view(ws, old["id"], given))}


def views_publish(ws: Workspace, call: Call) -> Json:
    """Put an App Home in the place of the one that a person saw."""
    given = checked_view(call.structure("view", "invalid_arguments"), "home")
    call.need("user_id")
    user = call.word("user_id")
    if user not in ws.people:
        raise ApiError("user_not_found")
    if call.word("hash") and user in ws.homes and call.word("hash") != ws.homes[user]["hash"]:
        raise ApiError("hash_conflict")
    known = ws.homes.get(user, {}).get("id", "")
    ws.homes[user] = new_view(ws, given, view_id=known)
    ws.changed()
    return {"view": deepcopy(ws.homes[user])}


def files_get_upload_url(ws: Workspace, call: Call) -> Json:
    """Return the address to which a file's bytes go."""
    call.need("filename", "length")
    file = ws.new_id("F")
    ws.files[file] = {"id": file, "name": call.word("filename"), "size": call.number("length", 0), "bytes": None}
    return {"upload_url": f"{ws.url}upload/{file}", "file_id": file}


def files_complete_upload(ws: Workspace, call: Call) -> Json:
    """Share uploaded files in a channel or a thread."""
    wanted = call.structure("files", "invalid_arguments")
    if not isinstance(wanted, list) or not wanted:
        raise ApiError("invalid_arguments", response_metadata={"messages": ["[ERROR] missing required field: files"]})
    shared: list[Json] = []
    for one in wanted:
        kept = ws.files.get(str(one.get("id")) if isinstance(one, dict) else "")
        if kept is None or kept["bytes"] is None:
            raise ApiError("file_not_found")
        kept["title"] = str(one.get("title") or kept["name"])
        address = {
            "url_private": f"{ws.url}files/{kept['id']}/{kept['name']}",
            "permalink": f"{ws.url}files/{kept['id']}",
        }
        shared.append({name: part for name, part in kept.items() if name != "bytes"} | address)
    if call.word("channel_id"):
        channel = _channel(ws, Call({"channel": call.word("channel_id")}))
        thread = call.word("thread_ts")
        if thread and thread not in ws.messages[channel]:
            raise ApiError("thread_not_found")
        message = {**_SELF, "text": call.word("initial_comment"), "files": shared}
        ws.post(channel, message | ({"thread_ts": thread} if thread else {}))
    return {"files": deepcopy(shared)}


def reactions_add(ws: Workspace, call: Call) -> Json:
    """Put an emoji under a message."""
    call.need("name", "timestamp")
    message = ws.messages[_channel(ws, call)].get(call.word("timestamp"))
    if message is None:
        raise ApiError("message_not_found")
    reactions, name = message.setdefault("reactions", []), call.word("name")
    mine = next((one for one in reactions if one["name"] == name), None)
    if mine and BOT_USER in mine["users"]:
        raise ApiError("already_reacted")
    if mine is None:
        mine = {"name": name, "users": [], "count": 0}
        reactions.append(mine)
    mine["users"].append(BOT_USER)
    mine["count"] = len(mine["users"])
    ws.changed()
    return {}


@dataclass(frozen=True)
class Method:
    """A Web API method: what answers it, which scope it needs, whether it posts."""

    answer: Callable[[Workspace, Call], Json]
    scope: str = ""
    posts: bool = False


METHODS: Final[dict[str, Method]] = {
    "auth.test": Method(auth_test),
    "chat.postMessage": Method(chat_post_message, "chat:write", posts=True),
    "chat.update": Method(chat_update, "chat:write"),
    "chat.delete": Method(chat_delete, "chat:write"),
    "chat.postEphemeral": Method(chat_post_ephemeral, "chat:write"),
    "chat.getPermalink": Method(chat_get_permalink),
    "conversations.history": Method(conversations_history, "channels:history"),
    "conversations.replies": Method(conversations_replies, "channels:history"),
    "conversations.info": Method(conversations_info, "channels:read"),
    "conversations.list": Method(conversations_list, "channels:read"),
    "users.info": Method(users_info, "users:read"),
    "users.list": Method(users_list, "users:read"),
    "usergroups.list": Method(usergroups_list, "usergroups:read"),
    "usergroups.users.list": Method(usergroups_users_list, "usergroups:read"),
    "views.open": Method(views_open),
    "views.push": Method(views_push),
    "views.update": Method(views_update),
    "views.publish": Method(views_publish),
    "files.getUploadURLExternal": Method(files_get_upload_url, "files:write"),
    "files.completeUploadExternal": Method(files_complete_upload, "files:write"),
    "reactions.add": Method(reactions_add, "reactions:write"),
}


def answer(ws: Workspace, limit: RateLimit, name: str, args: Json) -> Json:
    """Carry out one call of the bot; raises ApiError when Slack would refuse."""
    method, call = METHODS.get(name), Call(args)
    if method is None:
        raise ApiError("unknown_method", req_method=name)
    if method.scope and method.scope not in ws.scopes:
        raise ApiError("missing_scope", needed=method.scope, provided=",".join(sorted(ws.scopes)))
    if method.posts:
        limit.pay(call.word("channel"))
    return method.answer(ws, call)
