"""Profiles as planners work with them, over gRPC."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound, NotPermitted
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.type.v1.types_pb2 import Date, Position
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
from tests.support.running import ADMIN, BOTH, OPERATOR, VIEWER

NAME = f"{HERSFELD_NAME}/profiles/night-dim"


async def test_a_profile_is_created_read_and_listed(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    created = await stub.CreateProfile(profile_request())
    assert (created.name, created.display_name, created.revision) == (NAME, "Night dimming", 1)
    assert list(created.points) == night_dim()
    assert created.uid
    assert created.etag
    assert await stub.GetProfile(pb.GetProfileRequest(name=NAME)) == created
    listed = await scheduler.stub(VIEWER).ListProfiles(pb.ListProfilesRequest(parent=HERSFELD_NAME))
    assert list(listed.profiles) == [created]


async def test_the_server_chooses_an_id_where_the_client_does_not(scheduler: Scheduler) -> None:
    created = await scheduler.stub().CreateProfile(profile_request(""))
    assert created.name.startswith(f"{HERSFELD_NAME}/profiles/")
    assert len(created.name.split("/")[-1]) > 8


async def test_what_a_point_says_comes_back_as_it_was_said(scheduler: Scheduler) -> None:
    points = [
        pb.SwitchPoint(
            anchor=pb.ANCHOR_CIVIL_DUSK,
            offset_s=-900,
            level_permille=1000,
            ramp_s=120,
            earliest="16:00",
            latest="21:30",
        ),
        pb.SwitchPoint(anchor=pb.ANCHOR_VIRTUAL_MIDNIGHT, offset_s=-1800, level_permille=400),
        at("03:30:30", 800),
        pb.SwitchPoint(anchor=pb.ANCHOR_CIVIL_DAWN, offset_s=600),
    ]
    created = await scheduler.stub().CreateProfile(profile_request(points=points))
    assert list(created.points) == points


async def test_the_same_request_twice_makes_one_profile(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    first = await stub.CreateProfile(profile_request(request_id="r-1"))
    assert await stub.CreateProfile(profile_request(request_id="r-1")) == first
    with pytest.raises(InvalidInput, match="other content"):
        await stub.CreateProfile(profile_request(points=night_dim(600), request_id="r-1"))
    with pytest.raises(AlreadyExists):
        await stub.CreateProfile(profile_request())


async def test_a_change_is_a_new_revision_and_no_change_is_none(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    created = await stub.CreateProfile(profile_request())
    wanted = pb.Profile(name=NAME, display_name="Deeper", points=night_dim(400), etag=created.etag)
    changed = await stub.UpdateProfile(pb.UpdateProfileRequest(profile=wanted))
    assert (changed.revision, changed.display_name, list(changed.points)) == (2, "Deeper", night_dim(400))
    assert changed.uid == created.uid
    wanted.etag = ""
    assert await stub.UpdateProfile(pb.UpdateProfileRequest(profile=wanted)) == changed
    wanted.etag = created.etag
    with pytest.raises(Conflict):
        await stub.UpdateProfile(pb.UpdateProfileRequest(profile=wanted))


async def test_a_mask_changes_what_it_names(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    renamed = await stub.UpdateProfile(
        pb.UpdateProfileRequest(
            profile=pb.Profile(name=NAME, display_name="Another"), update_mask=FieldMask(paths=["display_name"])
        )
    )
    assert (renamed.display_name, list(renamed.points)) == ("Another", night_dim())
    with pytest.raises(InvalidInput, match="not a field that can be changed"):
        await stub.UpdateProfile(
            pb.UpdateProfileRequest(profile=pb.Profile(name=NAME), update_mask=FieldMask(paths=["colour"]))
        )


async def test_a_deleted_profile_is_gone_and_one_in_use_stays(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    created = await stub.CreateProfile(profile_request())
    await stub.CreateCalendar(calendar_request())
    with pytest.raises(FailedPrecondition, match="used by calendars: all-days"):
        await stub.DeleteProfile(pb.DeleteProfileRequest(name=NAME))
    await stub.DeleteCalendar(pb.DeleteCalendarRequest(name=f"{HERSFELD_NAME}/calendars/all-days"))
    deleted = await stub.DeleteProfile(pb.DeleteProfileRequest(name=NAME, reason="council decision 17"))
    assert deleted == created
    with pytest.raises(NotFound):
        await stub.GetProfile(pb.GetProfileRequest(name=NAME))


async def test_the_trail_tells_who_changed_what_and_why(scheduler: Scheduler) -> None:
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    await stub.UpdateProfile(pb.UpdateProfileRequest(profile=pb.Profile(name=NAME, points=night_dim(400))))
    await stub.DeleteProfile(pb.DeleteProfileRequest(name=NAME, reason="no longer wanted"))
    deleted, changed, created = await scheduler.audit_trail(NAME)
    assert {record.actor for record in (deleted, changed, created)} == {"planner"}
    assert deleted.reason == "no longer wanted"
    assert '"level_permille":500' in changed.before_json
    assert '"level_permille":400' in changed.after_json
    assert (created.before_json, deleted.after_json) == ("", "")


async def test_pages_follow_one_another_over_all_towns_that_the_caller_may_see(scheduler: Scheduler) -> None:
    admin, planner = scheduler.stub(ADMIN), scheduler.stub()
    schwalm = "municipalities/schwalmstadt"
    for identifier in ("c", "a", "b"):
        await planner.CreateProfile(profile_request(identifier))
        await admin.CreateProfile(profile_request(identifier, parent=schwalm))
    both = scheduler.stub(BOTH)
    names: list[str] = []
    request = pb.ListProfilesRequest(parent="municipalities/-", page_size=2)
    while True:
        answer = await both.ListProfiles(request)
        names += [profile.name for profile in answer.profiles]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    assert names == [f"{town}/profiles/{item}" for town in (HERSFELD_NAME, schwalm) for item in "abc"]
    mine = await planner.ListProfiles(pb.ListProfilesRequest(parent="municipalities/-"))
    assert {profile.name.split("/")[1] for profile in mine.profiles} == {"bad-hersfeld"}


@pytest.mark.parametrize("subject", [VIEWER, OPERATOR])
async def test_who_does_not_plan_changes_nothing(scheduler: Scheduler, subject: str) -> None:
    with pytest.raises(NotPermitted):
        await scheduler.stub(subject).CreateProfile(profile_request())


async def test_a_preview_shows_a_night_before_anybody_sees_it_on_the_street(scheduler: Scheduler) -> None:
    request = pb.PreviewProfileRequest(
        parent=HERSFELD_NAME,
        profile=pb.Profile(points=night_dim()),
        first_night=Date(year=2026, month=10, day=24),
        nights=1,
    )
    seen = await scheduler.stub(VIEWER).PreviewProfile(request)
    assert list(seen.levels_permille) == [0, 1000, 500, 1000, 0]
    assert seen.local_times[0] == "2026-10-24T12:00:00+02:00"
    assert seen.local_times[2:4] == ["2026-10-24T22:30:00+02:00", "2026-10-25T04:30:00+01:00"]
    # The hour that the clock repeats is an hour of half light more.
    assert seen.instants_unix_ms[3] - seen.instants_unix_ms[2] == 7 * 3600 * 1000
    assert seen.lit_seconds - seen.full_light_equivalent_seconds == 7 * 3600 // 2
    assert any("the clock changes" in warning for warning in seen.warnings)


async def test_a_preview_looks_at_another_place_and_over_more_than_a_year(scheduler: Scheduler) -> None:
    oslo = Position(latitude_deg=59.91, longitude_deg=10.75)
    always = [sunset(), sunrise()]
    request = pb.PreviewProfileRequest(
        parent=HERSFELD_NAME,
        profile=pb.Profile(points=always),
        position=oslo,
        first_night=Date(year=2026, month=10, day=20),
        nights=400,
    )
    seen = await scheduler.stub(VIEWER).PreviewProfile(request)
    assert len(seen.instants_unix_ms) == 801
    assert sum(level > 0 for level in seen.levels_permille) == 400


async def test_a_preview_warns_of_a_night_outside_of_it_that_goes_wrong(scheduler: Scheduler) -> None:
    early = [sunset(), at("21:00", 500), sunrise()]
    request = pb.PreviewProfileRequest(
        parent=HERSFELD_NAME, profile=pb.Profile(points=early), first_night=Date(year=2026, month=12, day=1), nights=3
    )
    seen = await scheduler.stub(VIEWER).PreviewProfile(request)
    assert any("cannot be saved" in warning and "in the night of 2027-" in warning for warning in seen.warnings)
    request.first_night.CopyFrom(Date(year=2026, month=6, day=20))
    with pytest.raises(InvalidInput) as refused:
        await scheduler.stub(VIEWER).PreviewProfile(request)
    assert refused.value.violations[0].field == "profile.points[1]"
    assert "in the night of 2026-06-20" in refused.value.violations[0].reason
