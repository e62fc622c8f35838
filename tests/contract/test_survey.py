"""Survey a whole lab over its wires: what one host does not tell is a row, and nothing ends the survey but vCenter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from passgate.engine.estate import Estate
from passgate.engine.survey import Survey
from passgate.errors import UnknownNameError, UnreachableError
from passgate.model.census import Census, CensusRow, FindingCode, Kind, Use, take_census
from passgate.settings.load import load_config
from tests.lab_site import Lab

ESX_01, ESX_02, ESX_03 = (f"esx-0{number}.lab.example" for number in (1, 2, 3))


@pytest.fixture(scope="module")
def whole_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Estate]]:
    """Run one lab for all tests."""
    with Lab.start(tmp_path_factory.mktemp("survey")) as lab:
        estate = Estate(load_config(lab.config), lab.home)
        yield lab, estate
        estate.close()


@pytest.fixture
def lab(whole_lab: tuple[Lab, Estate]) -> Lab:
    """Lend the lab as it was at its start."""
    whole_lab[0].control.reset()
    return whole_lab[0]


@pytest.fixture
def estate(whole_lab: tuple[Lab, Estate]) -> Estate:
    """Lend the connections to it."""
    return whole_lab[1]


def census(estate: Estate, *hosts: str, **how: Any) -> Census:
    """Take a census."""
    return take_census(estate.survey.read(hosts, **how))


def of(found: Census, host: str) -> list[CensusRow]:
    """Return the rows of a host."""
    return [row for row in found.rows if row.host == host]


def devices(rows: list[CensusRow]) -> set[tuple[str, str, Use, str]]:
    """Return place, serial, use and user of the devices that are offered."""
    return {(one.place, one.serial, one.use, one.user) for one in rows if one.kind is Kind.USB and one.place}


def test_everything_is_read_in_one_walk_and_one_call_for_each_host(lab: Lab, estate: Estate) -> None:
    """Serials come from the shells, paths and users from vCenter; nothing is asked VM by VM."""
    estate.survey.read()  # logs in
    before = lab.control.get("/calls")["calls"]

    found = census(estate)

    after = lab.control.get("/calls")["calls"]
    asked = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    assert asked == {"RetrievePropertiesEx": 1, "QueryConfigTarget": 3}
    assert (found.hosts, found.unread) == (3, 0)
    assert devices(of(found, ESX_01)) >= {
        ("0/1/3", "07A40901A2B3C4D5", Use.FREE, ""), ("0/2/1", "4C530001230101", Use.FREE, ""),
    }  # fmt: skip
    assert devices(of(found, ESX_02)) >= {
        ("0/1/2", "", Use.USED, "lic-01"), ("0/1/4", "", Use.FREE, ""), ("0/1/6", "5B2A1E6F", Use.FREE, ""),
    }  # fmt: skip
    assert [one.words for row in of(found, ESX_03) for one in row.findings if one.code is FindingCode.ARBITRATOR]
    assert lab.control.mutations() == []


def test_a_host_that_vcenter_lost_is_a_row_with_the_reason(lab: Lab, estate: Estate) -> None:
    """The others are read all the same."""
    lab.control.set_host(ESX_02, connection="notResponding")

    found = census(estate)

    (row,) = of(found, ESX_02)
    assert (row.use, row.findings[0].words) == (Use.UNREAD, "vCenter shows it as notResponding")
    assert ("0/1/3", "07A40901A2B3C4D5", Use.FREE, "") in devices(of(found, ESX_01))
    assert "2 of 3 hosts read" in found.summary


def test_a_host_that_vcenter_can_not_ask_is_a_row_with_its_words(lab: Lab, estate: Estate) -> None:
    """A fault of one QueryConfigTarget is that host's own; it is told in words."""
    lab.control.fault("QueryConfigTarget", "HostCommunication", times=1)

    found = census(estate)

    (unread,) = [row for row in found.rows if row.findings and row.findings[0].code is FindingCode.NOT_READ]
    assert "list the USB devices of" in unread.findings[0].words
    assert found.unread == 1


@pytest.mark.parametrize("how", ["down", "cut off", "slow to connect"])
def test_a_shell_that_fails_costs_that_hosts_serials_and_nothing_else(lab: Lab, estate: Estate, how: str) -> None:
    """Refused, cut off in the middle, or gone: paths and users are there, and the reason is."""
    if how == "down":
        lab.control.service(ESX_01, "TSM-SSH", running=False)
    elif how == "cut off":
        lab.control.fault("ssh:exec", "Disconnect", object=ESX_01, times=9)
    else:
        lab.control.fault("ssh:connect", "Disconnect", object=ESX_01, times=9, delay=0.3)

    found = census(estate)

    (shell,) = [row for row in of(found, ESX_01) if row.kind is Kind.HOST]
    assert shell.findings[0].code is FindingCode.SHELL
    assert ESX_01 in shell.findings[0].words
    assert devices(of(found, ESX_01)) >= {("0/1/3", "", Use.FREE, ""), ("0/2/1", "", Use.FREE, "")}
    assert ("0/1/6", "5B2A1E6F", Use.FREE, "") in devices(of(found, ESX_02))


