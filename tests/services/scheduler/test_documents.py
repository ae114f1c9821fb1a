"""What revisions keep: every field comes back, and what was written before a field was added reads as it was meant."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, time

from hypothesis import given, settings

from services.scheduler.calendar import Calendar, Rule
from services.scheduler.days import DayKind, Period, SchoolHolidays
from services.scheduler.moment import Anchor
from services.scheduler.profile import Profile, SwitchPoint
from services.scheduler.store.documents import (
    calendar_from_document,
    calendar_to_document,
    profile_from_document,
    profile_to_document,
    school_holidays_from_document,
    school_holidays_to_document,
)
from tests.services.scheduler.test_calendar import EVE, FESTIVAL, HOLIDAY
from tests.services.scheduler.test_plans_hold import calendars, profiles
from tests.services.scheduler.test_sensor_rule import NAUTICAL_DAWN, TRAFFIC

# As revisions of version 0.1.0 hold them.
OLD_PROFILE = json.loads("""{"points": [
  {"anchor": "SUNSET", "level_permille": 1000, "offset_s": -600, "clock_time": null, "ramp_s": 60,
   "earliest": "16:15:00", "latest": null},
  {"anchor": "CLOCK", "level_permille": 0, "offset_s": 0, "clock_time": "05:30:00", "ramp_s": 0,
   "earliest": null, "latest": null}]}""")
OLD_CALENDAR = json.loads("""{"rules": [
  {"profile": "a", "first_night": "2026-12-01", "last_night": null, "weekdays": [5, 6]}], "default_profile": "b"}""")


def test_documents_of_before_read_as_they_were_meant() -> None:
    assert profile_from_document(OLD_PROFILE) == Profile(
        (
            SwitchPoint(Anchor.SUNSET, 1000, -600, ramp_s=60, earliest=time(16, 15)),
            SwitchPoint(Anchor.CLOCK, 0, clock_time=time(5, 30)),
        )
    )
    rule = Rule("a", date(2026, 12, 1), None, frozenset({5, 6}))
    assert calendar_from_document(OLD_CALENDAR) == Calendar((rule,), "b")


@settings(max_examples=30, deadline=None)
@given(profiles(), calendars())
def test_what_is_stored_comes_back(profile: Profile, calendar: Calendar) -> None:
    assert profile_from_document(json.loads(json.dumps(profile_to_document(profile)))) == profile
    assert calendar_from_document(json.loads(json.dumps(calendar_to_document(calendar)))) == calendar


def test_every_field_comes_back() -> None:
    rule = replace(TRAFFIC, sensor="S-1", ramp_s=5, end=replace(NAUTICAL_DAWN, offset_s=-60, latest=time(6)))
    profile = Profile((SwitchPoint(Anchor.SUN_ELEVATION, 0, 60, elevation_deg=-3.5, rising=True),), (rule,))
    assert profile_from_document(json.loads(json.dumps(profile_to_document(profile)))) == profile
    every = Rule(
        "p", date(2026, 1, 1), date(2026, 12, 31), frozenset({1}), frozenset({date(2026, 2, 2)}), ((1, 1), (3, 3)),
        DayKind.SCHOOL_HOLIDAY, "DE-TH", (time(22), time(2, 30)), None, "why",
    )  # fmt: skip
    calendar = Calendar((FESTIVAL, HOLIDAY, EVE, every), "d")
    assert calendar_from_document(json.loads(json.dumps(calendar_to_document(calendar)))) == calendar
    given_holidays = SchoolHolidays(
        (Period(date(2026, 6, 29), date(2026, 8, 7), "Sommerferien"),), date(2026, 6, 1), date(2026, 8, 31), "ministry"
    )
    document = json.loads(json.dumps(school_holidays_to_document(given_holidays)))
    assert school_holidays_from_document(document) == given_holidays
