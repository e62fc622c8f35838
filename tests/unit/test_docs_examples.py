"""Prove that what the docs say config may look like is what Passgate loads."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from passgate.settings.load import load_config
from tests.lab_site import SHIPPED

PAGES = Path(__file__).parents[2] / "docs"
FENCED = re.compile(r"^```yaml\n# config/(?P<file>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(found["file"], found["text"], id=f"{page.stem}: {found['file']}")
    for page in sorted(PAGES.rglob("*.md"))
    for found in FENCED.finditer(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("file", "text"), EXAMPLES)
def test_an_example_loads_in_the_shipped_config(tmp_path: Path, file: str, text: str) -> None:
    """Each block of a page that begins with the name of a file in config/ is what stands in that file."""
    config = tmp_path / "config"
    shutil.copytree(SHIPPED, config)
    path = config / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    load_config(config)


def test_there_are_examples() -> None:
    """The pages are found, and their blocks too."""
    assert len(EXAMPLES) > 5
