"""Profiles, calendars and school holidays as planners write them down, right and wrong."""

from __future__ import annotations

import os
from datetime import date, time
from pathlib import Path

import pytest

from cli.nights.calendar_files import read_calendar
from cli.nights.holiday_files import read_school_holidays
from cli.nights.profile_files import read_profile
from domain.errors import InvalidInput
from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.days import DayKind, Period
from services.scheduler.moment import Anchor, NightMoment
from services.scheduler.profile import SensorRule, SwitchPoint

REAL = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "calendars"

PROFILE = """
[[points]]
anchor = "sun elevation"
elevation_deg = -2.5
level = 100
latest = 17:30:00

[[points]]
anchor = "sun elevation"
elevation_deg = -2.5
rising = true
level = "off"
"""
RULES = """
[[rules]]
kind = "traffic"
operation = "max"
value = 80
on = 30
off = 20.5
hold_s = 300
sensor = "S-1"
begin = { anchor = "clock", time = "22:30" }
end = { anchor = "sunrise", offset_s = -600 }

[[rules]]
kind = "illuminance"
operation = "set"
value_permille = 1000

[[rules]]
kind = "rain"
operation = "mul"
factor = 1.25
on = 0.5
"""
CALENDAR = """
name = "Town centre"
default = "night-dim"

[[rules]]
name = "Lullusfest"
nights = [2027-10-11, "2027-10-12"]
from = "22:00"
until = 02:00:00
level = 100

[[rules]]
every_year = ["12-20", "01-06"]
weekdays = ["Friday", 6]
profile = "festive"

[[rules]]
days = "public holiday eve"
subdivision = "DE-TH"
first_night = 2027-01-01
profile = "night-dim"
"""


def written(tmp_path: Path, text: str, name: str = "file.toml") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def refused(call, *arguments: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        call(*arguments)
    return {violation.field: violation.reason for violation in caught.value.violations}


def test_a_profile_has_sun_elevations_and_sensor_rules(tmp_path):
    _, profile = read_profile(written(tmp_path, PROFILE + RULES))
    assert profile.points == (
        SwitchPoint(Anchor.SUN_ELEVATION, 1000, latest=time(17, 30), elevation_deg=-2.5),
        SwitchPoint(Anchor.SUN_ELEVATION, 0, elevation_deg=-2.5, rising=True),
    )
    traffic, twilight, rain = profile.rules
    assert traffic == SensorRule(
        SensorKind.TRAFFIC, SensorOperation.MAX, 800, 30_000, 20_500, 300, 0, "S-1",
        NightMoment(Anchor.CLOCK, clock_time=time(22, 30)), NightMoment(Anchor.SUNRISE, -600),
    )  # fmt: skip
    assert (twilight.on_milli, twilight.off_milli) == (35_000, 25_000)
    assert (rain.value_permille, rain.on_milli, rain.off_milli) == (1250, 500, 500)


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (('kind = "traffic"', 'kind = "noise"'), "rules[0].kind", "none of traffic, illuminance, rain"),
        (("on = 30\n", ""), "rules[0].on", "is needed"),
        (("off = 20.5", "off = 20.0005"), "rules[0].off", "more than three decimals"),
        (("off = 20.5", "off = 31"), "rules[0].off_milli", "is above the threshold"),
        (("value = 80", "factor = 0.8"), "rules[0].factor", "belongs to the operation mul only"),
        (("factor = 1.25", "value = 80"), "rules[2].factor", "is what the operation mul needs"),
        (('time = "22:30"', 'time = "25:30"'), "rules[0].begin.time", "is no clock time"),
        (('time = "22:30"', 'hour = "22"'), "rules[0].begin.hour", "is unknown"),
        (("hold_s = 300", "wait = 300"), "rules[0].wait", "is unknown"),
        (("elevation_deg = -2.5\nlevel", "elevation_deg = -25\nlevel"), "points[0].elevation_deg", "must be -18 to 10"),
        (("rising = true", 'rising = "yes"'), "points[1].rising", "neither true nor false"),
        (
            (
                '\n[[points]]\nanchor = "sun elevation"\nelevation_deg = -2.5\nlevel = 100',
                '\ncolour = 1\n[[points]]\nanchor = "sunset"\nlevel = 1',
            ),
            "file.colour",
            "is unknown",
        ),
    ],
)
def test_what_is_wrong_in_a_profile_is_named(tmp_path, change, field, reason):
    found = refused(read_profile, written(tmp_path, (PROFILE + RULES).replace(*change)))
    assert reason in found[field]


