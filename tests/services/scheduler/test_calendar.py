"""Calendars: holidays, events with their own hours, and what holds where nobody knows whether a day is a holiday."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli.nights.holiday_files import read_school_holidays
from domain.errors import InvalidInput
from services.scheduler import days as kinds_of_days
from services.scheduler.calendar import Calendar, Rule, validate
from services.scheduler.days import (
    BUILT_IN,
    DayKind,
    Days,
    Period,
    SchoolHolidays,
    is_known_subdivision,
    is_public_holiday,
    packaged_school_holidays,
)
from services.scheduler.planning import compile_nights
from services.scheduler.profile import Place
from services.scheduler.sensor_rule import SensorRule
from tests.services.scheduler.making import ALL_NIGHT, dimmed
from tests.services.scheduler.test_sensor_rule import TRAFFIC

SHARED = Path(os.environ.get("LICHTBUCH_SHARED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
PUBLIC = SHARED / "calendars" / "openholidays_de_public.csv"
SCHOOL = SHARED / "calendars" / "openholidays_de_he_school.csv"
BERLIN = ZoneInfo("Europe/Berlin")
BAD_HERSFELD = Place(50.868, 9.707, BERLIN)
STATES = ["BB", "BE", "BW", "BY", "HB", "HE", "HH", "MV", "NI", "NW", "RP", "SH", "SL", "SN", "ST", "TH"]

HOLIDAY = Rule("holiday", days=DayKind.PUBLIC_HOLIDAY)
EVE = Rule("eve", days=DayKind.PUBLIC_HOLIDAY_EVE)
SCHOOL_HOLIDAY = Rule("school", days=DayKind.SCHOOL_HOLIDAY)
FESTIVAL = Rule("", nights=frozenset({date(2026, 10, 12)}), hours=(time(22), time(2)), level_permille=1000)
PROFILES = {"usual": dimmed(500), "holiday": ALL_NIGHT, "dark": dimmed(300, time(23))}


def calendar(*rules: Rule) -> Calendar:
    return Calendar(rules, "usual")


def days_of(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


# --- what kind of day -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not PUBLIC.exists(), reason="the shared data are not here")
def test_public_holidays_of_every_state_are_those_that_openholidays_publishes() -> None:
    published: dict[str, set[date]] = {state: set() for state in STATES}
    with PUBLIC.open(encoding="utf-8-sig") as stream:
        for row in csv.DictReader(stream, delimiter=";"):
            # Augsburg's feast of peace is a single city's; the rest is whole states' or everybody's.
            states = [name for name in row["Subdivisions"].split(",") if name]
            for state in STATES if not states else [name for name in states if name in published]:
                published[state].add(date.fromisoformat(row["StartDate"]))
    years = {day.year for found in published.values() for day in found}
    differing = {
        (state, day)
        for state in STATES
        for day in days_of(date(min(years), 1, 1), date(max(years), 12, 31))
        if is_public_holiday(f"DE-{state}", day) != (day in published[state])
    }
    # Assumption Day is a holiday in most municipalities of Bavaria, not in all: a town there writes it down as a night.
    assert differing == {("BY", date(year, 8, 15)) for year in range(min(years), max(years) + 1)}
    assert max(years) - min(years) >= 5


@pytest.mark.skipif(not SCHOOL.exists(), reason="the shared data are not here")
def test_school_holidays_of_hesse_are_those_that_openholidays_publishes_as_far_as_the_library_reaches() -> None:
    built_in = packaged_school_holidays("DE-HE")
    assert built_in is not None
    periods = read_school_holidays(SCHOOL, "DE-HE")
    published = SchoolHolidays(periods, periods[0].first_day, periods[-1].last_day)
    kinds_of_days.validate(published)
    both = list(days_of(max(built_in.covered_from, published.covered_from), built_in.covered_until))
    assert len(both) > 6000
    # One Sunday before the Easter holidays of 2019 is the only day on which the two differ.
    assert [day for day in both if built_in.has(day) != published.has(day)] == [date(2019, 4, 14)]
    assert published.covered_until > built_in.covered_until


def test_the_library_s_school_holidays_end_where_it_knows_no_more_of_a_state() -> None:
    for state in STATES:
        known = packaged_school_holidays(f"DE-{state}")
        assert known is not None
        kinds_of_days.validate(known)
        assert known.has(known.covered_until) is True
        assert known.has(known.covered_until + timedelta(days=1)) is None
        assert known.covered_until > date(2028, 1, 1)


def test_a_year_or_a_state_that_nobody_knows_is_unknown_and_not_without_holidays() -> None:
    assert is_public_holiday("DE-HE", date(2026, 12, 25)) is True
    assert is_public_holiday("DE-HE", date(2026, 12, 24)) is False
    assert is_public_holiday("DE-HE", date(1985, 12, 25)) is None
    assert is_public_holiday("DE-XX", date(2026, 12, 25)) is None
    assert (is_known_subdivision("DE-HE"), is_known_subdivision("DE"), is_known_subdivision("DE-XX")) == (
        True, True, False,
    )  # fmt: skip
    assert packaged_school_holidays("DE-XX") is None
    assert BUILT_IN.is_a(DayKind.SCHOOL_HOLIDAY, "DE-HE", date(2035, 7, 1)) is None


def test_given_school_holidays_come_before_the_library_s_and_reach_where_it_does_not() -> None:
    given = SchoolHolidays((Period(date(2026, 7, 6), date(2026, 8, 1)),), date(2026, 7, 1), date(2026, 8, 31))
    known = Days({"DE-HE": given})
    # Hesse's real summer holidays of 2026 begin on June 29 and end on August 7.
    assert known.is_a(DayKind.SCHOOL_HOLIDAY, "DE-HE", date(2026, 8, 5)) is False
    assert known.is_a(DayKind.SCHOOL_HOLIDAY, "DE-HE", date(2026, 6, 30)) is True
    assert known.is_a(DayKind.SCHOOL_HOLIDAY, "DE-TH", date(2026, 8, 5)) is True


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"periods": ()}, "periods"),
        ({"periods": (Period(date(2026, 7, 6), date(2026, 7, 5)),)}, "periods[0].last_day"),
        ({"periods": (Period(date(2026, 7, 6), date(2026, 12, 5)),)}, "periods[0]"),
        (
            {"periods": (Period(date(2026, 7, 6), date(2026, 8, 5)), Period(date(2026, 8, 5), date(2026, 8, 9)))},
            "periods[1]",
        ),
        (
            {"periods": (Period(date(2026, 7, 6), date(2026, 8, 5)), Period(date(2027, 7, 5), date(2027, 8, 9)))},
            "periods[1]",
        ),
        ({"covered_from": date(2026, 7, 7)}, "covered_from"),
        ({"covered_from": date(2025, 7, 7)}, "covered_from"),
        ({"covered_until": date(2026, 8, 4)}, "covered_until"),
        ({"covered_until": date(2027, 8, 4)}, "covered_until"),
    ],
)
def test_a_list_with_a_hole_or_turned_round_is_refused(change: dict[str, object], field: str) -> None:
    good = SchoolHolidays((Period(date(2026, 7, 6), date(2026, 8, 5)),), date(2026, 7, 6), date(2026, 8, 5))
    kinds_of_days.validate(good)
    with pytest.raises(InvalidInput) as refused:
        kinds_of_days.validate(replace(good, **change))  # type: ignore[arg-type]
    assert field in [violation.field for violation in refused.value.violations]


# --- which rule -----------------------------------------------------------------------------------------------------


def test_a_holiday_s_night_begins_on_its_noon_and_its_eve_s_on_the_noon_before() -> None:
    both = calendar(HOLIDAY, EVE)
    # German Unity Day 2026 is a Saturday: the night into it is Friday's, its own goes into Sunday.
    assert both.profile_of(date(2026, 10, 2)) == "eve"
    assert both.profile_of(date(2026, 10, 3)) == "holiday"
    assert both.profile_of(date(2026, 10, 4)) == "usual"
    # The night of Christmas Day is the eve of the second one too: the first rule wins.
    assert both.profile_of(date(2026, 12, 25)) == "holiday"
    assert calendar(EVE, HOLIDAY).profile_of(date(2026, 12, 25)) == "eve"


def test_holidays_are_those_of_the_state_that_the_rule_names() -> None:
    corpus_christi = date(2026, 6, 4)
    assert calendar(HOLIDAY).profile_of(corpus_christi) == "holiday"
    assert calendar(replace(HOLIDAY, subdivision="DE-BE")).profile_of(corpus_christi) == "usual"


def test_a_range_of_every_year_may_go_over_new_year() -> None:
    christmas = calendar(Rule("christmas", yearly=((12, 20), (1, 6))))
    inside, outside = [(12, 20), (12, 31), (1, 1), (1, 6)], [(12, 19), (1, 7), (7, 1)]
    for year in (2026, 2031):
        assert {christmas.profile_of(date(year, *day)) for day in inside} == {"christmas"}
        assert {christmas.profile_of(date(year, *day)) for day in outside} == {"usual"}
    leap = calendar(Rule("leap", yearly=((2, 29), (2, 29))))
    assert [year for year in range(2026, 2034) if leap.profile_of(date(year, 3, 1) - timedelta(days=1)) == "leap"] == [
        2028, 2032,
    ]  # fmt: skip


def test_all_that_a_rule_says_has_to_be_true() -> None:
    friday_in_the_holidays = calendar(replace(SCHOOL_HOLIDAY, weekdays=frozenset({5}), first_night=date(2026, 7, 10)))
    assert friday_in_the_holidays.profile_of(date(2026, 7, 3)) == "usual"  # too early
    assert friday_in_the_holidays.profile_of(date(2026, 7, 9)) == "usual"  # a Thursday
    assert friday_in_the_holidays.profile_of(date(2026, 7, 10)) == "school"
    assert friday_in_the_holidays.profile_of(date(2026, 9, 4)) == "usual"  # school
    assert calendar(Rule("x", nights=frozenset({date(2026, 5, 1)}))).profile_of(date(2026, 5, 1)) == "x"


def test_where_nobody_knows_the_rules_after_it_hold_and_a_warning_says_so() -> None:
    rules = calendar(SCHOOL_HOLIDAY, Rule("weekend", weekdays=frozenset({5, 6})))
    last_known = packaged_school_holidays("DE-HE")
    assert last_known is not None
    first = last_known.covered_until - timedelta(days=9)
    assert rules.warnings(first - timedelta(days=500)) == []
    [warning] = rules.warnings(first, 100)
    unknown = last_known.covered_until + timedelta(days=1)
    assert warning == (
        "rules[0]: the school holidays of DE-HE are not known for 90 of the 100 nights ahead, from the night of"
        f" {unknown.isoformat()} on; there the rules after it hold"
    )
    said = rules.of_night(unknown)
    assert (said.undecided, said.profile) == ((0,), "weekend" if unknown.isoweekday() in {5, 6} else "usual")
    # A rule that is not reached on a night is not missed either.
    assert calendar(Rule("always"), SCHOOL_HOLIDAY).warnings(first, 100) == []
    assert calendar(HOLIDAY).warnings(date(2100, 12, 1), 60)[0].startswith("rules[0]: the public holidays of DE-HE")


def test_an_earlier_rule_for_whole_nights_leaves_no_hours_to_an_event_and_an_event_before_it_keeps_its_own() -> None:
    night = date(2026, 10, 12)
    whole = Rule("holiday", nights=FESTIVAL.nights)
    assert calendar(whole, FESTIVAL).of_night(night).events == ()
    assert calendar(FESTIVAL, whole).of_night(night).events == (FESTIVAL,)
    assert calendar(FESTIVAL, whole).of_night(night).profile == "holiday"


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ([Rule("")], "rules[0].profile"),
        ([Rule("", level_permille=500)], "rules[0].level_permille"),
        ([replace(FESTIVAL, profile="a")], "rules[0].level_permille"),
        ([replace(FESTIVAL, level_permille=1001)], "rules[0].level_permille"),
        ([replace(FESTIVAL, hours=(time(2), time(22)))], "rules[0].until_time"),
        ([replace(FESTIVAL, hours=(time(22), time(22)))], "rules[0].until_time"),
        ([replace(HOLIDAY, subdivision="DE-XX")], "rules[0].subdivision"),
        ([Rule("a", date(2027, 1, 1), nights=frozenset({date(2026, 1, 1)}))], "rules[0].nights"),
        ([HOLIDAY, replace(HOLIDAY, weekdays=frozenset({1}))], "rules[1]"),
        ([Rule("a", yearly=((12, 1), (1, 6))), Rule("b", yearly=((12, 1), (1, 6)))], "rules[1]"),
        ([Rule("a", nights=FESTIVAL.nights), Rule("b", nights=FESTIVAL.nights)], "rules[1]"),
        ([FESTIVAL, replace(FESTIVAL, hours=(time(23), time(1)))], "rules[1]"),
        ([Rule("a"), FESTIVAL], "rules[1]"),
    ],
)  # fmt: skip
def test_a_rule_that_contradicts_itself_or_never_matches_is_refused(rules: list[Rule], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validate(rules)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_rules_that_leave_something_to_each_other_are_taken() -> None:
    validate(
        [
            FESTIVAL,
            replace(FESTIVAL, hours=(time(21), time(23))),
            replace(FESTIVAL, hours=(time(12), time(12))),
            HOLIDAY,
            replace(HOLIDAY, subdivision="DE-TH"),
            EVE,
            SCHOOL_HOLIDAY,
            Rule("a", nights=frozenset({date(2026, 5, 1)})),
            Rule("b", nights=frozenset({date(2026, 5, 1), date(2026, 5, 2)})),
            Rule("c", weekdays=frozenset({5})),
        ]
    )


# --- what the lamps do ----------------------------------------------------------------------------------------------


def level(plan_of: Calendar, *clock: int, days: Days = BUILT_IN) -> int | None:
    """The level at a local date and time."""
    instant = datetime(*clock, tzinfo=BERLIN).astimezone(UTC)  # type: ignore[arg-type,misc]
    night = date(*clock[:3]) - timedelta(days=0 if clock[3] >= 12 else 1)
    return compile_nights(plan_of, PROFILES, BAD_HERSFELD, night, 1, days).level_at(instant)


def test_full_light_for_the_town_festival_from_ten_till_two_and_the_usual_night_around_it() -> None:
    festival = calendar(FESTIVAL)
    assert level(festival, 2026, 10, 12, 22, 45) == 1000
    assert level(festival, 2026, 10, 13, 1, 59) == 1000
    assert level(festival, 2026, 10, 13, 2, 0) == 500
    assert level(festival, 2026, 10, 13, 22, 45) == 500


def test_an_event_with_a_profile_has_that_profile_s_levels_in_its_hours() -> None:
    event = calendar(replace(FESTIVAL, profile="dark", level_permille=None, hours=(time(22), time(2))))
    assert level(event, 2026, 10, 12, 22, 45) == 1000  # the event's profile dims at eleven
    assert level(event, 2026, 10, 12, 23, 0) == 300
    assert level(event, 2026, 10, 13, 2, 0) == 500


def test_an_event_with_a_level_lights_nothing_while_the_sun_is_up() -> None:
    all_night = calendar(replace(FESTIVAL, hours=(time(12), time(12)), level_permille=800))
    assert level(all_night, 2026, 10, 12, 15, 0) == 0
    assert level(all_night, 2026, 10, 12, 20, 0) == 800
    assert level(all_night, 2026, 10, 13, 10, 0) == 0


def test_of_two_events_at_once_the_first_one_wins() -> None:
    both = calendar(replace(FESTIVAL, level_permille=900, hours=(time(23), time(0))), FESTIVAL)
    assert [level(both, 2026, 10, 12, 22, 59), level(both, 2026, 10, 12, 23, 30), level(both, 2026, 10, 13, 0, 30)] == [
        1000, 900, 1000,
    ]  # fmt: skip


def test_sensor_rules_are_those_of_the_profile_that_holds_at_the_moment() -> None:
    listening = {
        "usual": replace(dimmed(500), rules=(TRAFFIC,)),
        "holiday": replace(ALL_NIGHT, rules=(SensorRule(**{**TRAFFIC.__dict__, "value_permille": 900}),)),
    }
    night = date(2026, 10, 12)
    quiet = compile_nights(calendar(FESTIVAL), listening, BAD_HERSFELD, night, 1).rules
    assert [rule.value_permille for rule in quiet] == [1000, 1000]
    assert quiet[1].from_ms - quiet[0].until_ms == 4 * 3_600_000
    event = replace(FESTIVAL, profile="holiday", level_permille=None)
    both = compile_nights(calendar(event), listening, BAD_HERSFELD, night, 1).rules
    assert [rule.value_permille for rule in both] == [1000, 900, 1000]
    assert both[0].until_ms == both[1].from_ms
    assert both[1].until_ms == both[2].from_ms
