"""What the demonstration town does in a year: profiles and calendars as a planner gives them, and the same by hand.

The rules below repeat in plain words what the profiles say; they share no line with the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np

from cli.demo import inventory as demo
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from lichtbuch.scheduler.v1.preview_pb2 import GroupPreview
from lichtbuch.type.v1.types_pb2 import Date
from simulator.town import Town
from tests.support.almanac import DAY, Steps, Street, Sun, wall
from tests.support.stepped_town import SteppedTown

FAIR: Final = (date(2027, 10, 11), date(2027, 10, 12), date(2027, 10, 13))
"""Nights on which the fair keeps the streets bright until two."""
HOLIDAYS: Final = frozenset(
    date(2027, month, day)
    for month, day in (
        (1, 1), (3, 26), (3, 29), (5, 1), (5, 6), (5, 17), (5, 27), (10, 3), (12, 25), (12, 26),
    )
) | {date(2028, 1, 1)}  # fmt: skip
"""Public holidays in Hesse, from the calendar on the wall."""


def residential(night: date, sun: Sun) -> Steps:
    """Half light from 22:30, on nights before a free day from 00:30, between the years from 01:00; not at the fair."""
    free_tomorrow = night.weekday() in (4, 5) or night + DAY in HOLIDAYS
    between_the_years = (night.month, night.day) >= (12, 20) or (night.month, night.day) <= (1, 6)
    begin = "01:00" if between_the_years else "00:30" if free_tomorrow else "22:30"
    if night in FAIR:
        begin = "02:00"
    return [(sun.sets, 1000), (wall(night, begin), 500), (wall(night, "04:30"), 1000), (sun.rises, 0)]


def side_streets(night: date, sun: Sun) -> Steps:
    """70 % from 22:30 to 02:30, which spring skips and autumn has twice."""
    return [(sun.sets, 1000), (wall(night, "22:30"), 700), (wall(night, "02:30"), 1000), (sun.rises, 0)]


def main_roads(night: date, sun: Sun) -> Steps:
    """70 % from an hour and a half before the middle of the night until two and a half after; not on holidays."""
    if night in HOLIDAYS:
        return [(sun.sets, 1000), (sun.rises, 0)]
    hour = timedelta(hours=1)
    return [(sun.sets, 1000), (sun.middle - 1.5 * hour, 700), (sun.middle + 2.5 * hour, 1000), (sun.rises, 0)]


def crossings(night: date, sun: Sun) -> Steps:
    """Full light all night."""
    return [(sun.sets, 1000), (sun.rises, 0)]


RULES: Final[dict[str, Callable[[date, Sun], Steps]]] = {
    "residential": residential,
    "side-streets": side_streets,
    "main-roads": main_roads,
    "crossings": crossings,
}


def point(anchor: pb.Anchor.ValueType, level: int, offset_s: int = 0, clock: str = "") -> pb.SwitchPoint:
    """A switch point."""
    return pb.SwitchPoint(anchor=anchor, level_permille=level, offset_s=offset_s, clock_time=clock)


def dimmed(level: int, begin: str, end: str) -> list[pb.SwitchPoint]:
    """Dimmed between two clock times."""
    return between(point(pb.ANCHOR_CLOCK, level, clock=begin), point(pb.ANCHOR_CLOCK, 1000, clock=end))


def between(*points: pb.SwitchPoint) -> list[pb.SwitchPoint]:
    """Full light at sunset, off at sunrise, and some points between."""
    return [point(pb.ANCHOR_SUNSET, 1000), *points, point(pb.ANCHOR_SUNRISE, 0)]


PROFILES: Final = {
    "residential-night": dimmed(500, "22:30", "04:30"),
    "late": dimmed(500, "00:30", "04:30"),
    "festive": dimmed(500, "01:00", "04:30"),
    "side-street-night": dimmed(700, "22:30", "02:30"),
    "main-road-night": between(
        point(pb.ANCHOR_VIRTUAL_MIDNIGHT, 700, -5400), point(pb.ANCHOR_VIRTUAL_MIDNIGHT, 1000, 9000)
    ),
    "full-night": between(),
}


def calendars() -> dict[str, pb.Calendar]:
    """By group."""

    def profile(identity: str) -> str:
        return demo.name("profiles", identity)

    fair = [Date(year=night.year, month=night.month, day=night.day) for night in FAIR]
    late = profile("late")
    return {
        "residential": pb.Calendar(
            default_profile=profile("residential-night"),
            rules=[
                pb.CalendarRule(
                    display_name="Fair", nights=fair, from_time="22:00", until_time="02:00", level_permille=1000
                ),
                pb.CalendarRule(
                    display_name="Between the years", profile=profile("festive"),
                    yearly_first_night="12-20", yearly_last_night="01-06",
                ),
                pb.CalendarRule(display_name="Eves", profile=late, days=pb.DAY_KIND_PUBLIC_HOLIDAY_EVE),
                pb.CalendarRule(display_name="Weekends", profile=late, weekdays=[5, 6]),
            ],
        ),
        "side-streets": pb.Calendar(default_profile=profile("side-street-night")),
        "main-roads": pb.Calendar(
            default_profile=profile("main-road-night"),
            rules=[pb.CalendarRule(profile=profile("full-night"), days=pb.DAY_KIND_PUBLIC_HOLIDAY)],
        ),
        "crossings": pb.Calendar(default_profile=profile("full-night")),
    }  # fmt: skip


async def give_calendars(town: SteppedTown, streets: list[Street]) -> None:
    """Creates profiles and calendars, and lets every group follow its own."""
    stub = town.desk.scheduler
    for identity, points in PROFILES.items():
        profile = pb.Profile(display_name=identity, points=points)
        await stub.CreateProfile(pb.CreateProfileRequest(parent=demo.PARENT, profile_id=identity, profile=profile))
    given = calendars()
    for street in streets:
        await stub.CreateCalendar(
            pb.CreateCalendarRequest(parent=demo.PARENT, calendar_id=street.name, calendar=given[street.name])
        )
        await follow(town, street.name, street.name)
    answer = await stub.SynchronisePlans(pb.SynchronisePlansRequest(parent=demo.PARENT))
    assert not answer.refused, answer.refused


async def follow(town: SteppedTown, group: str, calendar: str) -> None:
    """Lets a group follow a calendar."""
    assignment = pb.Assignment(group=demo.name("groups", group), calendar=demo.name("calendars", calendar))
    await town.desk.scheduler.CreateAssignment(
        pb.CreateAssignmentRequest(parent=demo.PARENT, assignment_id=group, assignment=assignment)
    )


async def preview(town: SteppedTown, group: str, calendar: pb.Calendar, first: date, nights: int) -> GroupPreview:
    """What a calendar would bring to a group."""
    answer = await town.desk.scheduler.PreviewProfile(
        pb.PreviewProfileRequest(
            parent=demo.PARENT,
            first_night=Date(year=first.year, month=first.month, day=first.day),
            nights=nights,
            groups=[demo.name("groups", group)],
            calendar=calendar,
            omit_group_events=True,
        )
    )
    assert not answer.energy_unknown
    found: GroupPreview = answer.groups[0]
    assert not found.problem
    return found


def streets_of(town: Town) -> list[Street]:
    """The town's groups, each with its rule, at the middle of its lamps."""
    rows: dict[str, list[int]] = {}
    for row, lamp in enumerate(town.luminaires):
        named: dict[str, Any] = {
            "lighting_class": lamp.lighting_class, "crossing": lamp.crossing, "floor_permille": lamp.floor_permille,
        }  # fmt: skip
        rows.setdefault(demo.group_of(named), []).append(row)
    return [
        Street(
            name,
            np.array(members, dtype=np.intp),
            sum(town.luminaires[row].latitude for row in members) / len(members),
            sum(town.luminaires[row].longitude for row in members) / len(members),
            RULES[name],
        )
        for name, members in sorted(rows.items())
    ]


def switching(streets: list[Street], night: date) -> list[datetime]:
    """Every instant of a night at which something is due to change."""
    return sorted({instant for street in streets for instant, _ in street.steps(night)})
