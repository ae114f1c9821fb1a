"""The table of refused profiles and calendars, each with field and reason, and nothing stored. Points that are out of
order, out of range or without a clock time are in test_bad_input.py."""

# ruff: noqa: E501 - a row of a table stays on its line

from __future__ import annotations

import math
from typing import Any

from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from lichtbuch.type.v1.types_pb2 import Date
from services.scheduler.store.tables import SchedulerTable
from tests.services.scheduler.conftest import Scheduler
from tests.services.scheduler.making import (
    HERSFELD_NAME,
    at,
    calendar_request,
    night_dim,
    profile_request,
    sunrise,
    sunset,
)
from tests.services.scheduler.test_bad_input import CALENDARS, PROFILES, SCHWALM, rule
from tests.support.refusing import everything, problem, refused

LONG = "x" * 100_000
CLOCK, ELEVATION = pb.ANCHOR_CLOCK, pb.ANCHOR_SUN_ELEVATION


def by_sun(elevation_deg: float, **values: Any) -> pb.SwitchPoint:
    return pb.SwitchPoint(anchor=ELEVATION, level_permille=1000, elevation_deg=elevation_deg, **values)


def middle(offset_s: int) -> pb.SwitchPoint:
    return pb.SwitchPoint(anchor=pb.ANCHOR_VIRTUAL_MIDNIGHT, level_permille=500, offset_s=offset_s)


def points(*given: pb.SwitchPoint, **values: Any) -> pb.CreateProfileRequest:
    return profile_request(points=given, **values)


def sensor(**values: Any) -> pb.CreateProfileRequest:
    """A profile with one rule for traffic, some of it replaced."""
    given: dict[str, Any] = {
        "kind": types_pb2.SENSOR_KIND_TRAFFIC, "operation": types_pb2.SENSOR_OPERATION_MAX, "value_permille": 1000,
        "on_milli": 60_000, "off_milli": 40_000,
    }  # fmt: skip
    profile = pb.Profile(points=night_dim(), rules=[pb.SensorRule(**given | values)])
    return pb.CreateProfileRequest(parent=HERSFELD_NAME, profile_id="x", profile=profile)


def window(begin: str, end: str) -> dict[str, pb.NightMoment]:
    return {
        "begin": pb.NightMoment(anchor=CLOCK, clock_time=begin),
        "end": pb.NightMoment(anchor=CLOCK, clock_time=end),
    }


RULE = "profile.rules[0]"
FURTHER: list[tuple[str, pb.CreateProfileRequest, str, str]] = [
    # the sun
    ("a sun below the nadir", points(by_sun(-91), sunrise()), "profile.points[0].elevation_deg", "-91 is not between -18 and 10"),
    ("a sun at the zenith", points(by_sun(91), sunrise()), "profile.points[0].elevation_deg", "91 is not between -18 and 10"),
    ("a sun that is no number", points(by_sun(math.nan), sunrise()), "profile.points[0].elevation_deg", "nan is not between -18 and 10"),
    ("an elevation of the clock", points(at("18:00", 1000, elevation_deg=-3.0), sunrise()), "profile.points[0].elevation_deg", "belongs to"),
    ("an evening after its morning", points(by_sun(-6, rising=True), sunset(500), sunrise()), "profile.points[1]", "not after points[0]"),
    # virtual midnight
    ("a midnight of the day after tomorrow", points(sunset(), middle(100_000), sunrise()), "profile.points[1].offset_s", "100000 is not between -43200 and 43200"),
    ("a midnight before sunset", points(sunset(), middle(-43_200), sunrise()), "profile.points[1]", "not after points[0]"),
    ("a midnight after sunrise", points(sunset(), middle(43_200), sunrise()), "profile.points[2]", "not after points[1]"),
    # limits
    ("limits turned round", points(sunset(earliest="18:00", latest="16:00"), sunrise()), "profile.points[0].earliest", "is after latest"),
    ("limits of a clock that has none", points(sunset(earliest="25:00"), sunrise()), "profile.points[0].earliest", "25:00"),
    ("a time in words", points(sunset(), at("midnight", 500), sunrise()), "profile.points[1].clock_time", "midnight"),
    # texts
    ("a name as long as a book", points(*night_dim(), profile=pb.Profile(display_name=LONG, points=night_dim())), "profile.display_name", "is longer than 200 bytes"),
    ("a name that a terminal obeys", points(profile=pb.Profile(display_name="\x1b[2J", points=night_dim())), "profile.display_name", "holds the control character U+001B"),
    ("an id with a space", points(*night_dim(), profile_id="night dim"), "profile_id", "'night dim' does not match"),
    # sensor rules
    ("hysteresis turned round", sensor(off_milli=80_000), f"{RULE}.off_milli", "is above the threshold at which it begins"),
    ("a threshold below nothing", sensor(on_milli=-1), f"{RULE}.on_milli", "-1 is not between 0 and 1000000000"),
    ("more than full light", sensor(value_permille=1500), f"{RULE}.value_permille", "must be 0 to 1000"),
    ("a kind that nobody measures", sensor(kind=99), f"{RULE}.kind", "99 is not a known value"),
    ("an operation that nobody knows", sensor(operation=99), f"{RULE}.operation", "99 is not a known value"),
    ("held for a day", sensor(hold_s=86_400), f"{RULE}.hold_s", "86400 is not between 0 and 43200"),
    ("a ramp of two hours", sensor(ramp_s=7_200), f"{RULE}.ramp_s", "7200 is not between 0 and 3600"),
    ("a sensor that is not there", sensor(sensor=f"{HERSFELD_NAME}/sensors/none"), f"{RULE}.sensor", "there is no sensor none"),
    ("a sensor of something else", sensor(kind=types_pb2.SENSOR_KIND_RAIN, sensor=f"{HERSFELD_NAME}/sensors/S-1"), f"{RULE}.sensor", "S-1 measures traffic, not rain"),
    ("another town's sensor", sensor(sensor=f"{SCHWALM}/sensors/S-1"), f"{RULE}.sensor", "is not of the municipality"),
    ("a window turned round", sensor(**window("04:00", "22:00")), f"{RULE}.end", "not after begin at 04:00:00"),
    ("a window without a time", sensor(begin=pb.NightMoment(anchor=CLOCK)), f"{RULE}.begin.clock_time", "is needed by the anchor CLOCK"),
]  # fmt: skip