def test_a_session_that_is_lost_in_the_middle_is_made_anew(lab: Lab, estate: Estate) -> None:
    """A login that is forgotten between the walk and the hosts shows in nothing."""
    whole = census(estate)
    forgotten = threading.Event()

    def forget(done: int, _: int) -> None:
        if done == 0:
            lab.control.expire_sessions()
            forgotten.set()

    found = census(estate, progress=forget)

    assert forgotten.is_set()
    assert found.model_copy(update={"read_at": whole.read_at}) == whole


def test_a_vcenter_that_is_gone_is_not_asked_for_every_host(lab: Lab, estate: Estate) -> None:
    """Answers that never come end in rows, not in a timeout for each of thousands of hosts."""
    lab.control.fault("QueryConfigTarget", "Disconnect", times=99)
    survey = Survey(estate.session, None, at_once=1)

    reading = survey.read(shells=False)

    survey.close()
    reasons = [one.failed or "" for one in reading.readings]
    assert ["list the USB devices of" in one for one in reasons] == [True, True, False]
    assert reasons[-1] == "not asked: vCenter had stopped to answer"


def test_shells_are_left_alone_where_nobody_asks_for_them(lab: Lab, estate: Estate) -> None:
    """Without shells there are no serials, and no complaint about it."""
    lab.control.fault("ssh:connect", "Disconnect", times=99)

    found = census(estate, shells=False)

    assert {row.serial for row in found.rows} == {""}
    assert not any(one.code is FindingCode.SHELL for row in found.rows for one in row.findings)


def test_only_the_hosts_that_fit_are_asked_and_all_vms_are_judged(lab: Lab, estate: Estate) -> None:
    """A pattern narrows the hosts; a pattern that fits none is an error that says what there is."""
    found = census(estate, "esx-02*")

    assert {row.host for row in found.rows} == {ESX_02}
    with pytest.raises(UnknownNameError, match="esx-9"):
        census(estate, "esx-9*")


def test_whoever_leaves_ends_the_reading(lab: Lab, estate: Estate) -> None:
    """A survey that nobody waits for any more stops asking."""
    stop = threading.Event()
    stop.set()

    with pytest.raises(UnreachableError, match="broken off"):
        estate.survey.read(stop=stop)


def test_another_device_at_the_path_of_a_vm_that_is_off_is_against_config(lab: Lab, estate: Estate) -> None:
    """Autoconnect follows the path: the VM would get the stranger when it starts, and the census says so before."""
    lab.control.set_vm("lic-01", power="poweredOff")
    lab.control.unplug(ESX_02, "0/1/2")
    stranger = {"vendor": 0x0781, "product": 0x5583, "name": "SanDisk Ultra Fit", "serial": "X1"}
    lab.control.plug(ESX_02, "0/9/9", to="0/1/2", **stranger)

    (row,) = [one for one in of(census(estate), ESX_02) if one.place == "0/1/2"]

    assert (row.ids, row.serial, row.use, row.user) == ("0781:5583", "X1", Use.RESERVED, "lic-01")
    assert [one.code for one in row.findings] == [FindingCode.ANOTHER_DEVICE]


def test_pci_functions_are_told_by_the_states_of_their_passthrough(lab: Lab, estate: Estate) -> None:
    """Not enabled, enabled but not in effect before a reboot, free, and named by a VM that is off."""
    renesas = "0000:05:00.0"

    def use() -> tuple[Use, str]:
        rows = of(census(estate, "esx-02*", shells=False), ESX_02)
        (row,) = [one for one in rows if one.kind is Kind.PCI and one.place == renesas]
        return row.use, row.user

    seen = [use()]
    lab.control.passthrough(ESX_02, enable=[renesas])
    seen.append(use())
    lab.control.passthrough(ESX_02, enable=[renesas], live=True)
    seen.append(use())
    lab.control.function("win-02", renesas)
    seen.append(use())

    assert seen == [(Use.NOT_ENABLED, ""), (Use.NEEDS_REBOOT, ""), (Use.FREE, ""), (Use.RESERVED, "win-02")]
