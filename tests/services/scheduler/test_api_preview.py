"""What a profile or a calendar would bring, over gRPC: for groups of lighting, beside what they follow now."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from domain.errors import InvalidInput
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
from tests.support.running import VIEWER


def preview_request(**changes: Any) -> pb.PreviewProfileRequest:
    """Asks for the winter of a profile in two groups."""
    given: dict[str, Any] = {
        "parent": HERSFELD_NAME,
        "profile": pb.Profile(points=night_dim(400)),
        "first_night": Date(year=2026, month=11, day=1),
        "nights": 61,
        "groups": [MARKET, RING],
    }
    return pb.PreviewProfileRequest(**{name: value for name, value in (given | changes).items() if value is not None})


async def follow(scheduler: Scheduler, town_lights: FakeLighting) -> None:
    """Both groups are there; the market follows a calendar."""
    town_lights.add_group(MARKET, floor_permille=400)
    town_lights.add_group(RING, floor_permille=500, at=(50.9, 9.6))
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request())
    await stub.CreateCalendar(calendar_request())
    await stub.CreateAssignment(assignment_request(MARKET))


async def test_groups_are_compared_with_what_they_follow_now_and_with_full_light(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    await follow(scheduler, town_lights)
    seen = await scheduler.stub(VIEWER).PreviewProfile(preview_request())
    market, ring = seen.groups
    assert (market.group, ring.group) == (MARKET, RING)
    assert (market.current_calendar, ring.current_calendar) == (f"{HERSFELD_NAME}/calendars/all-days", "")
    assert market.luminaire_count == 3
    assert market.estimated_count == 1
    assert market.previewed.energy_wh < market.current.energy_wh < market.full.energy_wh
    assert ring.current == ring.full
    # Six hours a night at 40 % in place of 100 %: two lamps that may be dimmed, one in a conflict area that may not.
    saved_w = 40 - (12 + (40 - 12) * 300 / 900)
    assert market.full.energy_wh - market.previewed.energy_wh == pytest.approx(61 * 6 * saved_w, rel=1e-3)
    assert market.previewed.energy_sensors_active_wh == market.previewed.energy_wh
    assert list(market.levels_permille) == [0, 400, 1000]
    assert list(market.level_seconds)[1] == 61 * 6 * 3600
    assert list(market.shown_levels_permille) == [0, 400, 1000]
    assert list(market.shown_luminaire_seconds)[1] == 2 * 61 * 6 * 3600
    assert market.local_times[2] == "2026-11-01T22:30:00+01:00"
    assert not any("floor" in warning for warning in market.warnings)
    assert any("40 % is below the floor of 50 %" in warning for warning in ring.warnings)
    assert [month.month for month in seen.months] == ["2026-11", "2026-12"]
    for name in ("previewed", "current", "full"):
        total = getattr(seen, name)
        assert total.energy_wh == pytest.approx(sum(getattr(month, name).energy_wh for month in seen.months), abs=2)
        assert total.energy_wh == pytest.approx(sum(getattr(group, name).energy_wh for group in seen.groups), abs=2)
        assert Decimal(total.cost_eur) == (Decimal(total.energy_wh) * Decimal("0.0003")).quantize(Decimal("0.01"))
        assert total.co2_g == pytest.approx(total.energy_wh * 0.363, abs=1)
    assert (seen.price_eur_per_kwh, seen.co2_g_per_kwh, seen.energy_unknown) == ("0.30", 363, "")


async def test_price_and_emissions_may_be_given_and_events_left_out(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    await follow(scheduler, town_lights)
    request = preview_request(price_eur_per_kwh="0.2875", co2_g_per_kwh=0, omit_group_events=True, groups=[MARKET])
    seen = await scheduler.stub(VIEWER).PreviewProfile(request)
    exact = Decimal(seen.previewed.energy_wh) / 1000 * Decimal("0.2875")
    assert Decimal(seen.previewed.cost_eur) == exact.quantize(Decimal("0.01"))
    assert (seen.previewed.co2_g, seen.co2_g_per_kwh) == (0, 0)
    assert not seen.groups[0].instants_unix_ms
    assert seen.instants_unix_ms  # those of the place are always told


async def test_a_calendar_is_previewed_with_its_rules_and_what_it_cannot_decide(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    await follow(scheduler, town_lights)
    await scheduler.stub().CreateProfile(profile_request("all-night", points=[sunset(), sunrise()]))
    name = f"{HERSFELD_NAME}/profiles"
    calendar = pb.Calendar(
        default_profile=f"{name}/night-dim",
        rules=[
            pb.CalendarRule(profile=f"{name}/all-night", weekdays=[5, 6]),
            pb.CalendarRule(profile=f"{name}/all-night", days=pb.DAY_KIND_SCHOOL_HOLIDAY, subdivision="DE-HE"),
        ],
    )
    request = preview_request(profile=None, calendar=calendar, groups=[MARKET], nights=7)
    seen = await scheduler.stub(VIEWER).PreviewProfile(request)
    # Sunday to Saturday: five nights are dimmed, two are not; dimming is what it is now.
    assert seen.groups[0].level_seconds[1] == 5 * 6 * 3600
    assert seen.previewed.energy_wh > seen.current.energy_wh
    request.first_night.year = 2060
    warned = await scheduler.stub(VIEWER).PreviewProfile(request)
    assert any("the school holidays of DE-HE are not known" in warning for warning in warned.warnings)


async def test_while_lighting_is_away_hours_are_known_and_energy_is_not(
    scheduler: Scheduler, town_lights: FakeLighting, lighting_process: LightingProcess
) -> None:
    await follow(scheduler, town_lights)
    await lighting_process.stop()
    seen = await scheduler.stub(VIEWER).PreviewProfile(preview_request())
    assert "lighting does not answer" in seen.energy_unknown
    assert len(seen.groups) == 2
    assert seen.groups[0].previewed.lit_seconds == seen.lit_seconds
    assert seen.groups[0].current_calendar == f"{HERSFELD_NAME}/calendars/all-days"
    assert (seen.previewed.energy_wh, seen.previewed.cost_eur, seen.groups[0].luminaire_count) == (0, "", 0)
    assert seen.months[0].full.lit_seconds > 0


async def test_without_groups_there_are_hours_by_month(scheduler: Scheduler) -> None:
    seen = await scheduler.stub(VIEWER).PreviewProfile(preview_request(groups=[]))
    assert sum(month.previewed.lit_seconds for month in seen.months) == seen.lit_seconds
    assert seen.full.lit_seconds == pytest.approx(seen.lit_seconds, abs=200)
    assert not seen.HasField("current")
    assert "no groups" in seen.energy_unknown


async def refused(scheduler: Scheduler, request: pb.PreviewProfileRequest) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        await scheduler.stub(VIEWER).PreviewProfile(request)
    [violation] = caught.value.violations
    return violation.field, violation.reason


async def test_a_preview_of_nonsense_is_refused_with_the_field(scheduler: Scheduler, town_lights: FakeLighting) -> None:
    await follow(scheduler, town_lights)
    calendar = pb.Calendar(default_profile=f"{HERSFELD_NAME}/profiles/none")
    for changes, field, reason in (
        ({"profile": None}, "profile", "is required"),
        ({"calendar": calendar}, "profile", "beside a calendar"),
        ({"profile": None, "calendar": calendar}, "calendar.default_profile", "does not exist"),
        ({"groups": [MARKET, f"{HERSFELD_NAME}/groups/none"]}, "groups[1]", "does not exist"),
        ({"groups": ["municipalities/schwalmstadt/groups/x"]}, "groups[0]", "is not of the municipality"),
        ({"price_eur_per_kwh": "cheap"}, "price_eur_per_kwh", ""),
        ({"co2_g_per_kwh": 3000}, "co2_g_per_kwh", ""),
        ({"profile": pb.Profile(points=[sunset(), sunset(), sunrise()])}, "profile.points[1]", "2026-11-01"),
        ({"groups": [MARKET] * 51, "nights": 400}, "omit_group_events", "too many"),
    ):
        found = await refused(scheduler, preview_request(**changes))
        assert found[0] == field
        assert reason in found[1]


async def test_a_change_that_goes_wrong_where_a_group_is_is_refused_with_the_group_and_the_night(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    await follow(scheduler, town_lights)
    stub = scheduler.stub()
    far = f"{HERSFELD_NAME}/groups/weit-im-norden"
    town_lights.add_group(far, at=(54.9, 8.3))
    await stub.CreateAssignment(assignment_request(far))
    # In June the sun sets at 21:40 in Bad Hersfeld, and half an hour later by the North Sea.
    late = [sunset(), at("22:00", 500), at("03:00", 1000), sunrise()]
    change = pb.UpdateProfileRequest(profile=pb.Profile(name=f"{HERSFELD_NAME}/profiles/night-dim", points=late))
    with pytest.raises(InvalidInput) as caught:
        await stub.UpdateProfile(change)
    [violation] = caught.value.violations
    assert violation.field == "profile.points[1]"
    assert f"(at {far})" in violation.reason
    assert "in the night of 2027-0" in violation.reason
    # The same profile under another name is nobody's yet.
    await stub.CreateProfile(profile_request("late", points=late))
    seen = await stub.PreviewProfile(preview_request(profile=pb.Profile(points=late), groups=[far]))
    assert any("cannot be saved" in warning and far in warning for warning in seen.warnings)


async def test_whoever_saves_what_lighting_would_refuse_is_told_the_group_and_the_first_night(
    scheduler: Scheduler, town_lights: FakeLighting, lighting_process: LightingProcess
) -> None:
    """Also where it goes wrong on a single night of the year only; and nobody hears of groups that do not follow it."""
    await follow(scheduler, town_lights)
    stub = scheduler.stub()
    await stub.CreateProfile(profile_request("deep"))
    fair = pb.CalendarRule(first_night=Date(year=2027, month=7, day=3), last_night=Date(year=2027, month=7, day=3))
    fair.profile = f"{HERSFELD_NAME}/profiles/deep"
    await stub.UpdateCalendar(
        pb.UpdateCalendarRequest(
            calendar=pb.Calendar(name=f"{HERSFELD_NAME}/calendars/all-days", rules=[fair]),
            update_mask=FieldMask(paths=["rules"]),
        )
    )

    async def saved(level_permille: int) -> list[str]:
        profile = pb.Profile(name=fair.profile, points=night_dim(level_permille))
        return list((await stub.UpdateProfile(pb.UpdateProfileRequest(profile=profile))).warnings)

    assert await saved(450) == []
    low = await saved(100)
    assert low == ["markt: 10 % is below the floor of 40 % in 1 night from 2027-07-03 on: lighting refuses such a plan"]
    [dark] = await saved(0)
    assert "within the civil night, in 1 night from 2027-07-03 on: lighting refuses such a plan unless a" in dark
    await lighting_process.stop()
    [unseen] = await saved(200)
    assert unseen.startswith("nobody has looked what lighting would refuse of it in the year ahead: ")


async def test_what_else_hangs_on_the_cabinets_meter_stands_beside_and_is_in_its_total_only(
    scheduler: Scheduler, town_lights: FakeLighting
) -> None:
    await follow(scheduler, town_lights)
    seen = await scheduler.stub(VIEWER).PreviewProfile(preview_request())
    [cabinet] = seen.cabinets
    assert (cabinet.luminaire_count, cabinet.other_luminaire_count) == (6, 4)
    assert cabinet.previewed_wh == pytest.approx(seen.previewed.energy_wh, abs=2)
    assert cabinet.current_wh == pytest.approx(seen.current.energy_wh, abs=2)
    assert cabinet.full_wh == pytest.approx(seen.full.energy_wh, abs=2)
    [foreign] = cabinet.foreign_loads
    assert (foreign.display_name, foreign.from_month, foreign.to_month) == ("Christmas", 12, 1)
    assert (foreign.from_time, foreign.to_time) == ("16:00", "23:00")
    # The whole of December; the last night ends at the noon of January 1.
    assert (foreign.on_seconds, foreign.energy_wh) == (31 * 7 * 3600, 31 * 7 * 400)
    assert (cabinet.foreign_wh, cabinet.total_wh) == (foreign.energy_wh, cabinet.previewed_wh + foreign.energy_wh)
