"""Promise: a service can say what of its settings changed since it was started, by name and never by value."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from passgate.settings.load import load_config
from passgate.settings.loaded import Loaded
from tests.house import ROOT


def append(file: str, text: str) -> Callable[[Path], object]:
    """Return what adds text to a file of the home."""

    def edit(home: Path) -> None:
        path = home / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.read_text() if path.exists() else ''}{text}")

    return edit


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (append("config/people.yaml", "  - {id: erin, name: Erin}\n"), ("people.yaml",)),
        (append("config/people.yaml", "# a comment changes nothing\n"), ()),
        (append("config/policies/90-more.yaml", "rules: [{name: more, pre_authorised: true}]\n"), ("policies/",)),
        (append("lab/vcenter.url", "https://elsewhere"), ("lab/vcenter.url (site.vcenter.url)",)),
        (append("lab/vcenter.password", "canary"), ()),
        (append("lab/guest.linux.password", "canary"), ()),
        (append("config/site.yaml", "no: such field\n"), ()),
    ],
    ids=[
        "a person",
        "a comment",
        "a policy",
        "an endpoint",
        "a password that is read at each login",
        "a guest's, too",
        "a mistake",
    ],
)
def test_what_changed_since_the_start_is_named(
    tmp_path: Path, edit: Callable[[Path], object], names: tuple[str, ...]
) -> None:
    """What is in the file counts, not how it is written; what is read anew at each use needs no restart."""
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    started = Loaded.now(config, tmp_path, load_config(config))
    assert started.outdated() == ()
    edit(tmp_path)
    assert started.outdated() == names
    assert "canary" not in repr(started)
