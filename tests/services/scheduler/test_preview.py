"""A preview sums what the night by night compile gives, and says what lighting then does: level, hours, energy."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.level import PowerCurve
from domain.night import night_bounds
from domain.plan import Plan
from domain.plan_rule import SensorKind, SensorOperation
from domain.sun import sun_events
from services.lighting.columns import build_columns
from services.lighting.due import DueCalculator
from services.lighting.energy import Drawn
from services.lighting.loads import group_load
from services.lighting.records import (
    CabinetRecord,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    Inventory,
    LuminaireRecord,
    Orders,
    TownRecord,
)
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.loads import GroupLoad, LoadPart, load_of
from services.scheduler.moment import NightMoment, Place
from services.scheduler.planning import follow_nights
from services.scheduler.preview import Period, PreviewedGroup, preview_groups
from services.scheduler.profile import Anchor, Profile, SensorRule, SwitchPoint
from tests.services.scheduler.making import ALL_NIGHT, dimmed
from tests.services.scheduler.test_nights import events, profiles

BERLIN = ZoneInfo("Europe/Berlin")
BAD_HERSFELD = Place(50.868, 9.707, BERLIN)
ALWAYS = Calendar((), "p")
LED = PowerCurve(((100, 330), (500, 610), (1000, 1000)), 22.8, 0.3)
AUTUMN = date(2026, 10, 24)
YEAR = Period(date(2026, 1, 1), 365, BERLIN)


def seconds_by_level(
    calendar: Calendar, known: dict[str, Profile], place: Place, period: Period, *, sensors: bool
) -> dict[int, float]:
    """The same by the night by night compile, instant by instant."""
    course = follow_nights(calendar, known, place, period.first_night, period.nights)
    plan = Plan(
        course.valid_from_ms, course.valid_until_ms, course.instants_ms, course.levels_permille, rules=course.rules
    )
    edges = {plan.valid_from_ms, plan.valid_until_ms, *plan.instants_ms}
    edges |= {edge for rule in plan.rules for edge in (rule.from_ms, rule.until_ms)}
    found: dict[int, float] = {}
    for begin, end in pairwise(sorted(edges)):
        index = plan.index_at(begin)
        assert index is not None
        level = plan.levels_permille[index]
        for rule in plan.rules_at(begin) if sensors else ():
            level = rule.applied_to(level)
        found[level] = found.get(level, 0.0) + (end - begin) / 1000
    return found


@settings(max_examples=100, deadline=None)
@given(
    profile=profiles(),
    other=profiles(),
    first=st.dates(date(2016, 1, 1), date(2036, 12, 31)) | st.just(AUTUMN - timedelta(days=2)),
    latitude=st.floats(-70, 70),
    longitude=st.floats(-20, 40),
    count=st.integers(1, 9),
    happening=st.lists(events(), max_size=2),
)
def test_seconds_at_each_level_are_those_of_the_plans(
    profile: Profile, other: Profile, first: date, latitude: float, longitude: float, count: int, happening: list[Rule]
) -> None:
    calendar = Calendar((*happening, Rule("other", weekdays=frozenset({5, 6}))), "usual")
    known = {"usual": profile, "other": other}
    place, period = Place(latitude, longitude, BERLIN), Period(first, count, BERLIN)
    # 1 W at full level, and as much less as it is dimmed: energy then is level times time.
    lamp = LoadPart(latitude, longitude, 0, True, 1, (1, 1000), (0.001, 1.0))
    [seen] = preview_groups([PreviewedGroup("g", place, GroupLoad((lamp,), 1))], calendar, known, period).groups
    if seen.error is not None:
        with pytest.raises(InvalidInput):
            follow_nights(calendar, known, place, first, count)
        return
    expected = seconds_by_level(calendar, known, place, period, sensors=False)
    assert seen.level_s == pytest.approx({level: s for level, s in expected.items() if s}, abs=1e-3)
    active = seconds_by_level(calendar, known, place, period, sensors=True)
    assert seen.previewed is not None
    energy = sum(seen.previewed.energy_wh), sum(seen.previewed.energy_sensors_active_wh)
    for found, levels in zip(energy, (expected, active), strict=True):
        assert found == pytest.approx(sum(level * s for level, s in levels.items()) / 3.6e6, abs=1e-4)


def town(group_at: Place) -> Inventory:
    """Two cabinets some way from the middle of their group; lamps of every kind that lighting tells apart."""

    def lamp(uid: str, feeder: str, **changes: object) -> LuminaireRecord:
        given = {"floor_permille": 400, "gateway_uid": "g"} | changes
        return LuminaireRecord(uid, "t", uid, "grp", feeder, **given)  # type: ignore[arg-type]

    return Inventory(
        towns=(TownRecord("t", "bad-hersfeld", group_at.latitude_deg, group_at.longitude_deg),),
        cabinets=(
            CabinetRecord("east", "t", "C-1", latitude_deg=group_at.latitude_deg, longitude_deg=10.2),
            CabinetRecord("west", "t", "C-2", latitude_deg=group_at.latitude_deg - 0.3, longitude_deg=9.2),
        ),
        feeders=(
            FeederRecord("f1", "t", "F-1", "east", 0, FeederSupply.SWITCHED),
            FeederRecord("f2", "t", "F-2", "west", 0, FeederSupply.PERMANENT),
        ),
        gateways=(GatewayRecord("g", "t", "G-1", "east", "e"),),
        groups=(GroupRecord("grp", "t", "markt"),),
        luminaires=(
            lamp("a", "f1"),
            lamp("b", "f2"),
            lamp("c", "f1", conflict_area=True),
            lamp("d", "f2", floor_permille=0),
            lamp("e", "f1", floor_permille=800),
            lamp("f", "f1", gateway_uid=""),
        ),
    )


# Off until half an hour into the civil night, and in the middle of it, below every floor: lighting would refuse this as
# a plan, but it shows whatever it is given with floors and conflict areas held.
DARING = Profile(
    (
        SwitchPoint(Anchor.CIVIL_DUSK, 1000, 1800),
        SwitchPoint(Anchor.CLOCK, 500, clock_time=time(23)),
        SwitchPoint(Anchor.CLOCK, 0, clock_time=time(1)),
        SwitchPoint(Anchor.CLOCK, 600, clock_time=time(4)),
        SwitchPoint(Anchor.SUNRISE, 0, -600),
    )
)


@pytest.mark.parametrize("night", [AUTUMN, date(2026, 3, 28), date(2026, 6, 20)])
def test_lamps_show_and_draw_what_lighting_makes_of_the_plan(night: date) -> None:
    columns = build_columns(town(BAD_HERSFELD))
    drawn = {uid: Drawn(LED, estimated=False) for uid in columns.uids}
    described = group_load(columns, columns.rows_of_target("grp"), drawn)
    parts = [
        LoadPart(
            part.latitude_deg, part.longitude_deg, part.floor_permille, part.dimmable, part.luminaires,
            part.levels_permille, part.powers_w, part.standby_power_w,
        )
        for part in described.parts
    ]  # fmt: skip
    group = PreviewedGroup("markt", BAD_HERSFELD, GroupLoad(tuple(parts), described.luminaires))
    [seen] = preview_groups([group], ALWAYS, {"p": DARING}, Period(night, 1, BERLIN)).groups
    assert seen.previewed is not None
    assert seen.full is not None

    course = follow_nights(ALWAYS, {"p": DARING}, BAD_HERSFELD, night, 1)
    plan = Plan(course.valid_from_ms, course.valid_until_ms, course.instants_ms, course.levels_permille)
    with_plan = DueCalculator(columns, Orders(plans={"grp": plan}))
    without = DueCalculator(columns, Orders())
    step_s = 15
    begin, end = night_bounds(night, BERLIN)
    instants = [begin + timedelta(seconds=s + step_s / 2) for s in range(0, int((end - begin).total_seconds()), step_s)]
    standby = np.array([0.0, 0.3, 0.0, 0.3, 0.0, 0.0])
    undimmed = columns.gateway == -1
    shown: dict[int, float] = {}
    energies = []
    for calculator in (with_plan, without):
        energy_ws = 0.0
        for instant in instants:
            level = calculator.at(instant).level
            power = np.where(level > 0, LED.power_w_array(np.where(undimmed & (level > 0), 1000, level)), standby)
            energy_ws += float(power.sum()) * step_s
            if calculator is with_plan:
                for each in level.tolist():
                    shown[each] = shown.get(each, 0.0) + step_s
        energies.append(energy_ws / 3600)
    # A switch between two looks is off by less than a step, for each of six lamps.
    assert seen.shown_luminaire_s == pytest.approx(shown, abs=12 * step_s)
    assert sum(seen.previewed.lit_luminaire_s) == pytest.approx(
        sum(s for level, s in shown.items() if level), abs=12 * step_s
    )
    assert sum(seen.previewed.energy_wh) == pytest.approx(energies[0], abs=1.0)
    assert sum(seen.full.energy_wh) == pytest.approx(energies[1], abs=1.0)


def test_full_light_is_from_sunset_to_sunrise_all_year() -> None:
    [seen] = preview_groups(
        [PreviewedGroup("g", BAD_HERSFELD, load_of(LED, 10, 50.868, 9.707))], ALWAYS, {"p": ALL_NIGHT}, YEAR
    ).groups
    assert seen.full is not None
    assert seen.previewed is not None
    night_s = 0.0
    for number in range(365):
        night = date(2026, 1, 1) + timedelta(days=number)
        dark = sun_events(50.868, 9.707, night, noon_utc=night_bounds(night, BERLIN)[0]).dark()
        assert dark is not None
        night_s += (dark[1] - dark[0]).total_seconds()
    assert sum(seen.full.lit_s) == pytest.approx(night_s, abs=1)
    assert sum(seen.full.energy_wh) == pytest.approx(228 * night_s / 3600, abs=1)
    # A profile of full light all night differs by the fractions of seconds that plans do not have.
    assert sum(seen.previewed.energy_wh) == pytest.approx(sum(seen.full.energy_wh), rel=1e-4)


def test_polar_nights_that_go_over_noon_are_counted_whole() -> None:
    oslo = ZoneInfo("Europe/Oslo")
    tromsoe = Place(69.65, 18.96, oslo)
    # By a clock that is six hours off the sun the dark, too, goes over noon.
    for place in (tromsoe, Place(48.0, 18.96 - 90, oslo)):
        lamp = load_of(LED, 1, place.latitude_deg, place.longitude_deg, 500)
        period = Period(date(2026, 12, 10), 5, oslo)
        [seen] = preview_groups([PreviewedGroup("g", place, lamp)], ALWAYS, {"p": ALL_NIGHT}, period).groups
        assert seen.full is not None
        begin, end = night_bounds(date(2026, 12, 10), oslo)[0], night_bounds(date(2026, 12, 14), oslo)[1]
        lit = 0.0
        for number in range(-2, 8):
            dark = sun_events(
                place.latitude_deg, place.longitude_deg, date(2026, 12, 10) + timedelta(days=number),
                noon_utc=begin + timedelta(days=number),
            ).dark()  # fmt: skip
            if dark is not None:
                lit += max(0.0, (min(dark[1], end) - max(dark[0], begin)).total_seconds())
        assert sum(seen.full.lit_s) == pytest.approx(lit, abs=1)


def test_a_night_belongs_to_the_month_of_its_noon_and_the_months_add_up() -> None:
    period = Period(date(2026, 1, 31), 30, BERLIN)
    seen = preview_groups(
        [PreviewedGroup("g", BAD_HERSFELD, load_of(LED, 10, 50.868, 9.707))], ALWAYS, {"p": dimmed(500)}, period
    )
    assert seen.months == ("2026-01", "2026-02", "2026-03")
    figures = seen.groups[0].previewed
    assert figures is not None
    one_night = Period(date(2026, 1, 31), 1, BERLIN)
    alone = preview_groups([seen.groups[0].group], ALWAYS, {"p": dimmed(500)}, one_night)
    assert alone.groups[0].previewed is not None
    assert figures.lit_s[0] == alone.groups[0].previewed.lit_s[0]
    totals = seen.totals()
    assert totals is not None
    assert totals[0] == figures
    assert (figures + figures).energy_wh[1] == 2 * figures.energy_wh[1]


def test_sensors_make_a_span_of_the_energy() -> None:
    brighter = SensorRule(
        SensorKind.TRAFFIC, SensorOperation.MAX, 1000, 100_000, 50_000,
        begin=NightMoment(Anchor.CLOCK, clock_time=time(23)), end=NightMoment(Anchor.CLOCK, clock_time=time(3)),
    )  # fmt: skip
    profile = Profile(dimmed(500).points, (brighter,))
    group = PreviewedGroup("g", BAD_HERSFELD, load_of(LED, 10, 50.868, 9.707))
    [seen] = preview_groups([group], ALWAYS, {"p": profile}, Period(AUTUMN - timedelta(days=3), 1, BERLIN)).groups
    assert seen.previewed is not None
    more = sum(seen.previewed.energy_sensors_active_wh) - sum(seen.previewed.energy_wh)
    assert more == pytest.approx(4 * 228 * (1 - 0.61))


def warnings_of(profile: Profile, load: GroupLoad | None, place: Place = BAD_HERSFELD, period: Period = YEAR) -> str:
    [seen] = preview_groups([PreviewedGroup("g", place, load)], ALWAYS, {"p": profile}, period).groups
    return "; ".join(seen.warnings)


def test_what_lighting_would_refuse_is_warned_of_with_the_first_night() -> None:
    load = load_of(LED, 10, 50.868, 9.707, 400)
    assert warnings_of(dimmed(500), load) == ""
    assert "30 % is below the floor of 40 % in 365 nights from 2026-01-01 on" in warnings_of(dimmed(300), load)
    late = Profile((SwitchPoint(Anchor.CIVIL_DUSK, 1000, 1200), SwitchPoint(Anchor.SUNRISE, 0)))
    assert "off for up to 20 minutes within the civil night, in 365 nights" in warnings_of(late, load)
    assert "off for" not in warnings_of(late, GroupLoad((), 0))  # where there are no lamps, nothing is refused
    waived = load_of(LED, 10, 50.868, 9.707, 0)
    assert waived.may_be_dark
    assert warnings_of(late, waived) == ""
    summer = Profile((SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.CLOCK, 0, clock_time=time(4))))
    first_dark = warnings_of(summer, load, period=Period(date(2026, 6, 15), 120, BERLIN))
    assert "nights from 2026-0" in first_dark


def test_unusual_nights_and_lamps_are_told_once_with_their_number() -> None:
    oslo = ZoneInfo("Europe/Oslo")
    north = Period(date(2026, 5, 1), 60, oslo)
    found = warnings_of(ALL_NIGHT, None, Place(69.65, 18.96, oslo), north)
    assert "nights from 2026-05-1" in found
    assert "never get dark: nothing is lit" in found
    load = GroupLoad(load_of(LED, 10, 50.868, 9.707).parts, 10, estimated=2, undimmed=1, foreign=10)
    words = warnings_of(ALL_NIGHT, load)
    for told in (
        "2 of 10 luminaires have no measured",
        "1 of 10 luminaires are not dimmed by command",
        "10 of 10 luminaires are",
    ):
        assert told in words
    assert "nothing is ever lit" in warnings_of(Profile((SwitchPoint(Anchor.SUNRISE, 0),)), load)


def test_where_points_cross_only_that_group_has_no_figures() -> None:
    early = Profile(
        (SwitchPoint(Anchor.SUNSET, 1000), SwitchPoint(Anchor.CLOCK, 500, clock_time=time(21)), ALL_NIGHT.points[-1])
    )
    period = Period(date(2026, 5, 13), 1, BERLIN)
    south = PreviewedGroup("south", Place(47.5, 12.0, BERLIN), load_of(LED, 1, 47.5, 12.0))
    north = PreviewedGroup("north", Place(54.0, 8.0, BERLIN), load_of(LED, 1, 54.0, 8.0), ALWAYS)
    seen = preview_groups([north, south], ALWAYS, {"p": early}, period)
    assert [group.group.name for group in seen.groups] == ["north", "south"]
    assert "in the night of 2026-05-13" in seen.groups[0].problem
    assert seen.groups[0].previewed is None
    totals = seen.totals()
    assert totals is not None
    assert totals[0] == seen.groups[1].previewed
    # What goes wrong now is full light, and said so.
    [broken] = preview_groups([north], Calendar((), "q"), {"p": early, "q": ALL_NIGHT}, period).groups
    assert broken.current == broken.full
    assert "what it follows now goes wrong" in broken.warnings[-1]


def test_the_switch_events_are_those_of_the_plan() -> None:
    group = PreviewedGroup("g", BAD_HERSFELD)
    [seen] = preview_groups([group], ALWAYS, {"p": dimmed(500)}, Period(AUTUMN, 3, BERLIN), with_courses=True).groups
    assert seen.course == follow_nights(ALWAYS, {"p": dimmed(500)}, BAD_HERSFELD, AUTUMN, 3)
    assert datetime.fromtimestamp(seen.course.instants_ms[0] / 1000, UTC) == night_bounds(AUTUMN, BERLIN)[0]
