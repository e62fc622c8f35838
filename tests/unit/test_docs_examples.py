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
EXAMPLES = {
    page.stem: [(found["file"], found["text"]) for found in FENCED.finditer(page.read_text(encoding="utf-8"))]
    for page in sorted(PAGES.rglob("*.md"))
}


@pytest.mark.parametrize("page", [page for page, blocks in EXAMPLES.items() if blocks])
def test_the_examples_of_a_page_load_in_the_shipped_config(tmp_path: Path, page: str) -> None:
    """Each block that begins with the name of a file in config/ is what stands in that file, beside the others."""
    config = tmp_path / "config"
    shutil.copytree(SHIPPED, config)
    for file, text in EXAMPLES[page]:
        path = config / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    load_config(config)


def test_there_are_examples() -> None:
    """The pages are found, and their blocks too."""
    assert len(EXAMPLES["policies"]) > 5
