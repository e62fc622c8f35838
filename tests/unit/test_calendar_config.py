"""Prove that a mistake in config/calendar/ is named with file, line and field, and that no file is overlooked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from passgate.errors import ConfigError
from passgate.settings.load import load_config

SHIPPED = Path(__file__).parents[2] / "config"
WINDOWS, FREEZES, ICS = "10-windows.yaml", "20-freezes.yaml", "year-end.ics"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped config that a test may spoil."""
    copy = tmp_path / "config"
    shutil.copytree(SHIPPED, copy)
    return copy


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (WINDOWS, "name: weeknights", "name: Week nights", ("windows[0].name", "text that fits")),
        (WINDOWS, "    risks:", "    rsiks:", ("windows[0].rsiks", "Did you mean 'risks'?")),
        (WINDOWS, "2026-01-05 22:00", "2026-01-05T22:00Z", ("windows[0].when[0].start", "a local time without")),
        (WINDOWS, "2026-01-05 22:00", "22:00", ("windows[0].when[0].start", "a local time without")),
        (WINDOWS, "duration: 6h", "duration: 0h", ("windows[0].when[0].duration", "at most 366 days")),
        (WINDOWS, "FREQ=WEEKLY", "FREQ=HOURLY", ("windows[0].when[0]", "FREQ is one of YEARLY")),
        (WINDOWS, "FREQ=WEEKLY", "FREQ=OFTEN", ("windows[0].when[0]", "an RRULE (RFC 5545)")),
        (WINDOWS, "FREQ=WEEKLY", "RRULE:FREQ=WEEKLY", ("windows[0].when[0]", "without the word itself")),
        (WINDOWS, "FREQ=WEEKLY", "FREQ=WEEKLY;INTERVAL=0", ("windows[0].when[0]", "an INTERVAL of 1 or more")),
        (WINDOWS, "FREQ=WEEKLY", "FREQ=WEEKLY;UNTIL=20261231T000000Z", ("windows[0].when[0]", "without the Z")),
        (WINDOWS, "FREQ=WEEKLY", "FREQ=WEEKLY;COUNT=0", ("windows[0].when[0]", "this one never does")),
        (WINDOWS, "overrun: finish-run", "overrun: perhaps", ("windows[0].overrun", "'finish-step'")),
        (WINDOWS, "# zone: Europe/Vienna", "zone: Europe/Wien", ("zone", "the IANA name of a time zone")),
        (WINDOWS, "# zone: Europe/Vienna", "zone: CEST", ("zone", "the IANA name of a time zone")),
        (FREEZES, "name: year-end", "name: holidays", ("freezes[1].name", "two entries called 'holidays'")),
        (FREEZES, "name: year-end", "name: weeknights", ("freezes[1].name", "two entries called 'weeknights'")),
        (FREEZES, "country: AT", "country: XX", ("freezes[0].when[0]", "a country whose holidays are known")),
        (FREEZES, "country: AT", "country: Austria", ("freezes[0].when[0].country", "text that fits")),
        (FREEZES, "country: AT", "{country: AT, subdivision: BY}", ("freezes[0].when[0]", "a subdivision of that")),
        (FREEZES, "country: AT", "yearly: true", ("freezes[0].when[0]", "{country, subdivision} for holidays")),
        (FREEZES, "ics: year-end.ics", "ics: yearend.ics", ("freezes[1].when[0].ics", "Did you mean 'year-end.ics'?")),
        (FREEZES, "ics: year-end.ics", "ics: ../people.ics", ("freezes[1].when[0].ics", "text that fits")),
        (FREEZES, "override: [operations]", "override: [operatoins]", ("freezes[0].override", "nobody in people.yaml")),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_and_field(
    folder: Path, file: str, old: str, new: str, said: tuple[str, str]
) -> None:
    """R38: nobody has to guess why a window or a freeze is not as it was meant."""
    path = folder / "calendar" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    told, (field, words) = caught.value.message, said
    assert f"{path}, line " in told
    assert f": {field}: " in told
    assert words in told


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("TZID=Europe/Vienna", "TZID=Europe/Wien", 7, "'Europe/Wien' is no IANA time zone"),
        ("20261218T180000", "tomorrow", 5, "DTSTART"),
        ("FREQ=YEARLY", "FREQ=OFTEN", 5, "RRULE"),
        ("BEGIN:VCALENDAR\n", "", 1, "not an ICS file"),
        ("DTSTART;TZID=Europe/Vienna:20261218T180000\n", "", 5, "has no DTSTART"),
    ],
)
def test_a_flaw_in_an_ics_file_is_named_with_its_line(folder: Path, old: str, new: str, line: int, words: str) -> None:
    """R38: an ICS file that would be misread is refused when config is loaded, not found out in the night."""
    path = folder / "calendar" / ICS
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    assert f"{path}, line {line}: " in caught.value.message
    assert words in caught.value.message


@pytest.mark.parametrize("name", ["calendar/30-more.yml", "calendar/30-more.ical", "maintenance.ics", "calendars.yaml"])
def test_no_file_is_overlooked(folder: Path, name: str) -> None:
    """A freeze that nobody reads must not look like one that holds."""
    shutil.copy(folder / "calendar" / ICS, folder / name)
    with pytest.raises(ConfigError, match="not a file that Passgate knows"):
        load_config(folder)


def test_an_ics_file_that_no_entry_names_is_refused(folder: Path) -> None:
    """The same goes for the events of an ICS file."""
    shutil.copy(folder / "calendar" / ICS, folder / "calendar/outages.ics")
    with pytest.raises(ConfigError, match=r"outages\.ics: no window and no freeze names this file"):
        load_config(folder)


def test_each_entry_has_the_zone_of_itself_its_file_or_the_site(folder: Path) -> None:
    """Times are meant in the nearest zone that is named; where none is, in UTC."""
    path = folder / "calendar" / FREEZES
    text = path.read_text(encoding="utf-8")
    assert {one.zone for one in load_config(folder).calendar.freezes} == {"UTC"}
    site = folder / "site.yaml"
    site.write_text(f"zone: Europe/Vienna\n{site.read_text(encoding='utf-8')}", encoding="utf-8")
    assert {one.zone for one in load_config(folder).calendar.freezes} == {"Europe/Vienna"}
    own = text.replace("name: holidays", "name: holidays\n    zone: Asia/Tokyo")
    path.write_text(f"zone: America/New_York\n{own}", encoding="utf-8")
    calendar = load_config(folder).calendar
    assert [one.zone for one in calendar.freezes] == ["Asia/Tokyo", "America/New_York"]
    assert calendar.windows[0].zone == "Europe/Vienna"


def test_without_a_calendar_everything_may_run_at_any_time(folder: Path) -> None:
    """The calendar is optional."""
    shutil.rmtree(folder / "calendar")
    assert load_config(folder).calendar.windows == ()
