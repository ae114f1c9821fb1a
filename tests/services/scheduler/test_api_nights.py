"""Sensor rules, events and holidays as planners put them over gRPC, and what reaches lighting of them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from prometheus_client import REGISTRY

from domain.errors import Conflict, InvalidInput, NotFound, NotPermitted
from domain.plan_rule import SensorKind
from lichtbuch.scheduler.v1 import holidays_pb2 as hol
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1 import types_pb2
from lichtbuch.type.v1.types_pb2 import Date
from servicekit.convert import date_to_proto
from tests.services.scheduler.conftest import Scheduler
from tests.services.scheduler.fake_lighting import MARKET, FakeLighting, LightingProcess
from tests.services.scheduler.making import (
    HERSFELD_NAME,
    assignment_request,
    calendar_request,
    night_dim,
    profile_request,
    sunrise,
    sunset,
)
from tests.support.running import VIEWER
from tests.support.waiting import eventually

HESSE = f"{HERSFELD_NAME}/schoolHolidays/DE-HE"
NIGHT_DIM = f"{HERSFELD_NAME}/profiles/night-dim"


def traffic(**changes: Any) -> pb.SensorRule:
    values: dict[str, Any] = {
        "kind": types_pb2.SENSOR_KIND_TRAFFIC,
        "operation": types_pb2.SENSOR_OPERATION_MAX,
        "value_permille": 1000,
        "on_milli": 30_000,
        "off_milli": 20_000,
        "hold_s": 300,
        "sensor": f"{HERSFELD_NAME}/sensors/S-1",
        "end": pb.NightMoment(anchor=pb.ANCHOR_SUN_ELEVATION, elevation_deg=-3, rising=True),
    }
    return pb.SensorRule(**values | changes)


def school(first: date, last: date, **changes: Any) -> hol.PutSchoolHolidaysRequest:
    period = hol.SchoolHolidayPeriod(
        display_name="Ferien", first_day=date_to_proto(first), last_day=date_to_proto(last)
    )
    values: dict[str, Any] = {"name": HESSE, "source": "the ministry", "periods": [period]}
    return hol.PutSchoolHolidaysRequest(school_holidays=hol.SchoolHolidays(**values | changes))


async def test_a_profile_with_sensor_rules_and_a_sun_elevation_comes_back_as_it_was_put(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    points = [sunset(), pb.SwitchPoint(anchor=pb.ANCHOR_SUN_ELEVATION, elevation_deg=-6.5, rising=True)]
    request = profile_request(points=points)
    request.profile.rules.append(traffic())
    created = await stub.CreateProfile(request)
    [rule] = created.rules
    assert (rule.sensor, rule.end.elevation_deg, rule.end.rising) == (f"{HERSFELD_NAME}/sensors/S-1", -3.0, True)
    assert rule.begin.anchor == pb.ANCHOR_SUNSET
    assert (created.points[1].elevation_deg, created.points[1].rising) == (-6.5, True)
    assert await stub.GetProfile(pb.GetProfileRequest(name=created.name)) == created
    # A change of the one leaves the other.
    points_only = pb.Profile(name=created.name, points=night_dim(400))
    changed = await stub.UpdateProfile(
        pb.UpdateProfileRequest(profile=points_only, update_mask=FieldMask(paths=["points"]))
    )
    assert (len(changed.points), list(changed.rules), changed.revision) == (4, [rule], 2)
    without = await stub.UpdateProfile(
        pb.UpdateProfileRequest(profile=pb.Profile(name=created.name), update_mask=FieldMask(paths=["rules"]))
    )
    assert (len(without.points), len(without.rules)) == (4, 0)


RULES = {
    "no kind": (traffic(kind=0), "profile.rules[0].kind", "is required"),
    "another town's sensor": (
        traffic(sensor="municipalities/homberg/sensors/S-1"),
        "profile.rules[0].sensor",
        "is not of the municipality",
    ),
    "a threshold turned round": (traffic(off_milli=30_001), "profile.rules[0].off_milli", "is above the threshold"),
    "a window that closes in summer": (
        traffic(end=pb.NightMoment(anchor=pb.ANCHOR_CLOCK, clock_time="21:00")),
        "profile.rules[0].end",
        "in the night of 2027-05-",
    ),
    "a sun that is too low": (
        traffic(end=pb.NightMoment(anchor=pb.ANCHOR_SUN_ELEVATION, elevation_deg=-18.5)),
        "profile.rules[0].end.elevation_deg",
        "between -18 and 10",
    ),
}


async def test_a_sensor_rule_is_refused_with_field_and_reason(scheduler: Scheduler) -> None:
    for case, (rule, field, reason) in RULES.items():
        request = profile_request()
        request.profile.rules.append(rule)
        with pytest.raises(InvalidInput) as caught:
            await scheduler.stub().CreateProfile(request)
        violation = caught.value.violations[0]
        assert (case, violation.field) == (case, field)
        assert reason in violation.reason


async def test_a_plan_takes_its_rules_to_lighting_under_one_hash(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    town_lights.add_group(MARKET)
    stub = scheduler.stub()
    request = profile_request()
    request.profile.rules.append(traffic())
    await stub.CreateProfile(request)
    await stub.CreateCalendar(calendar_request())
    await stub.CreateAssignment(assignment_request(MARKET))
    await eventually(lambda: MARKET in town_lights.plans)
    plan = town_lights.plans[MARKET]
    assert len(plan.rules) == 4
    assert {(rule.sensor, rule.hold_s) for rule in plan.rules} == {("S-1", 300)}
    [sent] = {rule.sensor for rule in town_lights.sent[MARKET].rules}
    assert sent == f"{HERSFELD_NAME}/sensors/S-1"
    again = await stub.SynchronisePlans(pb.SynchronisePlansRequest(parent=HERSFELD_NAME))
    assert (again.equal, again.put) == (1, 0)


async def test_a_calendar_of_holidays_and_events_comes_back_as_it_was_put(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    rules = [
        pb.CalendarRule(
            nights=[Date(year=2027, month=10, day=11)], from_time="22:00", until_time="02:00", level_permille=1000,
            display_name="Lullusfest",
        ),
        pb.CalendarRule(yearly_first_night="12-20", yearly_last_night="01-06", profile=NIGHT_DIM),
        pb.CalendarRule(days=pb.DAY_KIND_PUBLIC_HOLIDAY_EVE, subdivision="DE-TH", profile=NIGHT_DIM),
    ]  # fmt: skip
    created = await stub.CreateCalendar(calendar_request(rules=rules))
    assert list(created.rules) == rules
    assert list(created.warnings) == []
    assert await stub.GetCalendar(pb.GetCalendarRequest(name=created.name)) == created


CALENDARS = {
    "a level without hours": (pb.CalendarRule(level_permille=500), "calendar.rules[0].level_permille"),
    "half of its hours": (pb.CalendarRule(from_time="22:00", level_permille=500), "calendar.rules[0].until_time"),
    "the 30th of February of every year": (
        pb.CalendarRule(yearly_first_night="02-30", yearly_last_night="03-01", profile=NIGHT_DIM),
        "calendar.rules[0].yearly_first_night",
    ),
    "half of every year": (
        pb.CalendarRule(yearly_first_night="02-20", profile=NIGHT_DIM),
        "calendar.rules[0].yearly_last_night",
    ),
    "a state that is none": (
        pb.CalendarRule(days=pb.DAY_KIND_SCHOOL_HOLIDAY, subdivision="DE-XX", profile=NIGHT_DIM),
        "calendar.rules[0].subdivision",
    ),
    "a night that is no date": (
        pb.CalendarRule(nights=[Date(year=2027, month=2, day=30)], profile=NIGHT_DIM),
        "calendar.rules[0].nights[0]",
    ),
}


async def test_a_rule_of_a_calendar_is_refused_with_the_field(scheduler: Scheduler) -> None:
    await scheduler.stub().CreateProfile(profile_request())
    for case, (rule, field) in CALENDARS.items():
        with pytest.raises(InvalidInput) as caught:
            await scheduler.stub().CreateCalendar(calendar_request(rules=[rule]))
        assert (case, caught.value.violations[0].field) == (case, field)


async def test_school_holidays_are_put_changed_listed_and_deleted(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    created = await stub.PutSchoolHolidays(school(date(2030, 7, 22), date(2030, 8, 30)))
    assert (created.name, created.revision, created.source) == (HESSE, 1, "the ministry")
    assert created.covered_until == Date(year=2030, month=8, day=30)
    assert await stub.PutSchoolHolidays(school(date(2030, 7, 22), date(2030, 8, 30))) == created
    changed = await stub.PutSchoolHolidays(school(date(2030, 7, 22), date(2030, 8, 31)))
    assert changed.revision == 2
    with pytest.raises(Conflict):
        await stub.PutSchoolHolidays(school(date(2030, 7, 22), date(2030, 8, 29), etag=created.etag))
    listed = await scheduler.stub(VIEWER).ListSchoolHolidays(hol.ListSchoolHolidaysRequest(parent=HERSFELD_NAME))
    assert list(listed.school_holidays) == [changed]
    assert await stub.GetSchoolHolidays(hol.GetSchoolHolidaysRequest(name=HESSE)) == changed
    assert await stub.DeleteSchoolHolidays(hol.DeleteSchoolHolidaysRequest(name=HESSE)) == changed
    with pytest.raises(NotFound):
        await stub.GetSchoolHolidays(hol.GetSchoolHolidaysRequest(name=HESSE))
    assert [record.action.split("/")[-1] for record in await scheduler.audit_trail(HESSE)] == [
        "DeleteSchoolHolidays",
        "PutSchoolHolidays",
        "PutSchoolHolidays",
    ]


async def test_school_holidays_are_refused_with_the_field(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    good = (date(2030, 7, 22), date(2030, 8, 30))
    cases = [
        (school(*reversed(good)), "school_holidays.periods[0].last_day"),
        (school(*good, periods=[]), "school_holidays.periods"),
        (school(*good, source=""), "school_holidays.source"),
        (school(*good, name=f"{HERSFELD_NAME}/schoolHolidays/Hessen"), "school_holidays.name"),
        (school(*good, covered_until=Date(year=2032, month=1, day=1)), "school_holidays.covered_until"),
    ]
    for request, field in cases:
        with pytest.raises(InvalidInput) as caught:
            await stub.PutSchoolHolidays(request)
        assert caught.value.violations[0].field == field
    with pytest.raises(NotPermitted):
        await scheduler.stub(VIEWER).PutSchoolHolidays(school(*good))


async def test_holidays_that_nobody_told_of_are_warned_of_until_somebody_does_and_then_plans_follow(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    def undecided() -> float | None:
        return REGISTRY.get_sample_value("lichtbuch_scheduler_undecided_assignments")

    stub = scheduler.stub()
    town_lights.add_group(MARKET)
    await stub.CreateProfile(profile_request())
    await stub.CreateProfile(profile_request("full", [sunset(), sunrise()]))
    # Of a country whose school holidays the library does not have.
    rule = pb.CalendarRule(
        days=pb.DAY_KIND_SCHOOL_HOLIDAY, subdivision="CH-ZH", profile=f"{HERSFELD_NAME}/profiles/full"
    )
    created = await stub.CreateCalendar(calendar_request(rules=[rule]))
    assert list(created.warnings) == [
        "rules[0]: the school holidays of CH-ZH are not known for 400 of the 400 nights ahead, from the night of"
        " 2026-11-22 on; there the rules after it hold"
    ]
    assignment = await stub.CreateAssignment(assignment_request(MARKET))
    assert list(assignment.warnings) == list(created.warnings)
    listed = await stub.ListAssignments(pb.ListAssignmentsRequest(parent=HERSFELD_NAME))
    assert list(listed.assignments[0].warnings) == list(created.warnings)
    calendars = await stub.ListCalendars(pb.ListCalendarsRequest(parent=HERSFELD_NAME))
    assert list(calendars.calendars[0].warnings) == list(created.warnings)
    await eventually(lambda: undecided() == 1 and MARKET in town_lights.plans)
    # What holds meanwhile is the next rule, here the default.
    assert 500 in town_lights.plans[MARKET].levels_permille

    weeks = [(date(2026, 11, 20), date(2026, 12, 5)), (date(2027, 5, 1), date(2027, 5, 8)), (date(2027, 10, 9),) * 2]
    periods = [
        hol.SchoolHolidayPeriod(first_day=date_to_proto(first), last_day=date_to_proto(last)) for first, last in weeks
    ]
    name = f"{HERSFELD_NAME}/schoolHolidays/CH-ZH"
    until = Date(year=2028, month=1, day=31)
    await stub.PutSchoolHolidays(school(*weeks[0], name=name, periods=periods, covered_until=until))
    await eventually(lambda: 500 not in town_lights.plans[MARKET].levels_permille)
    await eventually(lambda: undecided() == 0)
    got = await stub.GetAssignment(pb.GetAssignmentRequest(name=assignment.name))
    assert list(got.warnings) == []
    assert town_lights.origins[MARKET] == "full@1 via all-days@1"
    await stub.DeleteSchoolHolidays(hol.DeleteSchoolHolidaysRequest(name=name))
    await eventually(lambda: 500 in town_lights.plans[MARKET].levels_permille)


async def test_a_rule_is_refused_whose_sensor_is_not_there_or_measures_something_else(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    stub = scheduler.stub()
    request = profile_request()
    request.profile.rules.extend([traffic(), traffic(sensor=f"{HERSFELD_NAME}/sensors/S-9")])
    with pytest.raises(InvalidInput) as caught:
        await stub.CreateProfile(request)
    assert [(v.field, v.reason) for v in caught.value.violations] == [
        ("profile.rules[1].sensor", "there is no sensor S-9")
    ]
    town_lights.sensors["S-9"] = SensorKind.RAIN
    with pytest.raises(InvalidInput, match="S-9 measures rain, not traffic"):
        await stub.CreateProfile(request)
    town_lights.sensors["S-9"] = SensorKind.TRAFFIC
    created = await stub.CreateProfile(request)
    assert list(created.warnings) == []
    # A sensor that goes later keeps nobody from changing the points, but groups do not follow it any more.
    del town_lights.sensors["S-9"]
    points = pb.Profile(name=created.name, points=night_dim(400))
    await stub.UpdateProfile(pb.UpdateProfileRequest(profile=points, update_mask=FieldMask(paths=["points"])))
    await stub.CreateCalendar(calendar_request())
    town_lights.add_group(MARKET)
    with pytest.raises(
        InvalidInput, match=r"assignment\.calendar.*night-dim, rules\[1\]\.sensor: there is no"
    ) as wrong:
        await stub.CreateAssignment(assignment_request(MARKET))
    assert wrong.value.violations[0].field == "assignment.calendar"
    town_lights.sensors["S-9"] = SensorKind.TRAFFIC
    assert (await stub.CreateAssignment(assignment_request(MARKET))).warnings == []


async def test_while_lighting_is_away_a_profile_is_saved_with_a_warning(
    scheduler: Scheduler, lighting_process: LightingProcess
) -> None:
    await lighting_process.stop()
    request = profile_request()
    request.profile.rules.append(traffic())
    created = await scheduler.stub().CreateProfile(request)
    [warning] = created.warnings
    assert warning.startswith("the sensors that its rules name could not be looked up: ")
