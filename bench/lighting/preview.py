"""Part 3: what a profile brings to 1 000 groups in a year, beside a loop over astral and datetime.

Both work out, per group and month, burning hours and kWh of a new profile, of the one that holds now and of full light
from sunset to sunrise, with a floor and conflict areas in the civil night. Groups lie all over Germany, each with its
own lamps. Ours also checks the order of points and looks for what to warn of, which the loop does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from astral import Observer, SunDirection
from astral.sun import time_of_transit

from bench.report import Report
from bench.timing import compare
from services.scheduler.calendar import Calendar
from services.scheduler.loads import GroupLoad, LoadPart
from services.scheduler.moment import Place
from services.scheduler.preview import Figures, Period, PreviewedGroup, preview_groups
from services.scheduler.profile import Anchor, Profile, SwitchPoint

PART = "3"
GROUPS = 1_000
PEER_GROUPS = 10
BERLIN = ZoneInfo("Europe/Berlin")
PERIOD = Period(date(2026, 1, 1), 365, BERLIN)
NEW, NOW = 500, 700
"""Levels of the new and the present profile in the middle of the night, in per mille."""
LATE, EARLY = time(23), time(3, 30)
ALIKE = 0.001
"""astral's events are some seconds off ours; the sums of a month may differ by so much of themselves."""


def run(report: Report, quick: bool) -> None:
    """All groups by ours, some by the loop, and that both come to the same."""
    count, peer_count = (20, 1) if quick else (GROUPS, PEER_GROUPS)
    groups = _groups(count)
    profiles = {"new": _profile(NEW), "now": _profile(NOW)}

    def ours() -> object:
        return preview_groups(groups, Calendar((), "new"), profiles, PERIOD)

    def peer() -> object:
        return [_by_loop(group) for group in groups[:peer_count]]

    furthest = 0.0
    seen = preview_groups(groups[:peer_count], Calendar((), "new"), profiles, PERIOD)
    for preview, (group, expected) in zip(seen.groups, _all_by_loop(groups[:peer_count]), strict=True):
        for name, months in expected.items():
            figures = getattr(preview, name)
            assert isinstance(figures, Figures)
            for index, month in enumerate(seen.months):
                hours, kwh = months[month]
                for mine, theirs in ((figures.lit_s[index] / 3600, hours), (figures.energy_wh[index] / 1000, kwh)):
                    furthest = max(furthest, abs(mine / theirs - 1))
        if furthest > ALIKE:
            report.failures.append(f"part {PART}: {group.name} differs by {furthest:.2%}")
    comparison = compare(
        f"year-ahead preview of {count} groups", "astral and datetime", ours, peer,
        items=count, peer_items=peer_count, runs=1 if quick else 5,
    )  # fmt: skip
    report.compare(PART, comparison, 50)
    report.tell(PART, "largest difference of a month's hours or kWh between both, %", 100 * furthest, 100 * ALIKE)


def _profile(level_permille: int) -> Profile:
    return Profile(
        (
            SwitchPoint(Anchor.SUNSET, 1000),
            SwitchPoint(Anchor.CLOCK, level_permille, clock_time=LATE),
            SwitchPoint(Anchor.CLOCK, 1000, clock_time=EARLY),
            SwitchPoint(Anchor.SUNRISE, 0),
        )
    )


def _groups(count: int) -> list[PreviewedGroup]:
    generator = np.random.default_rng(1)
    groups = []
    for number in range(count):
        latitude, longitude = float(generator.uniform(47.3, 54.5)), float(generator.uniform(6.0, 15.0))
        lamps = int(generator.integers(5, 60))
        power = (100, 500, 1000), (lamps * 7.5, lamps * 13.9, lamps * 22.8)
        parts = (
            LoadPart(latitude, longitude, 400, True, lamps, *power),
            LoadPart(latitude, longitude, 1000, False, 2, (1000,), (80.0,)),
        )
        load = GroupLoad(parts, lamps + 2)
        groups.append(PreviewedGroup(f"g{number}", Place(latitude, longitude, BERLIN), load, Calendar((), "now")))
    return groups


Months = dict[str, tuple[float, float]]


def _all_by_loop(groups: list[PreviewedGroup]) -> Iterator[tuple[PreviewedGroup, dict[str, Months]]]:
    for group in groups:
        yield group, _by_loop(group)


def _by_loop(group: PreviewedGroup) -> dict[str, Months]:
    """Hours and kWh by month, as one would write it down: night by night, switch by switch."""
    observer = Observer(group.place.latitude_deg, group.place.longitude_deg)
    sums: dict[str, dict[str, list[float]]] = {"previewed": {}, "current": {}, "full": {}}
    assert group.load is not None
    for number in range(PERIOD.nights):
        night = PERIOD.first_night + timedelta(days=number)
        morning = night + timedelta(days=1)
        # Both have one sunset: the centre at -0.833 degrees. sunset() of astral adds a refraction of its own.
        events = [
            time_of_transit(observer, day, zenith, direction, with_refraction=False)
            for day, zenith, direction in (
                (night, 90.833, SunDirection.SETTING),
                (night, 96.0, SunDirection.SETTING),
                (morning, 96.0, SunDirection.RISING),
                (morning, 90.833, SunDirection.RISING),
            )
        ]
        late = datetime.combine(night, LATE, BERLIN).astimezone(UTC)
        early = datetime.combine(morning, EARLY, BERLIN).astimezone(UTC)
        month = f"{night:%Y-%m}"
        for name, dimmed in (("previewed", NEW), ("current", NOW), ("full", 1000)):
            month_sums = sums[name].setdefault(month, [0.0, 0.0])
            switches = [(events[0], 1000), (late, dimmed), (early, 1000), (events[3], 0)]
            if name == "full":
                switches = [(events[0], 1000), (events[3], 0)]
            for (begin, level), (end, _) in pairwise(switches):
                seconds = (end - begin).total_seconds()
                civil = max(0.0, (min(end, events[2]) - max(begin, events[1])).total_seconds())
                month_sums[0] += seconds / 3600
                for part in group.load.parts:
                    inside = max(level, part.floor_permille) if part.dimmable else 1000
                    outside = level if part.dimmable else 1000
                    month_sums[1] += civil * _power_w(part, inside) / 3.6e6
                    month_sums[1] += (seconds - civil) * _power_w(part, outside) / 3.6e6
    return {name: {month: (each[0], each[1]) for month, each in months.items()} for name, months in sums.items()}


def _power_w(part: LoadPart, level_permille: int) -> float:
    """Straight lines between the points of a curve."""
    levels, powers = part.levels_permille, part.powers_w
    if level_permille <= levels[0]:
        return powers[0]
    for index in range(1, len(levels)):
        if level_permille <= levels[index]:
            share = (level_permille - levels[index - 1]) / (levels[index] - levels[index - 1])
            return powers[index - 1] + share * (powers[index] - powers[index - 1])
    return powers[-1]