def day(year: int, month: int, number: int) -> Date:
    return Date(year=year, month=month, day=number)


def rules(*given: pb.CalendarRule) -> pb.CreateCalendarRequest:
    return calendar_request(rules=given)


EVENT: dict[str, Any] = {"from_time": "22:00", "until_time": "02:00"}
FURTHER_CALENDARS: list[tuple[str, pb.CreateCalendarRequest, str, str]] = [
    ("no last rule", pb.CreateCalendarRequest(parent=HERSFELD_NAME, calendar=pb.Calendar(rules=[rule(weekdays=[1])])), "calendar.default_profile", "is required"),
    ("the 29th of February of no leap year", rules(rule(nights=[day(2027, 2, 29)])), "calendar.rules[0].nights[0]", "is not a date"),
    ("the 30th of February of every year", rules(rule(yearly_first_night="02-30", yearly_last_night="03-01")), "calendar.rules[0].yearly_first_night", "'02-30' is no day of a year, MM-DD"),
    ("half a range of every year", rules(rule(yearly_first_night="12-20")), "calendar.rules[0].yearly_last_night", "is no day of a year"),
    ("a thirteenth month", rules(rule(last_night=day(2027, 13, 1))), "calendar.rules[0].last_night.month", "13 is not between 1 and 12"),
    ("nights outside of their range", rules(rule(first_night=day(2027, 1, 1), nights=[day(2026, 12, 31)])), "calendar.rules[0].nights", "none of them is among what else the rule says"),
    ("an hour that ends before it begins", rules(rule(from_time="02:00", until_time="22:00")), "calendar.rules[0].until_time", "is not after from_time"),
    ("an hour without an end", rules(rule(from_time="02:00")), "calendar.rules[0].until_time", "go together"),
    ("a level all night", rules(pb.CalendarRule(level_permille=500)), "calendar.rules[0].level_permille", "needs hours: from_time and until_time"),
    ("a level beside a profile", rules(rule(level_permille=500, **EVENT)), "calendar.rules[0].level_permille", "stands in place of a profile, not beside one"),
    ("more than full light", rules(pb.CalendarRule(level_permille=1001, **EVENT)), "calendar.rules[0].level_permille", "1001 is not between 0 and 1000"),
    ("holidays of nowhere", rules(rule(days=pb.DAY_KIND_PUBLIC_HOLIDAY, subdivision="DE-XX")), "calendar.rules[0].subdivision", "the holidays of DE-XX are not known"),
    ("a kind of day that nobody knows", rules(rule(days=99)), "calendar.rules[0].days", "99 is not a known value"),
    ("a name that a terminal obeys", rules(rule(display_name="\x07")), "calendar.rules[0].display_name", "holds the control character U+0007"),
    ("a name as long as a book", rules(rule(display_name=LONG)), "calendar.rules[0].display_name", "is longer than"),
]  # fmt: skip


async def test_every_profile_that_cannot_be_is_refused_with_field_and_reason_and_nothing_is_stored(
    scheduler: Scheduler,
) -> None:
    stub, wrong = scheduler.stub(), []
    before = await everything(scheduler.database, SchedulerTable.metadata)
    table = [(case, profile_request(points=given), field, why) for case, (given, field, why) in PROFILES.items()]
    for case, request, field, reason in [*table, *FURTHER]:
        wrong.append(problem(case, await refused(stub.CreateProfile, request), field, reason))
    assert [line for line in wrong if line] == []
    assert await everything(scheduler.database, SchedulerTable.metadata) == before


async def test_every_calendar_that_cannot_be_is_refused_with_field_and_reason_and_nothing_is_stored(
    scheduler: Scheduler,
) -> None:
    stub, wrong = scheduler.stub(), []
    await stub.CreateProfile(profile_request())
    before = await everything(scheduler.database, SchedulerTable.metadata)
    table = [(case, request, field, why) for case, (request, field, why) in CALENDARS.items()]
    for case, request, field, reason in [*table, *FURTHER_CALENDARS]:
        wrong.append(problem(case, await refused(stub.CreateCalendar, request), field, reason))
    assert [line for line in wrong if line] == []
    assert await everything(scheduler.database, SchedulerTable.metadata) == before
