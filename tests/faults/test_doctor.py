"""`passgate doctor` finds the one thing that is wrong, and says what to do about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.house import House

WORLD = 5


def test_a_healthy_house_is_well(house: House) -> None:
    """Every check passes, and the exit code says so."""
    told = house.passgate("doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "All 11 checks passed." in told.stdout
    assert "FAIL" not in told.stdout


def test_a_vcenter_that_does_not_answer_is_named(house: House) -> None:
    """Whatever needs vCenter can't be checked; the cause is told once, and the rest is well."""
    house.lab.control.fault("*", "Disconnect", times=600)
    told = house.passgate("doctor")
    assert told.returncode == WORLD, told.stdout
    assert _failed(told.stdout).keys() == {"vCenter", "privileges", "clock", "shells"}
    assert "What to do" in _failed(told.stdout)["vCenter"]
    assert _failed(told.stdout)["privileges"].endswith("for the same reason as vCenter")


@pytest.mark.parametrize("which", ["bot", "app"])
def test_slack_that_refuses_a_token_is_named(house: House, which: str) -> None:
    """Which of the two tokens is wrong is said, and where to look; never the token."""
    token = house.home / f"lab/slack.{which}_token"
    right = token.read_text(encoding="utf-8")
    token.write_text("xoxb-canary-of-the-doctor\n", encoding="utf-8")
    try:
        told = house.passgate("doctor")
    finally:
        token.write_text(right, encoding="utf-8")
    assert told.returncode == WORLD, told.stdout
    failed = _failed(told.stdout)
    assert failed.keys() == {"Slack", "service"}
    assert f"lab/slack.{which}_token (chat.slack.{which}_token)" in failed["service"], "it was started with another one"
    assert f"{which} token" in failed["Slack"]
    assert "config/chat.yaml" in failed["Slack"]
    assert "canary" not in told.stdout + told.stderr


def test_clocks_that_are_apart_are_named(house: House) -> None:
    """Deadlines and the record lean on time: the difference is said in seconds."""
    house.lab.control.clock(ahead=300)
    told = house.passgate("doctor")
    failed = _failed(told.stdout)
    assert failed.keys() == {"clock"}, told.stdout
    assert "300 s apart" in failed["clock"]
    assert "time servers" in failed["clock"]
    assert told.returncode == WORLD


def test_a_missing_privilege_is_named(house: House) -> None:
    """An account that may not add devices is told which privileges it lacks, and where."""
    user = house.home / "lab/vcenter.user"
    right = user.read_text(encoding="utf-8")
    user.write_text("limited@vsphere.local\n", encoding="utf-8")
    try:
        told = house.passgate("doctor")
    finally:
        user.write_text(right, encoding="utf-8")
    failed = _failed(told.stdout)
    assert failed.keys() == {"privileges", "service"}, told.stdout
    assert "lab/vcenter.user (site.vcenter.user)" in failed["service"], "it was started with another one"
    for name in ("VirtualMachine.Config.AddRemoveDevice", "VirtualMachine.Config.HostUSBDevice", "win-01"):
        assert name in failed["privileges"]
    assert told.returncode == WORLD


def test_terms_for_a_gate_that_no_step_has_are_named(house: House, tmp_path: Path) -> None:
    """A name that was mistyped in a policy would ask nobody: it is found, with the names that there are."""
    config = shutil.copytree(house.lab.config, tmp_path / "config")
    policy = config / "policies/20-normal.yaml"
    policy.write_text(policy.read_text(encoding="utf-8").replace("host-reboot:", "host-rebot:"), encoding="utf-8")
    told = house.passgate("doctor", PASSGATE_CONFIG=str(config))
    failed = _failed(told.stdout)
    assert failed.keys() == {"content"}, told.stdout
    assert "Policy 'host-wide' has terms for the gate host-rebot" in failed["content"]
    assert "guest-reboot, host-reboot" in failed["content"]


def _failed(told: str) -> dict[str, str]:
    """Return the lines of the checks that failed, by check."""
    lines = [line for line in told.splitlines() if line.startswith("FAIL")]
    return {line.split()[1]: line for line in lines}
