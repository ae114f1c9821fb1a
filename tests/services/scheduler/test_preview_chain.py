"""A preview follows the chain: ramps, half-night conductors, profiles stored in lamps. Beside a walk night by night."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.level import PowerCurve
from domain.night import night_bounds
from domain.plan import to_unix_ms
from domain.plan_rule import SensorKind, SensorOperation
from services.scheduler.cabinet_loads import CabinetLoad, ForeignLoad, foreign_hours
from services.scheduler.calendar import Calendar, Rule
from services.scheduler.loads import GroupLoad, LoadPart, LoadWindow, Window
from services.scheduler.moment import NightMoment, Place, clock_instant
from services.scheduler.one_night import NightCourse, course_of_night
from services.scheduler.preview import Period, PreviewedGroup, preview_groups
from services.scheduler.profile import Anchor, Profile, SensorRule, SwitchPoint
from tests.services.scheduler.making import ALL_NIGHT, dimmed
from tests.services.scheduler.test_nights import events, profiles
from tests.services.scheduler.test_preview import ALWAYS, AUTUMN, BAD_HERSFELD, BERLIN, warnings_of

CURVE = PowerCurve(((100, 330), (500, 610), (1000, 1000)), 20.0, 0.5)
LEVELS = tuple(level for level, _ in CURVE.points)
POWERS = tuple(CURVE.power_w(level) for level in LEVELS)
LONGEST_S = 900


def part(**changes: object) -> LoadPart:
    given = {"longest_ramp_s": 0, "stays_supplied": True} | changes
    return LoadPart(50.868, 9.707, 0, True, 1, LEVELS, POWERS, CURVE.standby_w, **given)  # type: ignore[arg-type]


HALF_NIGHT = LoadWindow(Window(time(22, 30), time(5)), 500, 10.0)
OVER_NOON = LoadWindow(Window(time(5), time(22, 30)), 500, 10.0)
EARLY = LoadWindow(Window(None, None, -7200, 0), 700, 14.0)
LATE = LoadWindow(Window(None, None, 0, 14_400), 400, 9.0)
PARTS = {
    "at once": part(),
    "ramps": part(longest_ramp_s=LONGEST_S),
    "behind a contactor": part(longest_ramp_s=LONGEST_S, stays_supplied=False),
    "half-night": part(windows=(HALF_NIGHT,)),
    "reduced by day": part(windows=(OVER_NOON,)),
    "stored": part(windows=(EARLY, LATE)),
}


def integral(low: int, high: int) -> float:
    """Power over levels, in W times per mille: it runs straight from one whole per mille to the next."""
    levels = np.arange(low, high + 1)
    powers = np.where(levels == 0, POWERS[0], CURVE.power_w_array(levels))
    return float(((powers[1:] + powers[:-1]) / 2).sum())


def ramp_gain_ws(first: int, reached: int, wanted: int, seconds: float) -> float:
    low, high = sorted((first, reached))
    mean_w = integral(low, high) / (high - low) if high > low else CURVE.power_w(first)
    return (mean_w - CURVE.power_w(wanted)) * seconds


class Night:
    """One night, walked from instant to instant."""

    def __init__(self, course: NightCourse, night: date, place: Place, *, sensors: bool) -> None:
        begin, end = (to_unix_ms(bound) for bound in night_bounds(night, place.tz))
        edges = {begin, end, *(to_unix_ms(at) for at, _, _ in course.steps)}
        edges |= {edge for rule in course.rules for edge in (rule.from_ms, rule.until_ms)}
        self.night, self.tz = night, place.tz
        self.spans: list[tuple[float, float, int]] = []
        self.ramps: list[tuple[int, int, int, float]] = []
        self.plan: list[tuple[float, float, int]] = []
        plan = shown = ramp_s = 0
        pending: tuple[int, float, float] | None = None  # from, began, lasts

        def leave(at: float) -> int:
            if pending is None:
                return shown
            first, began, lasts = pending
            seconds = min(lasts, at - began)
            reached = shown if seconds == lasts else round(first + (shown - first) * seconds / lasts)
            if seconds > 0:
                self.ramps.append((first, reached, shown, seconds))
            return reached

        for at_ms, next_ms in pairwise(sorted(edges)):
            at = at_ms / 1000
            _, level, own_s = next(step for step in reversed(course.steps) if to_unix_ms(step[0]) <= at_ms)
            if level != plan:
                begins = any(to_unix_ms(step[0]) == at_ms for step in course.steps)
                plan, ramp_s = level, own_s if begins else 0
            listening = sorted((r for r in course.rules if r.from_ms <= at_ms < r.until_ms), key=lambda r: r.position)
            sensed, longest = plan, ramp_s
            for rule in listening:
                sensed = rule.applied_to(sensed) if sensors else sensed
                longest = max(longest, rule.ramp_s)
            if sensed != shown:
                first = leave(at)
                shown = sensed
                lasts = float(min(longest, LONGEST_S))
                pending = (first, at, lasts) if lasts and first != shown else None
            self.spans.append((at, next_ms / 1000, shown))
            self.plan.append((at, next_ms / 1000, plan))
        leave(end / 1000)
        self.begin, self.end = begin / 1000, end / 1000

    def windows(self, own: LoadPart) -> list[tuple[float, float, float]]:
        """Begin, end and power of the windows of a part."""
        lit = [(begin, end) for begin, end, level in self.plan if level]
        found = []
        for each in own.windows:
            window = each.window
            if window.begin is None:
                if lit:
                    on, off = lit[0][0], lit[-1][1]
                    middle = (on + off) // 2
                    edges = middle + window.begin_offset_s, middle + window.end_offset_s
                    found.append((max(edges[0], on), min(edges[1], off), each.power_w))
                continue
            assert window.end is not None
            begin, end = (clock_instant(self.night, at, self.tz).timestamp() for at in (window.begin, window.end))
            pieces = [(begin, end)] if begin < end else [(self.begin, end), (begin, self.end)]
            found += [(*piece, each.power_w) for piece in pieces]
        return found

    def energy_ws(self, own: LoadPart) -> float:
        total = 0.0
        windows = self.windows(own)
        for begin, end, level in self.spans:
            total += CURVE.power_w(level) * (end - begin)
            for first, last, power_w in windows if level else ():
                inside = max(0.0, min(end, last) - max(begin, first))
                total += (power_w - CURVE.power_w(level)) * inside
        for first_level, reached, wanted, seconds in self.ramps if own.longest_ramp_s else ():
            if own.stays_supplied or (first_level and wanted):
                total += ramp_gain_ws(first_level, reached, wanted, seconds)
        return total


@st.composite
def ramping(draw: st.DrawFn) -> Profile:
    found = draw(profiles())
    ramps = st.sampled_from([0, 0, 60, 600, 3600])
    return Profile(
        tuple(replace(point, ramp_s=draw(ramps)) for point in found.points),
        tuple(replace(rule, ramp_s=draw(ramps)) for rule in found.rules),
    )


@settings(max_examples=40, deadline=None)
@given(
    profile=ramping(),
    other=ramping(),
    first=st.dates(date(2016, 1, 1), date(2036, 12, 31)) | st.just(AUTUMN - timedelta(days=2)),
    latitude=st.floats(-70, 70),
    longitude=st.floats(-20, 40),
    count=st.integers(1, 6),
    happening=st.lists(events(), max_size=2),
)
def test_energy_is_that_of_a_walk_through_each_night(
    profile: Profile, other: Profile, first: date, latitude: float, longitude: float, count: int, happening: list[Rule]
) -> None:
    calendar = Calendar((*happening, Rule("other", weekdays=frozenset({5, 6}))), "usual")
    known = {"usual": profile, "other": other}
    place, period = Place(latitude, longitude, BERLIN), Period(first, count, BERLIN)
    groups = [PreviewedGroup(name, place, GroupLoad((each,), 1)) for name, each in PARTS.items()]
    seen = preview_groups(groups, calendar, known, period).groups
    nights: dict[bool, list[Night]] = {False: [], True: []}
    try:
        for number in range(count):
            night = first + timedelta(days=number)
            course = course_of_night(calendar.of_night(night), known, place, night)
            for sensors, found in nights.items():
                found.append(Night(course, night, place, sensors=sensors))
    except InvalidInput:
        assert all(group.error is not None for group in seen)
        return
    for (name, own), group in zip(PARTS.items(), seen, strict=True):
        assert group.previewed is not None
        for sensors, figures in ((False, group.previewed.energy_wh), (True, group.previewed.energy_sensors_active_wh)):
            expected = sum(night.energy_ws(own) for night in nights[sensors]) / 3600
            assert sum(figures) == pytest.approx(expected, abs=1e-3), (name, sensors)


def energy_wh(profile: Profile, own: LoadPart, night: date = AUTUMN - timedelta(days=3)) -> float:
    group = PreviewedGroup("g", BAD_HERSFELD, GroupLoad((own,), own.luminaires))
    [seen] = preview_groups([group], ALWAYS, {"p": profile}, Period(night, 1, BERLIN)).groups
    assert seen.previewed is not None
    return sum(seen.previewed.energy_wh)


def test_a_ramp_costs_the_mean_of_the_curve_between_its_levels() -> None:
    at_once = dimmed(500)
    slow = Profile((at_once.points[0], replace(at_once.points[1], ramp_s=600), *at_once.points[2:]))
    # From 100 % down to 50 % the curve is straight: half of the step's difference, for ten minutes.
    gained = energy_wh(slow, PARTS["ramps"]) - energy_wh(at_once, PARTS["ramps"])
    assert gained == pytest.approx((20.0 - 12.2) / 2 / 6)
    assert energy_wh(slow, PARTS["at once"]) == energy_wh(at_once, PARTS["at once"])
    # Gear takes no ramp that is longer than it can: the lamp follows for a quarter of an hour.
    longer = Profile((at_once.points[0], replace(at_once.points[1], ramp_s=3600), *at_once.points[2:]))
    gained = energy_wh(longer, PARTS["ramps"]) - energy_wh(at_once, PARTS["ramps"])
    assert gained == pytest.approx((20.0 - 12.2) / 2 / 4)


def test_floors_lift_a_ramp_in_the_civil_night() -> None:
    deep = dimmed(100)
    slow = Profile((deep.points[0], replace(deep.points[1], ramp_s=600), *deep.points[2:]))
    lifted = replace(PARTS["ramps"], floor_permille=500)
    assert energy_wh(slow, lifted) - energy_wh(deep, lifted) == pytest.approx((20.0 - 12.2) / 2 / 6)


def test_a_half_night_conductor_takes_half_of_the_lamps_whatever_the_plan_says() -> None:
    night = datetime(2026, 10, 21, 22, 30, tzinfo=BERLIN), datetime(2026, 10, 22, 5, tzinfo=BERLIN)
    hours = (night[1] - night[0]).total_seconds() / 3600
    full = energy_wh(ALL_NIGHT, PARTS["at once"])
    assert full - energy_wh(ALL_NIGHT, PARTS["half-night"]) == pytest.approx(10.0 * hours)
    group = PreviewedGroup("g", BAD_HERSFELD, GroupLoad((PARTS["half-night"],), 1))
    [seen] = preview_groups([group], ALWAYS, {"p": dimmed(300)}, Period(AUTUMN - timedelta(days=3), 1, BERLIN)).groups
    assert set(seen.shown_luminaire_s) == {0, 500, 1000}
    assert seen.shown_luminaire_s[500] == pytest.approx(hours * 3600)


def test_a_sensor_rule_that_could_go_below_the_floor_is_warned_of_with_its_number_and_first_night() -> None:
    load = GroupLoad((replace(part(), floor_permille=400),), 1)
    rule = SensorRule(
        SensorKind.TRAFFIC, SensorOperation.SUB, 300, 1000, 1000,
        begin=NightMoment(Anchor.CLOCK, clock_time=time(23)), end=NightMoment(Anchor.CLOCK, clock_time=time(3)),
    )  # fmt: skip
    harmless = replace(rule, value_permille=50)
    profile = Profile(dimmed(500).points, (harmless, rule))
    words = warnings_of(profile, load, period=Period(AUTUMN, 10, BERLIN))
    # 50 % less 5 % and 30 %: the second rule leads below, alone and after the first one.
    assert "rules[1] could go down to 15 %" in words
    assert "below the floor of 40 % in 10 nights from 2026-10-24 on" in words
    assert "rules[0]" not in words
    off = Profile(ALL_NIGHT.points, (replace(rule, operation=SensorOperation.SET, value_permille=0),))
    assert "rules[0] could leave the street dark within the civil night, in 10 nights" in warnings_of(
        off, load, period=Period(AUTUMN, 10, BERLIN)
    )
    nobody = GroupLoad((), 0)
    assert "rules[" not in warnings_of(off, nobody, period=Period(AUTUMN, 10, BERLIN))
    assert "rules[0] could leave the street dark" in warnings_of(off, None, period=Period(AUTUMN, 10, BERLIN))
    unlit = Profile((SwitchPoint(Anchor.SUNSET, 1000), ALL_NIGHT.points[-1]), (harmless,))
    assert "rules[" not in warnings_of(unlit, load, period=Period(AUTUMN, 10, BERLIN))


def on_hours(*loads: ForeignLoad, first: date = date(2026, 11, 1), nights: int = 181) -> list[float]:
    cabinet = CabinetLoad("C-1", None, loads, 5)
    return [found.on_s / 3600 for found in foreign_hours(cabinet, BAD_HERSFELD, Period(first, nights, BERLIN))]


def test_foreign_loads_are_on_in_their_months_and_hours() -> None:
    advent = ForeignLoad("Christmas", 400.0, 12, 1, (time(16), time(23)))
    shelter = ForeignLoad("Bus shelter", 20.0, 1, 12, (time(0), time(0)))
    kiosk = ForeignLoad("Kiosk", 20.0, 3, 3, (time(22), time(2)))
    found = on_hours(advent, shelter, kiosk)
    # 62 days of seven hours; all the time, without the hour that falls out in March; 31 nights of four hours.
    assert found == [62 * 7, 181 * 24 - 1, 31 * 4]
    by_sun = on_hours(ForeignLoad("Sign", 10.0, 1, 12), nights=5)
    full = preview_groups(
        [PreviewedGroup("g", BAD_HERSFELD)], ALWAYS, {"p": ALL_NIGHT}, Period(date(2026, 11, 1), 5, BERLIN)
    )
    assert full.groups[0].full is not None
    assert by_sun == [pytest.approx(sum(full.groups[0].full.lit_s) / 3600)]
    # The first noon cuts the day, and so does the last.
    assert on_hours(ForeignLoad("x", 1.0, 1, 12, (time(10), time(14))), nights=1) == [4]
