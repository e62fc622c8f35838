"""Prove that the JSON schemas in config/schema/ are those of the settings, and that editors find them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from passgate.settings.schema import outdated

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted(CONFIG.rglob("*.yaml"))


def test_the_schemas_are_those_of_the_settings() -> None:
    """Whoever edits config/ in an editor is told what the loader will accept."""
    assert outdated(CONFIG / "schema") == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_names_its_schema_and_fits_it(path: Path) -> None:
    """The schema that a file names in its first line exists, and the file as shipped is valid under it."""
    text = path.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named
    schema = json.loads((path.parent / named[1]).read_text(encoding="utf-8"))
    jsonschema.validate(YAML(typ="safe", pure=True).load(text), schema)
