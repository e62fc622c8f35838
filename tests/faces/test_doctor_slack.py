"""Promise: `passgate doctor` names each scope that the Slack app lacks, what it is for and what its lack costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from passgate.connect.slack.scopes import SCOPES, Use, missing
from passgate.errors import ConfigError, WorldError
from passgate.faces.cli.doctor import CHECKS, Bench
from passgate.lab.slack import SlackServer
from tests.house import ROOT

APP = "xapp-lab-app"
MANIFEST = ROOT / "docs/how-to/slack-app-manifest.yaml"


@pytest.fixture
def slack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlackServer:
    """Lend the lab's Slack and a config that binds a group and has a heartbeat."""
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    people = config / "people.yaml"
    people.write_text(f"{people.read_text()}\nslack_groups:\n  operations: S0OPS\n")
    chat = config / "chat.yaml"
    chat.write_text(f"{chat.read_text()}\n  heartbeat_channel: C0PASSGATE\n")
    (tmp_path / "lab").mkdir()
    monkeypatch.setenv("PASSGATE_CONFIG", str(config))
    monkeypatch.setenv("PASSGATE_HOME", str(tmp_path))
    return SlackServer(bot_token="xoxb-lab-bot", app_token=APP)


def write(home: Path, slack: SlackServer) -> None:
    """Write what config refers to."""
    (home / "lab/slack.bot_token").write_text("xoxb-lab-bot")
    (home / "lab/slack.app_token").write_text(APP)
    (home / "lab/slack.url").write_text(slack.api_url)


def test_the_scopes_of_the_manifest_are_enough(slack: SlackServer, tmp_path: Path) -> None:
    """An app made from the manifest that ships lacks nothing, whatever config asks for."""
    scopes = YAML(typ="safe").load(MANIFEST)["oauth_config"]["scopes"]["bot"]
    with slack:
        write(tmp_path, slack)
        slack.order(scopes=scopes)
        told = CHECKS["Slack"](Bench())
    assert "all scopes" in told
    assert "user groups operations" in told


@pytest.mark.parametrize("scope", [one for one in SCOPES if not one.or_else], ids=lambda one: one.name)
def test_a_scope_that_is_missing_is_named_with_what_it_costs(slack: SlackServer, tmp_path: Path, scope: object) -> None:
    """Each one by its name, and no other."""
    with slack:
        write(tmp_path, slack)
        slack.order(scopes=[one.name for one in SCOPES if one is not scope])
        with pytest.raises(ConfigError) as caught:
            CHECKS["Slack"](Bench())
    named = [one for one in SCOPES if f"{one.name}, to" in caught.value.message]
    assert named == [scope]
    assert named[0].without in caught.value.message


def test_a_plan_of_slack_without_user_groups_is_said_in_words(slack: SlackServer, tmp_path: Path) -> None:
    """The scope may be granted and the workspace's plan still have none."""
    with slack:
        write(tmp_path, slack)
        slack.order(scopes=[one.name for one in SCOPES])
        slack.fail("usergroups.users.list", error="plan_upgrade_required")
        with pytest.raises(WorldError, match="its plan has none"):
            CHECKS["Slack"](Bench())


def test_a_site_needs_only_what_it_uses() -> None:
    """Without user groups and heartbeat their scopes are not asked for; a private channel's does for a public one's."""
    plain = {one.name for one in SCOPES if one.of is Use.ALWAYS}
    assert missing(plain) == ()
    assert missing(plain - {"channels:history"} | {"groups:history"}) == ()
    assert [one.name for one in missing(plain, (Use.ALWAYS, Use.USER_GROUPS))] == ["usergroups:read"]