def test_a_calendar_has_dates_ranges_of_every_year_holidays_and_events(tmp_path):
    name, calendar = read_calendar(written(tmp_path, CALENDAR))
    assert name == "Town centre"
    assert calendar == Calendar(
        (
            Rule(
                "",
                nights=frozenset({date(2027, 10, 11), date(2027, 10, 12)}),
                hours=(time(22), time(2)),
                level_permille=1000,
                display_name="Lullusfest",
            ),
            Rule("festive", weekdays=frozenset({5, 6}), yearly=((12, 20), (1, 6))),
            Rule("night-dim", date(2027, 1, 1), days=DayKind.PUBLIC_HOLIDAY_EVE, subdivision="DE-TH"),
        ),
        "night-dim",
    )


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (('default = "night-dim"', ""), "file.default", "is needed"),
        (("2027-10-11", '"11.10.2027"'), "rules[0].nights", "is no date"),
        (('from = "22:00"\n', ""), "rules[0].from", "from and until go together"),
        (("level = 100", "level = 101"), "rules[0].level", "is no level"),
        (("level = 100", ""), "rules[0].profile", "a rule needs a profile, or hours and a level"),
        (('["12-20", "01-06"]', '["12-20"]'), "rules[1].every_year", "first and the last night"),
        (('["12-20", "01-06"]', '["12-20", "02-30"]'), "rules[1].every_year", "is no day of a year"),
        (('"Friday"', '"Freitag"'), "rules[1].weekdays", "is no weekday"),
        (('"public holiday eve"', '"bank holiday"'), "rules[2].days", "none of any, public holiday"),
        (('"DE-TH"', '"DE-XX"'), "rules[2].subdivision", "are not known"),
        (('profile = "festive"', 'profile = "a/b"'), "rules[1].profile", "is no id of a profile"),
        (('profile = "festive"', "profil = 1"), "rules[1].profil", "is unknown"),
    ],
)
def test_what_is_wrong_in_a_calendar_is_named(tmp_path, change, field, reason):
    found = refused(read_calendar, written(tmp_path, CALENDAR.replace(*change)))
    assert reason in found[field]


@pytest.mark.parametrize("text", ["rules = 1", "[" * 10_000, "a = 'x", "points = 1"])
def test_a_file_that_is_no_profile_or_calendar_is_refused(tmp_path, text):
    for read in (read_profile, read_calendar):
        assert refused(read, written(tmp_path, text))
    assert refused(read_calendar, tmp_path / "none.toml")


@pytest.mark.skipif(not REAL.exists(), reason="the shared data are not here")
def test_the_published_school_holidays_of_hesse_are_read():
    periods = read_school_holidays(REAL / "openholidays_de_he_school.csv", "DE-HE")
    assert (periods[0].first_day, periods[-1].last_day) == (date(2011, 12, 21), date(2030, 8, 30))
    assert Period(date(2026, 6, 29), date(2026, 8, 7), "Sommerferien") in periods
    assert "DE-TH" in refused(read_school_holidays, REAL / "openholidays_de_he_school.csv", "DE-TH")["file"]


def test_a_plain_list_is_read_with_or_without_a_header_and_joined_where_it_overlaps(tmp_path):
    lines = "Sommerferien;2026-06-29;2026-08-07\nHerbst;05.10.2026;17.10.2026\nBerufsschule;2026-08-01;2026-08-09\n"
    expected = (
        Period(date(2026, 6, 29), date(2026, 8, 9), "Sommerferien"),
        Period(date(2026, 10, 5), date(2026, 10, 17), "Herbst"),
    )
    for text in (lines, f"name;first;last\n{lines}\n"):
        assert read_school_holidays(written(tmp_path, text, "holidays.csv"), "DE-HE") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there are no school holidays"),
        ("name;first;last\n", "there are no school holidays"),
        ("a;2026-06-29;2026-06-31\n", "line 1: '2026-06-31' is no date"),
        ("a;2026-06-29;2026-06-28\n", "line 1: 2026-06-28 is before 2026-06-29"),
        ("a;2026-06-29\n", "line 1: name;first;last is needed"),
        ("Id;Country;StartDate;EndDate;Type;Name;Subdivisions\n1;DE;x;;School;DE A;HE\n", "line 2: 'x' is no date"),
    ],
)
def test_a_list_that_cannot_be_read_names_the_line(tmp_path, text, reason):
    assert reason in refused(read_school_holidays, written(tmp_path, text, "holidays.csv"), "DE-HE")["file"]
