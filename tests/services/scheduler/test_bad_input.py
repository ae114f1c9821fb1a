"""Bad input, each refused with the field and the reason before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date
from tests.services.scheduler.conftest import NOON, NOWHERE, Scheduler
from tests.services.scheduler.fake_lighting import MARKET, FakeLighting
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
from tests.support.running import ADMIN

SCHWALM = "municipalities/schwalmstadt"
PROFILES = {
    "points that cross in midsummer": (
        [sunset(), at("21:00", 500), sunrise()],
        "profile.points[1]",
        "in the night of 2027-05-13 it comes at 21:00:00, not after points[0]",
    ),
    "points at one instant": (
        [sunset(), sunset(500), sunrise()],
        "profile.points[1]",
        f"in the night of {NOON:%Y-%m-%d}",
    ),
    "points in the wrong order": (
        [sunset(), at("04:30", 1000), at("22:30", 500), sunrise()],
        "profile.points[2]",
        "not after points[1] at 04:30:00",
    ),
    "no points": ([], "profile.points", "is required"),
    "light that nobody switches off": ([sunset()], "profile.points[0].level_permille", "has level 0"),
    "an anchor that is missing": ([pb.SwitchPoint(level_permille=0)], "profile.points[0].anchor", "is required"),
    "an anchor that nobody knows": (
        [pb.SwitchPoint(anchor=99)],  # type: ignore[arg-type]
        "profile.points[0].anchor",
        "not a known value",
    ),
    "more than full light": ([sunset(1001), sunrise()], "profile.points[0].level_permille", "0 and 1000"),
    "a negative level": ([sunset(-1), sunrise()], "profile.points[0].level_permille", "0 and 1000"),
    "an offset of a day": ([sunset(offset_s=86_400), sunrise()], "profile.points[0].offset_s", "43200"),
    "a ramp of two hours": ([sunset(ramp_s=7_200), sunrise()], "profile.points[0].ramp_s", "3600"),
    "a clock time of 24:00": ([sunset(), at("24:00", 500), sunrise()], "profile.points[1].clock_time", "24:00"),
    "a clock time that is missing": (
        [sunset(), at("", 500), sunrise()],
        "profile.points[1].clock_time",
        "needed by the anchor CLOCK",
    ),
    "a clock time at sunset": (
        [sunset(clock_time="20:00"), sunrise()],
        "profile.points[0].clock_time",
        "belongs to the anchor CLOCK only",
    ),
    "a clock time with an offset": (
        [sunset(), at("23:00", 500, offset_s=60), sunrise()],
        "profile.points[1]",
        "neither offset nor limits",
    ),
    "limits turned round": (
        [sunset(), sunrise(earliest="07:00", latest="05:00")],
        "profile.points[1].earliest",
        "is after latest",
    ),
    "51 points": (
        [*(at(f"{22 + minute // 60}:{minute % 60:02}", 500 + minute) for minute in range(50)), sunrise()],
        "profile.points",
        "at most 50",
    ),
}


async def refused(call: Any, request: Message) -> tuple[str, str]:
    """Field and reason of the only violation that a request is refused for."""
    with pytest.raises(InvalidInput) as caught:
        await call(request)
    [violation] = caught.value.violations
    return violation.field, violation.reason


async def test_a_profile_is_refused_and_nothing_is_stored(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    for case, (points, field, reason) in PROFILES.items():
        found_field, found_reason = await refused(stub.CreateProfile, profile_request(points=points))
        assert (case, found_field) == (case, field)
        assert reason in found_reason
    assert not (await stub.ListProfiles(pb.ListProfilesRequest(parent=HERSFELD_NAME))).profiles


async def test_a_wrong_change_of_a_profile_leaves_it_as_it_was(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    created = await stub.CreateProfile(profile_request())
    for case, (points, field, _) in PROFILES.items():
        change = pb.UpdateProfileRequest(profile=pb.Profile(name=created.name, points=points))
        assert (case, (await refused(stub.UpdateProfile, change))[0]) == (case, field)
    assert await stub.GetProfile(pb.GetProfileRequest(name=created.name)) == created


async def test_a_profile_s_frame_is_looked_at_too(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    assert (await refused(stub.CreateProfile, profile_request("a/b")))[0] == "profile_id"
    assert (await refused(stub.CreateProfile, profile_request(parent="")))[0] == "parent"
    long = profile_request()
    long.profile.display_name = "x" * 201
    assert (await refused(stub.CreateProfile, long))[0] == "profile.display_name"
    with pytest.raises(NotFound):
        update = pb.Profile(name=f"{HERSFELD_NAME}/profiles/none", points=night_dim())
        await stub.UpdateProfile(pb.UpdateProfileRequest(profile=update))


async def test_a_town_that_does_not_say_where_it_lies_has_no_dusk(scheduler: Scheduler) -> None:
    request = profile_request(parent=NOWHERE.name)
    with pytest.raises(FailedPrecondition) as caught:
        await scheduler.stub(ADMIN).CreateProfile(request)
    [violation] = caught.value.violations
    assert violation.field == "municipalities/nirgendwo.position"
    assert "dusk and dawn cannot be computed" in violation.reason


def rule(profile: str = "night-dim", **changes: Any) -> pb.CalendarRule:
    return pb.CalendarRule(profile=f"{HERSFELD_NAME}/profiles/{profile}", **changes)


CALENDARS = {
    "an unknown default": (calendar_request(default_profile="none"), "calendar.default_profile", "does not exist"),
    "a missing default": (
        pb.CreateCalendarRequest(parent=HERSFELD_NAME, calendar_id="x", calendar=pb.Calendar()),
        "calendar.default_profile",
        "is required",
    ),
    "an unknown profile in a rule": (
        calendar_request(rules=[rule(weekdays=[1]), rule("none")]),
        "calendar.rules[1].profile",
        "does not exist",
    ),
    "a rule without profile": (
        calendar_request(rules=[pb.CalendarRule(weekdays=[1])]),
        "calendar.rules[0].profile",
        "a rule needs a profile, or hours and a level",
    ),
    "another town's profile in a rule": (
        calendar_request(rules=[rule(), pb.CalendarRule(profile=f"{SCHWALM}/profiles/night-dim")]),
        "calendar.rules[1].profile",
        "is not of the municipality that the request is about",
    ),
    "something else in place of a profile": (
        calendar_request(rules=[pb.CalendarRule(profile=f"{HERSFELD_NAME}/groups/markt")]),
        "calendar.rules[0].profile",
        "one of 'profiles' is needed",
    ),
    "a range turned round": (
        calendar_request(
            rules=[rule(first_night=Date(year=2026, month=12, day=2), last_night=Date(year=2026, month=12, day=1))]
        ),
        "calendar.rules[0].last_night",
        "is before first_night",
    ),
    "the 30th of February": (
        calendar_request(rules=[rule(first_night=Date(year=2026, month=2, day=30))]),
        "calendar.rules[0].first_night",
        "is not a date",
    ),
    "an eighth weekday": (calendar_request(rules=[rule(weekdays=[8])]), "calendar.rules[0].weekdays[0]", "1 and 7"),
    "a rule that never matches": (
        calendar_request(rules=[rule(), rule(weekdays=[1])]),
        "calendar.rules[1]",
        "never matches",
    ),
}


async def test_a_calendar_is_refused_and_nothing_is_stored(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    await scheduler.stub(ADMIN).CreateProfile(profile_request(parent=SCHWALM))
    for case, (request, field, reason) in CALENDARS.items():
        found_field, found_reason = await refused(stub.CreateCalendar, request)
        assert (case, found_field) == (case, field)
        assert reason in found_reason
    assert not (await stub.ListCalendars(pb.ListCalendarsRequest(parent=HERSFELD_NAME))).calendars


ASSIGNMENTS = {
    "an unknown group": (
        assignment_request(f"{HERSFELD_NAME}/groups/none"),
        "assignment.group",
        "groups/none does not exist",
    ),
    "an unknown calendar": (assignment_request(MARKET, "none"), "assignment.calendar", "does not exist"),
    "an id that is not the group's": (
        assignment_request(MARKET, assignment_id="another"),
        "assignment_id",
        "must be the id of the group, 'markt'",
    ),
    "another town's group": (
        assignment_request(f"{SCHWALM}/groups/markt"),
        "assignment.group",
        "is not of the municipality that the request is about",
    ),
    "a group that is missing": (assignment_request(""), "assignment.group", "is required"),
}


async def test_an_assignment_is_refused_and_nothing_is_stored(scheduler: Scheduler, town_lights: FakeLighting) -> None:
    town_lights.add_group(MARKET)
    town_lights.add_group(f"{SCHWALM}/groups/markt")
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    await stub.CreateCalendar(calendar_request())
    for case, (request, field, reason) in ASSIGNMENTS.items():
        found_field, found_reason = await refused(stub.CreateAssignment, request)
        assert (case, found_field) == (case, field)
        assert reason in found_reason
    assert not (await stub.ListAssignments(pb.ListAssignmentsRequest(parent=HERSFELD_NAME))).assignments


async def test_another_town_is_none_of_a_planner_s_business(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    calls: list[tuple[Any, Message]] = [
        (stub.CreateProfile, profile_request(parent=SCHWALM)),
        (stub.GetProfile, pb.GetProfileRequest(name=f"{SCHWALM}/profiles/x")),
        (stub.ListProfiles, pb.ListProfilesRequest(parent=SCHWALM)),
        (stub.SynchronisePlans, pb.SynchronisePlansRequest(parent=SCHWALM)),
    ]
    for call, request in calls:
        with pytest.raises(NotPermitted):
            await call(request)


PREVIEWS: list[tuple[dict[str, Any], str]] = [
    ({"nights": 0}, "nights"),
    ({"nights": 401}, "nights"),
    ({"first_night": Date(year=2026, month=2, day=30)}, "first_night"),
    ({"first_night": None}, "first_night"),
    ({"profile": pb.Profile()}, "profile.points"),
]


async def test_a_preview_of_nonsense_is_refused(scheduler: Scheduler) -> None:
    given: dict[str, Any] = {
        "parent": HERSFELD_NAME,
        "profile": pb.Profile(points=night_dim()),
        "first_night": Date(year=2026, month=11, day=1),
        "nights": 1,
    }
    stub = scheduler.stub()
    for changes, field in PREVIEWS:
        request = pb.PreviewProfileRequest(**given | changes)
        assert (await refused(stub.PreviewProfile, request))[0] == field


async def test_a_page_token_of_another_query_is_refused(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    for identifier in "ab":
        await stub.CreateProfile(profile_request(identifier))
    first = await stub.ListProfiles(pb.ListProfilesRequest(parent=HERSFELD_NAME, page_size=1))
    request = pb.ListProfilesRequest(parent="municipalities/-", page_token=first.next_page_token)
    assert (await refused(stub.ListProfiles, request))[0] == "page_token"
