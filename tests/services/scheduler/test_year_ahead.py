"""What goes wrong next July is told today: to whoever changes a calendar, or lets a group follow one."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date
from tests.services.scheduler.conftest import Scheduler
from tests.services.scheduler.fake_lighting import MARKET, RING, FakeLighting, LightingProcess
from tests.services.scheduler.making import (
    HERSFELD_NAME,
    assignment_request,
    at,
    calendar_request,
    night_dim,
    profile_request,
    sunrise,
    sunset,
)

CALENDAR = f"{HERSFELD_NAME}/calendars/all-days"
FAR = f"{HERSFELD_NAME}/groups/weit-im-norden"
JULY = Date(year=2027, month=7, day=3)
BELOW = "10 % is below the floor of 40 % in 1 night from 2027-07-03 on: lighting refuses such a plan"


def in_july(profile: str = "", **changes: Any) -> pb.CalendarRule:
    """A rule for one night in July."""
    name = f"{HERSFELD_NAME}/profiles/{profile}" if profile else ""
    return pb.CalendarRule(nights=[JULY], profile=name, **changes)


@pytest.fixture
async def stub(scheduler: Scheduler, town_lights: FakeLighting) -> Any:
    """The scheduler of a town with two groups with a floor of 40 %, whose market follows a calendar."""
    for group in (MARKET, RING):
        town_lights.add_group(group, floor_permille=400)
    stub = scheduler.stub()
    for identifier, points in (("night-dim", night_dim()), ("low", night_dim(100)), ("dark", night_dim(0))):
        await stub.CreateProfile(profile_request(identifier, points))
    assert (await stub.CreateCalendar(calendar_request())).warnings == []
    assert (await stub.CreateAssignment(assignment_request(MARKET))).warnings == []
    return stub


async def with_rules(stub: Any, *rules: pb.CalendarRule) -> list[str]:
    """What is told to whoever gives the calendar these rules."""
    calendar = pb.Calendar(name=CALENDAR, rules=rules)
    request = pb.UpdateCalendarRequest(calendar=calendar, update_mask=FieldMask(paths=["rules"]))
    return list((await stub.UpdateCalendar(request)).warnings)


async def test_whoever_changes_a_calendar_is_told_the_group_the_first_night_and_the_reason(
    stub: Any, town_lights: FakeLighting
) -> None:
    """Only those who follow it are meant; the plan of the coming nights is put all the same."""
    assert await with_rules(stub, in_july("low")) == [f"markt: {BELOW}"]
    [dark] = await with_rules(stub, in_july("dark"))
    assert dark.startswith("markt: off for up to ")
    assert "within the civil night, in 1 night from 2027-07-03 on: lighting refuses such a plan unless a" in dark
    event = in_july(from_time="23:00", until_time="01:00", level_permille=100)
    assert await with_rules(stub, event) == [f"markt: {BELOW}"]
    report = await stub.SynchronisePlans(pb.SynchronisePlansRequest(parent=HERSFELD_NAME))
    assert list(report.refused) == []
    assert MARKET in town_lights.plans
    assert await with_rules(stub) == []


async def test_what_was_told_is_told_again_where_nothing_changes(stub: Any) -> None:
    for _ in range(2):
        assert await with_rules(stub, in_july("low")) == [f"markt: {BELOW}"]


async def test_who_lets_a_group_follow_a_calendar_is_told_of_that_group(stub: Any) -> None:
    """When it is created, and when it is changed; with what the calendar itself is told for."""
    await with_rules(stub, in_july("low"))
    created = await stub.CreateAssignment(assignment_request(RING))
    assert list(created.warnings) == [f"ring: {BELOW}"]
    assert (await stub.CreateCalendar(calendar_request("plain"))).warnings == []
    assignment = pb.Assignment(name=created.name, group=RING, calendar=f"{HERSFELD_NAME}/calendars/plain")
    assert (await stub.UpdateAssignment(pb.UpdateAssignmentRequest(assignment=assignment))).warnings == []
    assignment.calendar = CALENDAR
    changed = await stub.UpdateAssignment(pb.UpdateAssignmentRequest(assignment=assignment))
    assert list(changed.warnings) == [f"ring: {BELOW}"]


async def test_what_a_council_has_waived_is_not_told(stub: Any, town_lights: FakeLighting) -> None:
    town_lights.waived.add(MARKET)
    assert await with_rules(stub, in_july("dark")) == []


async def test_points_that_cross_where_a_group_is_are_told_with_the_night(stub: Any, town_lights: FakeLighting) -> None:
    # The sun sets at 21:40 in Bad Hersfeld in July, and half an hour later by the North Sea.
    await stub.CreateProfile(profile_request("late", [sunset(), at("22:00", 500), at("03:00", 1000), sunrise()]))
    town_lights.add_group(FAR, at=(54.9, 8.3))
    await stub.CreateAssignment(assignment_request(FAR))
    [told] = await with_rules(stub, in_july("late"))
    assert told.startswith("weit-im-norden: points[1]: in the night of 2027-07-03 it comes at 22:00:00, not after")
    assert told.endswith("no plan can be made of it")


async def test_while_lighting_is_away_a_calendar_is_changed_and_told_that_nobody_has_looked(
    stub: Any, lighting_process: LightingProcess
) -> None:
    await lighting_process.stop()
    [told] = await with_rules(stub, in_july("low"))
    assert told.startswith("nobody has looked what lighting would refuse of it in the year ahead: ")
    stored = await stub.GetCalendar(pb.GetCalendarRequest(name=CALENDAR))
    assert len(stored.rules) == 1


async def test_a_calendar_that_nobody_follows_asks_lighting_nothing(stub: Any, town_lights: FakeLighting) -> None:
    await stub.CreateCalendar(calendar_request("plain"))
    asked = town_lights.calls.count("DescribeGroupLoads")
    calendar = pb.Calendar(name=f"{HERSFELD_NAME}/calendars/plain", rules=[in_july("dark")])
    request = pb.UpdateCalendarRequest(calendar=calendar, update_mask=FieldMask(paths=["rules"]))
    assert (await stub.UpdateCalendar(request)).warnings == []
    assert town_lights.calls.count("DescribeGroupLoads") == asked


async def test_a_profile_that_is_lit_by_day_is_told_at_every_save_and_saved_all_the_same(stub: Any) -> None:
    by_day = [at("12:30", 1000), at("11:30", 0)]
    created = await stub.CreateProfile(profile_request("turned", by_day))
    [told] = created.warnings
    assert told.startswith("lit for up to 5")
    assert told.endswith("minutes while the sun is up, in 366 nights from 2026-11-22 on")
    again = pb.UpdateProfileRequest(profile=pb.Profile(name=created.name, points=by_day))
    for _ in range(2):
        assert list((await stub.UpdateProfile(again)).warnings) == [told]
    mended = pb.UpdateProfileRequest(profile=pb.Profile(name=created.name, points=night_dim()))
    assert (await stub.UpdateProfile(mended)).warnings == []
