"""What docs/profiles.md shows is what the command and the scheduler take and refuse."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.nights import calendar_files
from cli.nights.calendar_files import read_calendar
from cli.nights.profile_files import FILE_KEYS, KEYS, RULE_KEYS, read_profile
from domain.errors import InvalidInput
from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.calendar import NIGHTS_WARNED
from services.scheduler.days import LONGEST_GAP, DayKind, is_public_holiday, packaged_school_holidays
from services.scheduler.profile import Anchor, Place, Profile, SwitchPoint, check_year, parse_clock
from services.scheduler.sensor_rule import MAX_RULES

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "profiles.md").read_text(encoding="utf-8")
BAD_HERSFELD = Place(50.87, 9.71, ZoneInfo("Europe/Berlin"))
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
PROFILES = [text for text in EXAMPLES if "[[points]]" in text]
[CALENDAR] = [text for text in EXAMPLES if "default =" in text]


@pytest.mark.parametrize("text", PROFILES, ids=["residential", "footpath", "main road"])
def test_an_example_holds_on_every_night_of_the_year(text: str, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(text, encoding="utf-8")
    name, profile = read_profile(file)
    assert name in text
    assert len(profile.points) in (3, 4)
    check_year(profile, BAD_HERSFELD, date(2026, 11, 22))


def test_the_calendar_that_is_shown_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "calendar.toml"
    file.write_text(CALENDAR, encoding="utf-8")
    name, calendar = read_calendar(file)
    assert name == "Town centre"
    assert calendar.profiles() == {"night-dim", "festive", "weekend", "late"}
    assert calendar.profile_of(date(2027, 10, 1)) == "weekend"  # a Friday, and next day is German Unity Day's eve
    assert calendar.profile_of(date(2027, 10, 2)) == "weekend"
    assert calendar.of_night(date(2027, 10, 12)).events[0].level_permille == 1000
    assert calendar.warnings(date(2026, 11, 22)) == []


def test_what_is_said_of_holidays_is_so() -> None:
    hesse = packaged_school_holidays("DE-HE")
    assert hesse is not None
    assert f"Hesse's until the summer of {hesse.covered_until.year}" in PAGE
    assert 6 <= hesse.covered_until.month <= 9
    assert "from 1991 to 2100" in PAGE
    years = [year for year in range(1985, 2110) if is_public_holiday("DE-HE", date(year, 1, 1)) is not None]
    assert (years[0], years[-1]) == (1991, 2100)
    assert f"more than {LONGEST_GAP.days} days" in PAGE
    assert f"first night of the {NIGHTS_WARNED} ahead" in PAGE
    assert "at most 20" in PAGE
    assert MAX_RULES == 20


def test_every_key_and_anchor_is_explained() -> None:
    keys = KEYS | RULE_KEYS | FILE_KEYS | calendar_files.FILE_KEYS | calendar_files.RULE_KEYS
    assert not [key for key in keys if f"`{key}`" not in PAGE]
    for words in (SensorKind, SensorOperation, DayKind):
        known = [word.name.lower().replace("_", " ") for word in words if word.name != "ANY"]
        assert not [word for word in known if f"`{word}`" not in PAGE]
    assert not [anchor for anchor in Anchor if f"`{anchor.name.lower().replace('_', ' ')}`" not in PAGE]


def test_the_refusal_that_is_shown_is_the_one_that_is_given() -> None:
    late = SwitchPoint(Anchor.CLOCK, 500, clock_time=parse_clock("21:00", "time"))
    crossing = Profile((SwitchPoint(Anchor.SUNSET, 1000), late, SwitchPoint(Anchor.SUNRISE, 0)))
    with pytest.raises(InvalidInput) as refused:
        check_year(crossing, BAD_HERSFELD, date(2026, 11, 22))
    assert str(refused.value) in PAGE
