"""Hold the documents to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from passgate.connect.slack.scopes import SCOPES
from passgate.connect.vsphere.reading import HOST_PRIVILEGES, PRIVILEGES
from passgate.faces.chat.commands import COMMAND as SLASH
from passgate.faces.chat.commands import SHORTCUT
from passgate.faces.cli.main import build
from passgate.faces.cli.main import main as passgate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
COMMAND = re.compile(r"(?:\$ )?(?:PASSGATE_TOKEN=\S+ )?passgate ([a-z]+(?: [a-z-]+)?)(.*)")
ROOMS = "tests|flows|tasks|config|docs|passgate|engine|store|policy|ledger|connect|faces|settings|model"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_only_what_exists(page: Path) -> None:
    """Every link leads to a file, every path in the text is one (from the root or inside passgate/)."""
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(rf"`((?:{ROOMS})/[\w/.-]+)`", text)
    assert [path for path in paths if not ((ROOT / path).exists() or (ROOT / "passgate" / path).exists())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shows_only_commands_that_there_are(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command line that a page shows names a command of this version, with options that it has."""
    shown = [line for line in page.read_text("utf-8").splitlines() if line.startswith("    ")]
    calls = [part.strip() for line in shown for part in re.split(r"&&|#", line)]
    found = [match for one in calls if (match := COMMAND.fullmatch(one))]
    for words, rest in (one.groups() for one in found):
        command = words.split()
        tree = build(command)
        path = command if len(command) > 1 and command[0] in tree and command[1] in tree[command[0]] else command[:1]
        assert passgate([*path, "--help"]) == 0
        told = capsys.readouterr().out
        assert f"passgate {' '.join(path)}" in told
        assert [one for one in re.findall(r"(?<= )--[a-z-]+", rest) if one not in told + "--json"] == []


def test_asks_for_the_privileges_and_scopes_that_the_code_needs() -> None:
    """What an operator grants by the pages is what doctor asks for, no more and no less."""
    site = (ROOT / "docs/how-to/own-site.md").read_text(encoding="utf-8")
    named = {
        one if one.startswith(("Resource", "Host")) else f"VirtualMachine.{one}"
        for one in re.findall(
            r"`(?:VirtualMachine)?\.?((?:Config|Interact|GuestOp|Resource|Host\.Config|Host\.Inventory)\w*\.\w+)`", site
        )
    }
    assert named == {*PRIVILEGES, *HOST_PRIVILEGES}
    manifest = YAML(typ="safe").load(ROOT / "docs/how-to/slack-app-manifest.yaml")
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == {one.name for one in SCOPES}
    assert [one["command"] for one in manifest["features"]["slash_commands"]] == [SLASH]
    assert [one["callback_id"] for one in manifest["features"]["shortcuts"]] == [SHORTCUT]
    assert manifest["features"]["app_home"]["home_tab_enabled"]
    assert set(manifest["settings"]["event_subscriptions"]["bot_events"]) == {"app_home_opened", "message.groups"}
