"""R22: A plan that is longer than a message is a file in the thread, once, and the message names its digest."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from passgate.model.change import Change, State
from tests.faces.test_chat import ALICE, ENGINE, TERMS, Place, now, place, plan, until

__all__ = ["place"]  # the fixture

Json = dict[str, Any]


def long_change(place: Place) -> Change:
    """File a change of three hundred steps and bring it to the gate."""
    change = place.store.file_change("usb-attach", {"vm": "win-01"}, ALICE, "Backup", "CHG123", now())
    place.store.save_plan(change.id, plan(steps=300), TERMS, now() + timedelta(hours=8), now())
    return place.store.move(change.id, State.WAITING, ENGINE, "needs 1 approval", now())


def files(place: Place) -> list[Json]:
    """Return the files in the threads."""
    return [file for one in place.messages() for file in one.get("files", ())]


async def test_a_long_plan_is_a_file_in_its_thread(place: Place) -> None:
    """The file holds each step, its SHA-256 stands in the message, and a restart posts no second one."""
    async with place.chat():
        change = long_change(place)
        await until(lambda: files(place))
        await until(lambda: any("The whole plan is in this thread" in str(one) for one in place.parents()))
    (file,) = files(place)
    body = place.slack.workspace.files[file["id"]]["bytes"]
    assert b"300. Step 299 on win-01" in body
    (parent,) = place.parents()
    assert hashlib.sha256(body).hexdigest() in str(parent["blocks"])
    assert file["name"] in str(parent["blocks"])
    assert [one["thread_ts"] for one in place.messages() if one.get("files")] == [parent["ts"]]
    async with place.chat():
        place.store.move(change.id, State.WITHDRAWN, ALICE, "over", now(), outcome="over")
        await until(lambda: place.shows("Withdrawn"))
    assert len(files(place)) == 1


@pytest.mark.parametrize("fault", [{"drop": True, "after": True}, {"status": 500, "after": True}])
async def test_a_lost_answer_puts_no_second_file(place: Place, fault: Json) -> None:
    """R20: A file whose answer was lost is found in the thread before it is put there again."""
    await asyncio.to_thread(place.slack.fail, "files.completeUploadExternal", **fault)
    async with place.chat():
        long_change(place)
        await until(lambda: any("The whole plan is in this thread" in str(one) for one in place.parents()))
    assert len(files(place)) == 1


async def test_without_the_scope_all_else_goes_on(place: Place) -> None:
    """Where the app may put no files, the message says where the plan is, and claims no file."""
    await asyncio.to_thread(place.slack.order, scopes=["chat:write", "channels:history", "users:read"])
    async with place.chat():
        change = long_change(place)
        await place.told()
        await until(lambda: place.store.cursor("slack:plans") >= place.store.events()[-1].seq)
    (parent,) = place.parents()
    assert f"passgate show {change.id}" in str(parent["blocks"])
    assert "The whole plan is in this thread" not in str(parent["blocks"])
    assert files(place) == []
