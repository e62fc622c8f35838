"""Prove that no text in config/ gets anything but a Config or a ConfigError out of the loader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from passgate.errors import ConfigError
from passgate.settings.load import FILES, load_config

SHIPPED = Path(__file__).parents[2] / "config"
NAMES = (
    "vcenter",
    "url",
    "password",
    "file",
    "env",
    "people",
    "id",
    "groups",
    "rules",
    "approval",
    "needed",
    "devices",
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NAMES)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | scalars, inner, max_size=3),
    max_leaves=12,
)
yaml_like = st.text(alphabet="ab:-{}[]&*!|>'\"%@#,? \n\t~0", max_size=60)
files = st.sampled_from([*(f"{name}.yaml" for name in FILES), "policies/20-normal.yaml"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the shipped config."""
    copy = tmp_path_factory.mktemp("fuzz") / "config"
    shutil.copytree(SHIPPED, copy)
    return copy


@given(files, yaml_like | values.map(lambda value: json.dumps(value, default=str)))
@example("service.yaml", "a: &a [*a]")
@example("service.yaml", "a: *nobody")
@example("service.yaml", "<<: {host: a}\nport: x")
@example("service.yaml", "? [a, b]\n: c")
@example("people.yaml", "people: &p [{id: *p}]")
@example("site.yaml", "!!python/object:os.system {}")
@example("site.yaml", "file: x")
@example("site.yaml", "vcenter: {env: x}")
@example("service.yaml", "host: 2026-11-23")
@example("service.yaml", "host: !!binary abc")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_config_or_a_config_error(folder: Path, name: str, text: str) -> None:
    """However broken a file is, its editor gets words."""
    path = folder / name
    original = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    said = f"{folder} is fine"
    try:
        load_config(folder)
    except ConfigError as error:
        said = error.message
    finally:
        path.write_text(original, encoding="utf-8")
    assert str(folder) in said
