"""Calendars and assignments as planners work with them, over gRPC, with lighting beside."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound, Unavailable
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date
from tests.services.scheduler.conftest import Scheduler
from tests.services.scheduler.fake_lighting import MARKET, RING, FakeLighting, LightingProcess
from tests.services.scheduler.making import HERSFELD_NAME, assignment_request, calendar_request, profile_request
from tests.support.running import VIEWER
from tests.support.waiting import eventually

CALENDAR = f"{HERSFELD_NAME}/calendars/all-days"
MARKET_ASSIGNMENT = f"{HERSFELD_NAME}/assignments/markt"
WINTER = f"{HERSFELD_NAME}/profiles/winter"


async def planned(scheduler: Scheduler) -> pb.Calendar:
    """Two profiles and a calendar over them."""
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    await stub.CreateProfile(profile_request("winter"))
    rule = pb.CalendarRule(
        first_night=Date(year=2026, month=12, day=1),
        last_night=Date(year=2027, month=2, day=28),
        weekdays=[6, 5],
        profile=WINTER,
    )
    return await stub.CreateCalendar(calendar_request(rules=[rule]))


async def test_a_calendar_is_created_read_changed_and_listed(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    created = await planned(scheduler)
    assert (created.name, created.revision) == (CALENDAR, 1)
    assert created.default_profile == f"{HERSFELD_NAME}/profiles/night-dim"
    [rule] = created.rules
    assert (rule.profile, list(rule.weekdays), rule.first_night.month) == (WINTER, [5, 6], 12)
    assert await stub.GetCalendar(pb.GetCalendarRequest(name=CALENDAR)) == created

    wanted = pb.Calendar(name=CALENDAR, default_profile=WINTER, etag=created.etag)
    changed = await stub.UpdateCalendar(
        pb.UpdateCalendarRequest(calendar=wanted, update_mask=FieldMask(paths=["default_profile"]))
    )
    assert (changed.revision, changed.default_profile, list(changed.rules)) == (2, WINTER, list(created.rules))
    with pytest.raises(Conflict):
        await stub.UpdateCalendar(pb.UpdateCalendarRequest(calendar=wanted))
    listed = await scheduler.stub(VIEWER).ListCalendars(pb.ListCalendarsRequest(parent=HERSFELD_NAME))
    assert list(listed.calendars) == [changed]
    # The profile that the default was is free again.
    await stub.DeleteProfile(pb.DeleteProfileRequest(name=f"{HERSFELD_NAME}/profiles/night-dim"))
    assert [record.action.split("/")[-1] for record in await scheduler.audit_trail(CALENDAR)] == [
        "UpdateCalendar",
        "CreateCalendar",
    ]


async def test_a_group_follows_a_calendar_and_its_plan_is_put_at_once(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    town_lights.add_group(MARKET)
    stub = scheduler.stub()
    await planned(scheduler)
    created = await stub.CreateAssignment(assignment_request(MARKET))
    assert (created.name, created.group, created.calendar) == (MARKET_ASSIGNMENT, MARKET, CALENDAR)
    # Domain time stands: only the change itself can have woken the loop.
    await eventually(lambda: MARKET in town_lights.plans)
    assert town_lights.origins[MARKET] == "night-dim@1 via all-days@1"
    await stub.SynchronisePlans(pb.SynchronisePlansRequest(parent=HERSFELD_NAME))
    found = await stub.GetAssignment(pb.GetAssignmentRequest(name=MARKET_ASSIGNMENT))
    assert found.planned_until.ToDatetime().isoformat() == "2026-11-26T11:00:00"
    assert found.etag == created.etag
    listed = await stub.ListAssignments(pb.ListAssignmentsRequest(parent=HERSFELD_NAME))
    assert list(listed.assignments) == [found]


async def test_a_group_has_one_assignment(scheduler: Scheduler, town_lights: FakeLighting) -> None:
    town_lights.add_group(MARKET)
    await planned(scheduler)
    stub = scheduler.stub()
    first = await stub.CreateAssignment(assignment_request(MARKET, request_id="once"))
    assert (await stub.CreateAssignment(assignment_request(MARKET, request_id="once"))).uid == first.uid
    with pytest.raises(AlreadyExists, match="a group follows one calendar"):
        await stub.CreateAssignment(assignment_request(MARKET))


async def test_another_calendar_reaches_lighting_at_once(scheduler: Scheduler, town_lights: FakeLighting) -> None:
    town_lights.add_group(MARKET)
    await planned(scheduler)
    stub = scheduler.stub()
    await stub.CreateCalendar(calendar_request("winter-days", "winter"))
    await stub.UpdateProfile(
        pb.UpdateProfileRequest(profile=pb.Profile(name=WINTER, points=profile_request().profile.points[:1] + _off()))
    )
    created = await stub.CreateAssignment(assignment_request(MARKET))
    await eventually(lambda: MARKET in town_lights.plans)
    before = town_lights.plans[MARKET].hash
    wanted = pb.Assignment(
        name=created.name, group=MARKET, calendar=f"{HERSFELD_NAME}/calendars/winter-days", etag=created.etag
    )
    changed = await stub.UpdateAssignment(pb.UpdateAssignmentRequest(assignment=wanted))
    assert changed.calendar == wanted.calendar
    assert changed.etag != created.etag
    await eventually(lambda: town_lights.plans[MARKET].hash != before)
    assert town_lights.origins[MARKET] == "winter@2 via winter-days@1"
    with pytest.raises(Conflict):
        await stub.UpdateAssignment(pb.UpdateAssignmentRequest(assignment=wanted))


async def test_a_group_that_is_let_go_keeps_its_plan_until_it_runs_out(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    town_lights.add_group(MARKET)
    await planned(scheduler)
    stub = scheduler.stub()
    await stub.CreateAssignment(assignment_request(MARKET))
    await eventually(lambda: MARKET in town_lights.plans)
    with pytest.raises(FailedPrecondition, match="groups follow the calendar: markt"):
        await stub.DeleteCalendar(pb.DeleteCalendarRequest(name=CALENDAR))
    await stub.DeleteAssignment(pb.DeleteAssignmentRequest(name=MARKET_ASSIGNMENT, reason="street is rebuilt"))
    assert (await stub.SynchronisePlans(pb.SynchronisePlansRequest(parent=HERSFELD_NAME))).put == 0
    assert len(town_lights.puts) == 1
    assert MARKET in town_lights.plans
    with pytest.raises(NotFound):
        await stub.GetAssignment(pb.GetAssignmentRequest(name=MARKET_ASSIGNMENT))
    trail = await scheduler.audit_trail(MARKET_ASSIGNMENT)
    assert [record.reason for record in trail] == ["street is rebuilt", ""]


async def test_without_lighting_nobody_can_say_whether_a_group_exists(
    scheduler: Scheduler, town_lights: FakeLighting, lighting_process: LightingProcess
) -> None:
    town_lights.add_group(MARKET)
    await planned(scheduler)
    await lighting_process.stop()
    stub = scheduler.stub()
    with pytest.raises(Unavailable, match="lighting cannot be asked"):
        await stub.CreateAssignment(assignment_request(MARKET), timeout=30)
    # Profiles and calendars need no lighting, and the scheduler itself is well.
    await stub.CreateProfile(profile_request("another"))
    await scheduler.running.server.health.check_now()
    assert scheduler.running.server.health.serving


async def test_comparing_now_tells_what_was_equal_what_was_put_and_what_was_refused(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    town_lights.add_group(MARKET)
    town_lights.add_group(RING)
    await planned(scheduler)
    operator = scheduler.stub("operator")
    for group in (MARKET, RING):
        await scheduler.stub().CreateAssignment(assignment_request(group))
    await eventually(lambda: len(town_lights.plans) == 2)
    town_lights.plans.pop(RING)
    town_lights.groups[RING].floor_permille = 700
    report = await operator.SynchronisePlans(pb.SynchronisePlansRequest(parent=HERSFELD_NAME))
    assert (report.equal, report.put) == (1, 0)
    [refused] = report.refused
    assert refused.startswith(f"{RING}: ")
    assert "below the floor of 700 per mille" in refused
    found = await operator.GetAssignment(pb.GetAssignmentRequest(name=f"{HERSFELD_NAME}/assignments/ring"))
    assert "below the floor of 700 per mille" in found.refusal


async def test_an_update_does_not_move_an_assignment_to_another_group(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    town_lights.add_group(MARKET)
    await planned(scheduler)
    await scheduler.stub().CreateAssignment(assignment_request(MARKET))
    wanted = pb.Assignment(name=MARKET_ASSIGNMENT, group=RING, calendar=CALENDAR)
    with pytest.raises(InvalidInput, match="stays with its group"):
        await scheduler.stub().UpdateAssignment(pb.UpdateAssignmentRequest(assignment=wanted))


def _off() -> list[pb.SwitchPoint]:
    return [pb.SwitchPoint(anchor=pb.ANCHOR_SUNRISE)]
