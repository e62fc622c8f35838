"""Prove what `passgate census` and its API promise: rows as they are now, in three forms, and nothing filed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from passgate.model.census import COLUMNS
from tests.faces.served import Served
from tests.lab_site import Lab


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a desk on a lab."""
    with Lab.start(tmp_path_factory.mktemp("census")) as lab, Served(lab) as served:
        yield served


def test_a_table_for_people(service: Served) -> None:
    """Columns below a head, the summary last, and no progress where nobody sits at a terminal."""
    done = service.run("census")

    assert done.code == 0
    head, *rows, summary = done.out.splitlines()
    assert head.split()[:3] == ["host", "cluster", "kind"]
    assert any("lic-01" in row and "0529:0001" in row for row in rows)
    assert summary.startswith("3 of 3 hosts read")
    assert done.err == ""


def test_csv_and_json_hold_the_same_rows(service: Served) -> None:
    """Programs get every column; `--json` is the same document as `--format json`."""
    sheet = list(csv.DictReader(io.StringIO(service.run("census", "--format", "csv").out, newline="")))
    told = json.loads(service.run("census", "--format", "json").out)

    assert tuple(sheet[0]) == COLUMNS
    assert len(sheet) == len(told["rows"])
    assert {row["place"] for row in sheet} == {row["place"] for row in told["rows"]}
    assert service.run("census", "--json").data["rows"] == told["rows"]
    assert (told["hosts"], told["unread"]) == (3, 0)


def test_hosts_are_chosen_and_shells_left_alone(service: Served) -> None:
    """`--host` takes patterns, several times; without shells there are no serials."""
    told = service.run("census", "--host", "esx-01*", "--host", "esx-02.lab.example", "--no-shells", "--json").data

    assert {row["host"] for row in told["rows"]} == {"esx-01.lab.example", "esx-02.lab.example"}
    assert {row["serial"] for row in told["rows"]} == {""}


def test_a_pattern_that_fits_no_host_is_an_error_with_what_there_is(service: Served) -> None:
    """The error comes before or after the first line of the answer; people see the same."""
    done = service.run("census", "--host", "esx-9*")

    assert (done.code, done.out) == (2, "")
    assert "'esx-9*'" in done.err
    assert "esx-01.lab.example" in done.err


def test_a_vcenter_that_does_not_answer_is_an_error_of_the_world(service: Served) -> None:
    """Without the walk there is no census; nothing is made up."""
    service.lab.control.fault("RetrievePropertiesEx", "Disconnect", times=9)
    try:
        done = service.run("census")
    finally:
        service.lab.control.clear_faults()

    assert done.code == 5
    assert "Could not read all hosts and VMs" in done.err


def test_the_api_streams_lines_and_knows_who_asks(service: Served) -> None:
    """Progress first, then a line for each row, then the summary; without a token, nothing; nothing is filed."""
    assert service.ask("GET", "/v1/census", person=None).status_code == 401
    before = len(service.store.changes())

    lines = [json.loads(line) for line in service.ask("GET", "/v1/census").text.splitlines()]

    kinds = [next(iter(line)) for line in lines]
    assert kinds[-1] == "census"
    assert set(kinds[: kinds.index("row")]) <= {"progress"}
    assert lines[-1]["census"]["rows"] == kinds.count("row")
    assert len(service.store.changes()) == before


@pytest.mark.parametrize("query", ["shells=maybe", "&".join(["host=x"] * 101)])
def test_bad_questions_are_refused(service: Served, query: str) -> None:
    """The field is named."""
    answer = service.ask("GET", f"/v1/census?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]["subject"] in {"shells", "host"}
