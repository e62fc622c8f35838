"""Take a census whole: from the request to chat, Prefect's table and the evidence, with nothing touched."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from passgate.ledger import offline
from passgate.ledger.evidence import BadEvidence, Evidence, verify_evidence
from passgate.model.census import COLUMNS
from passgate.model.change import Change, EventType, State
from tests.house import House, until
from tests.slack_channel import Channel
from tests.workshop import Workshop

ESX_01, ESX_02 = "esx-01.lab.example", "esx-02.lab.example"


def asked(house: House, **ask: Any) -> Change:
    """File a census as alice."""
    answer = house.call("alice", "POST", "/v1/changes", runbook="usb-census", ask={"reason": "a test", **ask})
    assert answer.status_code == 201, answer.text
    return house.store.change(answer.json()["id"])


def evidence(house: House, change: Change) -> tuple[Path, dict[str, bytes]]:
    """Wait for the evidence, and return its files."""
    path = house.home / "evidence" / f"{change.id}.zip"
    until(path.exists, f"the evidence of {change.id}", told=house.told(change))
    with zipfile.ZipFile(path) as bundle:
        return path, {name: bundle.read(name) for name in bundle.namelist()}


def is_refused_when_altered(path: Path, files: dict[str, bytes], key: str) -> None:
    """See that a table that was altered, left out or put in is found, by a manifest that fits it too."""
    name = "tables/1-usb-census.csv"
    altered = {**files, name: files[name].replace(b"lic-01", b"lic-02")}
    left_out = {one: content for one, content in files.items() if one != name}
    put_in = {**files, "tables/2-usb-census.csv": b"x"}
    for wrong, where in ((altered, name), (left_out, name), (put_in, "tables/2-usb-census.csv")):
        told = {**wrong, "manifest.json": offline.manifest(path.stem, wrong)}
        forged = path.with_name("forged.zip")
        with zipfile.ZipFile(forged, "w") as bundle:
            for one, content in told.items():
                bundle.writestr(one, content)
        found = verify_evidence(forged, key)
        forged.unlink()
        assert isinstance(found, BadEvidence)
        assert found.file == where


def rows_of(files: dict[str, bytes]) -> list[dict[str, str]]:
    """Return the rows of the census in an evidence file."""
    return list(csv.DictReader(io.StringIO(files["tables/1-usb-census.csv"].decode(), newline="")))


def test_a_census_needs_no_approval_touches_nothing_and_leaves_its_rows(house: House) -> None:
    """Pre-authorised by the shipped policy: its rows are in the evidence, vouched for by the ledger, and shown."""
    change = asked(house)
    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert ended.terms is not None
    assert ended.terms.policy == "standard-read-only"
    assert "3 of 3 hosts read" in ended.outcome
    assert house.lab.control.mutations() == []

    path, files = evidence(house, change)
    assert house.store.verifier_key is not None
    assert isinstance(verify_evidence(path, house.store.verifier_key.text), Evidence)
    is_refused_when_altered(path, files, house.store.verifier_key.text)
    rows = rows_of(files)
    assert tuple(rows[0]) == COLUMNS
    assert json.loads(files["tables/1-usb-census.json"])["rows"] == rows
    used = [(row["host"], row["place"], row["vm"], row["vm power"]) for row in rows if row["use"] == "used"]
    assert used == [(ESX_02, "0/1/2", "lic-01", "on")]

    said = "\n".join(Channel(house).told(change))
    assert "07A40901A2B3C4D5" not in said, "chat shows the brief columns"
    assert "Verbatim STORE N GO" in said
    assert f"All {len(rows)} rows" in said
    key = f"{change.id.lower()}-1-usb-census"

    def artifacts() -> list[dict[str, Any]]:
        found = house.prefect("POST", "/artifacts/filter", artifacts={"key": {"any_": [key]}}).json()
        return [one for one in found if one["type"] == "table"]

    until(lambda: bool(artifacts()), "Prefect has the table")
    shown = artifacts()[0]["data"]
    assert (json.loads(shown) if isinstance(shown, str) else shown) == rows


def test_what_one_host_does_not_tell_is_a_row_and_the_census_is_done(workshop: Workshop) -> None:
    """A shell that is down and a host that is away: both have their reasons, in the rows and in the outcome."""
    workshop.lab.control.service(ESX_01, "TSM-SSH", running=False)
    workshop.lab.control.set_host(ESX_02, connection="notResponding")

    ended = workshop.ends(asked(workshop))

    assert ended.state is State.DONE, ended.outcome
    assert f"not read whole: {ESX_01}, {ESX_02}" in ended.outcome
    notes = {row["host"]: row["notes"] for row in rows_of(evidence(workshop, ended)[1]) if row["use"] == "not read"}
    assert "did not answer" in notes[ESX_01]
    assert notes[ESX_02] == "vCenter shows it as notResponding"


@pytest.mark.parametrize("trouble", ["a session that is lost", "a kill"])
def test_a_census_that_is_cut_off_in_the_middle_is_taken_whole(house: House, trouble: str) -> None:
    """A login that vCenter forgets, and a service that dies: the next look begins anew and ends as if nothing was."""
    house.lab.control.fault("QueryConfigTarget", delay=2.0, times=3)
    change = asked(house)
    until(
        lambda: any(one.type is EventType.STEP_INTENT for one in house.store.events(change=change.id)),
        "the census is begun",
        told=house.told(change),
    )
    if trouble == "a kill":
        house.kill_service()
        house.up()
    else:
        house.lab.control.expire_sessions()

    ended = house.ends(change)

    assert ended.state is State.DONE, ended.outcome
    assert "3 of 3 hosts read" in ended.outcome
    assert {row["host"] for row in rows_of(evidence(house, ended)[1]) if row["kind"] == "usb"} >= {ESX_01, ESX_02}


def test_a_host_that_does_not_exist_is_refused_before_anything_is_filed(workshop: Workshop) -> None:
    """A typing error in a pattern must not end as a census of nothing."""
    answer = workshop.call("alice", "POST", "/v1/changes", runbook="usb-census", ask={"host": ["esx-9*"]})

    assert answer.status_code == 404
    assert "esx-9*" in answer.json()["error"]["message"]
    assert ESX_01 in answer.json()["error"]["hint"]
