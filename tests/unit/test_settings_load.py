"""Prove that a mistake in config/ is named with file, line and field, and that no secret is ever shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from passgate.errors import ConfigError
from passgate.settings.load import load_config, resolve
from passgate.settings.place import config_dir, content, home
from passgate.settings.values import FromEnv, FromFile

SHIPPED = Path(__file__).parents[2] / "config"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped config that a test may spoil."""
    copy = tmp_path / "config"
    shutil.copytree(SHIPPED, copy)
    return copy


def spoil(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def line_of(path: Path, text: str) -> int:
    """Return the line, counted from 1, that holds that text."""
    return next(n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if text in line)


def test_the_shipped_config_loads_with_policies_in_name_order() -> None:
    """The config that ships is right, and its standard changes are tried before the rest."""
    config = load_config(SHIPPED)
    names = ["standard-usb-controller", "standard-read-only", "host-wide", "normal", "emergency", "break-glass"]
    assert [rule.name for rule in config.policy.rules] == names
    assert config.policy.rules[-1].approve_within is not None
    assert config.policy.rules[-1].approve_within.total_seconds() == 8 * 3600


@pytest.mark.parametrize(
    ("file", "old", "new", "field", "words"),
    [
        ("site.yaml", "  url:", "  ulr:", "vcenter.ulr", "Did you mean 'url'?"),
        ("site.yaml", "timeout: 30s", "timeout: soon", "vcenter.timeout", "given 'soon'; accepted: a duration"),
        ("site.yaml", "family: windows", "family: dos", "guests[0].family", "'windows' or 'linux'"),
        ("people.yaml", "groups: [operations]", "groups: operations", "people[1].groups", "a list"),
        ("people.yaml", "slack: U0DAVE", "slack: dave", "people[3].slack", "given 'dave'"),
        ("people.yaml", "id: bob", "id: alice", "people[1].id", "also the id of Alice Archer"),
        ("people.yaml", "U0BOB", "U0ALICE", "people[1].slack", "also the Slack user of alice"),
        ("people.yaml", "id: dave", "id: passgate", "people[3].id", "Passgate itself"),
        ("people.yaml", "id: dave", "id: prefect", "people[3].id", "whoever used Prefect directly"),
        ("service.yaml", "[2.0, 10.0, 30.0]", "[]", "retry_delays", "at least 1 item"),
        ("service.yaml", "[2.0, 10.0, 30.0]", "[2.0, -1]", "retry_delays[1]", "accepted: 0 or more"),
        ("service.yaml", "[2.0, 10.0, 30.0]", "[.inf]", "retry_delays[0]", "finite"),
        ("devices.yaml", '"18a5:0302"', "12340302", "devices.backup-stick.vendor_product", "needs quotes"),
        ("service.yaml", "port: 0", "port: 99999", "port", "accepted: at most 65535"),
        ("policies/20-normal.yaml", "needed: 1   ", "needed: 3   ", "rules[1].approval", "nobody can satisfy"),
        ("policies/20-normal.yaml", "[operations]", "[operatoins]", "rules[0].gates", "nobody in people.yaml"),
        ("policies/20-normal.yaml", "host-reboot:", "Host-Reboot:", "rules[0].gates.Host-Reboot", "text that fits"),
        ("policies/20-normal.yaml", "host-reboot:", "plan:", "rules[0].gates", "the gate before the first step"),
        ("policies/20-normal.yaml", "others: true", "others: perhaps", "rules[0].gates.host-reboot.others", "true or"),
        ("policies/20-normal.yaml", "approve_within: 2h", "approve_within: null",
         "rules[0].gates.host-reboot.approve_within", "a duration"),
        ("devices.yaml", '"18a5:0302"', "18a50302", "devices.backup-stick.vendor_product", "such as 18a5:0302"),
        ("policies/20-normal.yaml", "    undo_", "    pre_authorised: true\n    undo_", "rules[1].name", "both"),
        ("policies/10-standard.yaml", "    pre_authorised: true", "", "rules[0].limit", "does not authorise"),
        ("policies/20-normal.yaml", "name: normal", "name: normal\n    vms: [x]", "rules[1].name", "no rule is"),
        ("policies/20-normal.yaml", "    default: true", "", "rules[0].pre_authorised", "authorises nothing"),
        ("policies/10-standard.yaml", "    pre_", "    requesters: [eve]\n    pre_", "rules[0].requesters", "'eve' is"),
    ],
)  # fmt: skip
def test_each_mistake_names_file_line_field_and_what_is_accepted(
    folder: Path, *, file: str, old: str, new: str, field: str, words: str
) -> None:
    """Whoever edits config/ learns where the mistake is, what was given and what would be right."""
    spoil(folder / file, old, new)
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert f"{folder / file}, line " in caught.value.message
    assert f": {field}: " in caught.value.message
    assert words in caught.value.message


def test_the_line_is_the_line_of_the_field(folder: Path) -> None:
    """The line in the message is the one to edit."""
    path = folder / "site.yaml"
    spoil(path, "timeout: 30s", "timeout: soon")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert f"line {line_of(path, 'soon')}: vcenter.timeout" in caught.value.message


def test_all_mistakes_of_a_file_are_named_at_once(folder: Path) -> None:
    """Nobody corrects one mistake only to be told of the next."""
    spoil(folder / "service.yaml", "port: 0", "port: many")
    spoil(folder / "service.yaml", "retry_jitter: 0.3", "retry_jitter: 3")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert len(caught.value.message.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "given a list"),
        ("host: a\nhost: b\n", "line 2: the same field is given twice"),
        ("host:\n\tport: 1\n", "a tab; YAML is indented with spaces"),
        ("host: [1\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("host: \x00\n", "not YAML"),
    ],
)
def test_what_is_not_one_mapping_in_yaml_is_refused_in_words(folder: Path, text: str, words: str) -> None:
    """Broken YAML gives a sentence with the file's name, never a traceback."""
    (folder / "service.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert str(folder / "service.yaml") in caught.value.message
    assert words in caught.value.message


def test_bytes_that_are_not_utf8_are_refused_in_words(folder: Path) -> None:
    """A file in another encoding is named, not a traceback."""
    (folder / "chat.yaml").write_bytes(b"slack: \xff\xfe")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        load_config(folder)


@pytest.mark.parametrize("name", ["chats.yaml", "site.yml", "policies/30-more.yml"])
def test_a_file_that_would_be_overlooked_is_refused(folder: Path, name: str) -> None:
    """A typing error in a file's name is an error and not a default."""
    (folder / name).write_text("rules: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a file that Passgate knows"):
        load_config(folder)


@pytest.mark.parametrize("name", ["site.yaml", "people.yaml", "policies/20-normal.yaml"])
def test_what_every_site_needs_must_be_there(folder: Path, name: str) -> None:
    """Without systems, people or a rule for every change Passgate does not start."""
    (folder / name).unlink()
    with pytest.raises(ConfigError):
        load_config(folder)


def test_optional_files_may_be_left_out(folder: Path) -> None:
    """A site without chat, named devices and lab works."""
    for name in ("chat", "devices", "service", "lab"):
        (folder / f"{name}.yaml").unlink()
    assert load_config(folder).chat.slack is None


@pytest.mark.parametrize("new", ["password: hunter2", "password: {env: 'hunter2 hunter2'}", "password: [hunter2]"])
def test_a_secret_in_the_wrong_place_is_never_shown(folder: Path, new: str) -> None:
    """A password that was written where a reference belongs is refused without being repeated."""
    spoil(folder / "site.yaml", "password: {file: lab/vcenter.password}", new)
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert "vcenter.password" in caught.value.message
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.__cause__ is None


def test_references_are_resolved_when_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value stands for itself; a file is looked up in the home and loses its last newline only."""
    (tmp_path / "secret").write_text(" s3cret \n\n", encoding="utf-8")
    monkeypatch.setenv("PASSGATE_TEST_VALUE", "from the environment")
    assert resolve("plain", tmp_path) == "plain"
    assert resolve(FromFile(file="secret"), tmp_path) == " s3cret \n"
    assert resolve(FromEnv(env="PASSGATE_TEST_VALUE"), tmp_path) == "from the environment"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_reference_to_nothing_is_told_in_words(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or unreadable file names itself and nothing else."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match="secret"):
        resolve(FromFile(file="secret"), tmp_path)
    with pytest.raises(ConfigError, match="PASSGATE_NOT_SET is not set"):
        resolve(FromEnv(env="PASSGATE_NOT_SET"), tmp_path)


def test_places_come_from_the_environment_or_from_the_nearest_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stands below a site's folder uses that site, unless the environment says otherwise."""
    for name in ("PASSGATE_HOME", "PASSGATE_CONTENT", "PASSGATE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in (".passgate", "flows", "tasks", "config", "deep/down"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "down")
    assert (home(), content(), config_dir()) == (tmp_path / ".passgate", tmp_path, tmp_path / "config")
    monkeypatch.setenv("PASSGATE_CONFIG", str(tmp_path / "other"))
    assert config_dir() == tmp_path / "other"


def test_names_of_runbooks_that_there_are_not_are_found() -> None:
    """A rule for `usb-atach` would ask nobody without a word: doctor names it, and the runbooks that there are."""
    from passgate.faces.cli.doctor import _dead_patterns

    config = load_config(SHIPPED)
    runbooks = {path.stem.replace("_", "-") for path in (SHIPPED.parent / "flows").glob("*.py")}
    assert list(_dead_patterns(config, runbooks)) == []
    rule = config.policy.rules[0].model_copy(update={"name": "typo", "runbooks": ("usb-atach", "usb-*")})
    policy = config.policy.model_copy(update={"rules": (*config.policy.rules, rule)})
    assert list(_dead_patterns(config.model_copy(update={"policy": policy}), runbooks)) == [
        "policy rule 'typo': usb-atach"
    ]
