"""What a profile would bring, as the page shows it: sums beside today's and full light, switch events, charts. Pure.

Energy in Wh, money in EUR, emissions in g CO2, levels in per mille. Not here: words and number formats.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.instants import from_unix_ms
from domain.night import lighting_night, night_bounds
from domain.sun import night_events
from lichtbuch.scheduler.v1 import preview_pb2
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from services.admin.fault_list import csv_text

CHART_STEP: Final = timedelta(minutes=5)
EVENT_HEADINGS: Final = ("group", "utc", "local", "level_percent", "ramp_s")
MONTH_HEADINGS: Final = (
    "month", "what", "burning_hours", "full_light_hours", "kwh", "kwh_sensors_active", "eur", "kg_co2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over a period. Energy, money and emissions are None where the lamps are not known."""

    lit_s: int
    full_light_s: int
    """Full-light equivalent."""
    energy_wh: int | None = None
    sensors_wh: int | None = None
    """Energy if every sensor rule were active through its whole window."""
    cost_eur: Decimal | None = None
    co2_g: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is previewed beside what groups follow now (None where no group is asked for) and full light."""

    previewed: Sums
    current: Sums | None
    full: Sums


@dataclass(frozen=True, slots=True)
class Event:
    """From an instant (UTC) on a level holds, reached within a ramp."""

    at: datetime
    level_permille: int
    ramp_s: int = 0


@dataclass(frozen=True, slots=True)
class Course:
    """What would happen in a group; `group` is empty for the municipality's own position."""

    group: str
    events: tuple[Event, ...]
    levels: tuple[tuple[int, int], ...] = ()
    """Level in per mille and the seconds of the plan at it, ascending."""
    problem: str = ""
    warnings: tuple[str, ...] = ()
    luminaires: int = 0
    estimated: int = 0
    sums: Comparison | None = None


@dataclass(frozen=True, slots=True)
class CabinetShare:
    """What the meter of a cabinet would count. Wh; foreign: what is no lighting of the town."""

    cabinet: str
    luminaires: int
    others: int
    """Luminaires of groups that were not asked for: in no sum."""
    previewed_wh: int
    current_wh: int
    foreign_wh: int
    total_wh: int
    foreign: tuple[str, ...] = ()
    """Names of what is no lighting of the town."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A preview."""

    first_night: date
    nights: int
    total: Comparison
    months: tuple[tuple[str, Comparison], ...]
    courses: tuple[Course, ...]
    """The groups asked for; the municipality's position where none is, or where there were too many events to tell."""
    warnings: tuple[tuple[str, str], ...]
    """Group (empty for all) and what to look at."""
    energy_unknown: str
    price_eur_per_kwh: str
    co2_g_per_kwh: int
    cabinets: tuple[CabinetShare, ...] = ()

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Level and seconds at it, over all courses."""
        seconds: dict[int, int] = {}
        for course in self.courses:
            for level, each in course.levels:
                seconds[level] = seconds.get(level, 0) + each
        return tuple(sorted(seconds.items()))


def outlook_from_proto(request: pb.PreviewProfileRequest, answer: pb.PreviewProfileResponse, tz: ZoneInfo) -> Outlook:
    """The answer to a request."""
    known = not answer.energy_unknown
    day = request.first_night
    first, last = date(day.year, day.month, day.day), request.nights
    place = _events(answer.instants_unix_ms, answer.levels_permille, answer.ramps_s)
    end = night_bounds(first + timedelta(days=last - 1), tz)[1]
    here = Course("", place, levels_of(place, end))
    groups = tuple(_course(group, known) for group in answer.groups)
    warnings = [("", text) for text in answer.warnings]
    for group in groups:
        warnings += [(group.group, text) for text in ([group.problem] if group.problem else []) + list(group.warnings)]
    return Outlook(
        first_night=first,
        nights=last,
        total=_comparison(answer, known),
        months=tuple((month.month, _comparison(month, known)) for month in answer.months),
        courses=groups or (here,),
        warnings=tuple(warnings),
        energy_unknown=answer.energy_unknown,
        price_eur_per_kwh=answer.price_eur_per_kwh,
        co2_g_per_kwh=answer.co2_g_per_kwh,
        cabinets=tuple(map(_cabinet, answer.cabinets)) if known else (),
    )


def _cabinet(message: preview_pb2.CabinetPreview) -> CabinetShare:
    return CabinetShare(
        cabinet=message.cabinet,
        luminaires=message.luminaire_count,
        others=message.other_luminaire_count,
        previewed_wh=message.previewed_wh,
        current_wh=message.current_wh,
        foreign_wh=message.foreign_wh,
        total_wh=message.total_wh,
        foreign=tuple(load.display_name for load in message.foreign_loads),
    )


def _course(group: preview_pb2.GroupPreview, known: bool) -> Course:
    return Course(
        group=group.group,
        events=_events(group.instants_unix_ms, group.event_levels_permille, group.ramps_s),
        levels=tuple(zip(group.levels_permille, group.level_seconds, strict=False)),
        problem=group.problem,
        warnings=tuple(group.warnings),
        luminaires=group.luminaire_count,
        estimated=group.estimated_count,
        sums=None if group.problem else _comparison(group, known),
    )


def _events(instants: Sequence[int], levels: Sequence[int], ramps: Sequence[int]) -> tuple[Event, ...]:
    every = list(ramps) + [0] * (len(instants) - len(ramps))
    return tuple(Event(from_unix_ms(at), level, ramp) for at, level, ramp in zip(instants, levels, every, strict=False))


def _comparison(message: Any, known: bool) -> Comparison:
    """Of an answer, a month or a group: all have the same three fields."""
    current = _sums(message.current, known) if message.HasField("current") else None
    return Comparison(_sums(message.previewed, known), current, _sums(message.full, known))


def _sums(figures: preview_pb2.PreviewFigures, known: bool) -> Sums:
    if not known:
        return Sums(figures.lit_seconds, figures.full_light_equivalent_seconds)
    try:
        cost: Decimal | None = Decimal(figures.cost_eur)
    except InvalidOperation:
        cost = None
    return Sums(
        figures.lit_seconds,
        figures.full_light_equivalent_seconds,
        figures.energy_wh,
        figures.energy_sensors_active_wh,
        cost,
        figures.co2_g,
    )


# --- what happens when -----------------------------------------------------------------------------------------------


def levels_of(events: Sequence[Event], end: datetime) -> tuple[tuple[int, int], ...]:
    """Levels above 0 and the seconds at each until `end`; ramps count as steps."""
    seconds: dict[int, int] = {}
    for event, until in zip(events, [*(event.at for event in events[1:]), end], strict=False):
        if event.level_permille:
            lasted = int((until - event.at).total_seconds())
            seconds[event.level_permille] = seconds.get(event.level_permille, 0) + max(0, lasted)
    return tuple(sorted(seconds.items()))


def events_of_night(events: Sequence[Event], night: date, tz: ZoneInfo) -> tuple[Event, ...]:
    """What switches from one local noon to the next."""
    start, end = night_bounds(night, tz)
    return tuple(event for event in events if start <= event.at < end)


def curve_of_night(events: Sequence[Event], night: date, tz: ZoneInfo) -> list[tuple[str, float]]:
    """Local time and level in percent, every five minutes from noon to noon; ramps as straight lines."""
    start, end = night_bounds(night, tz)
    instants = [event.at for event in events]
    points = []
    at = start
    while at <= end:
        points.append((f"{at.astimezone(tz):%H:%M}", round(_level_at(events, instants, at) / 10, 1)))
        at += CHART_STEP
    return points


def _level_at(events: Sequence[Event], instants: Sequence[datetime], at: datetime) -> float:
    index = bisect_right(instants, at) - 1
    if index < 0:
        return 0.0
    event = events[index]
    before = events[index - 1].level_permille if index else 0
    passed = (at - event.at).total_seconds()
    if passed >= event.ramp_s:
        return event.level_permille
    return before + (event.level_permille - before) * passed / event.ramp_s


@dataclass(frozen=True, slots=True)
class YearPicture:
    """Nights side by side. Hours are those of the town's clocks since the noon that a night begins with."""

    days: tuple[date, ...]
    dark: tuple[tuple[int, float, float], ...]
    """Number of a night, and its sunset and sunrise; none where the sun does not set."""
    lit: tuple[tuple[int, float, float, int], ...]
    """Number of a night, from when until when, and the level above 0 in per mille."""


def picture_of(
    events: Sequence[Event], first: date, nights: int, tz: ZoneInfo, position: tuple[float, float] | None
) -> YearPicture:
    """All nights of a period. position: latitude and longitude in degrees; None leaves the sun out."""
    days = tuple(first + timedelta(days=number) for number in range(nights))
    end = night_bounds(days[-1], tz)[1]
    lit = []
    for event, until in zip(events, [*(event.at for event in events[1:]), end], strict=False):
        if not event.level_permille:
            continue
        at = event.at
        while at < until:  # what lasts beyond noon is shown in both nights
            night = lighting_night(at, tz)
            stop = min(until, night_bounds(night, tz)[1])
            number = (night - first).days
            begins, ends = _hours(at, night, tz), _hours(stop, night, tz)
            if 0 <= number < nights and ends > begins:
                lit.append((number, begins, ends, event.level_permille))
            at = stop
    return YearPicture(days, tuple(_dark(days, tz, position)) if position else (), tuple(lit))


def _dark(days: Sequence[date], tz: ZoneInfo, position: tuple[float, float]) -> list[tuple[int, float, float]]:
    noons = [night_bounds(day, tz)[0] for day in days]
    starts, ends = night_events([position[0]], [position[1]], noons).dark_s()
    found = []
    for number, (start_s, end_s) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if start_s == start_s and end_s == end_s:  # a number, for the sun does set
            sunset, sunrise = from_unix_ms(int(start_s * 1000)), from_unix_ms(int(end_s * 1000))
            found.append((number, _hours(sunset, days[number], tz), _hours(sunrise, days[number], tz)))
    return found


def _hours(at: datetime, night: date, tz: ZoneInfo) -> float:
    """What the town's clocks show, in hours since noon; 12 for the midnight between."""
    elapsed = at.astimezone(tz).replace(tzinfo=None) - datetime.combine(night, time(12))
    return round(elapsed.total_seconds() / 3600, 2)


# --- files -----------------------------------------------------------------------------------------------------------


def events_csv(outlook: Outlook, tz: ZoneInfo) -> str:
    """All switch events, in UTC and in the town's local time with its offset."""
    rows = [
        [
            course.group.rsplit("/", 1)[-1],
            event.at,
            event.at.astimezone(tz),
            _plain(Decimal(event.level_permille) / 10),
            event.ramp_s,
        ]
        for course in outlook.courses
        for event in course.events
    ]
    return csv_text(EVENT_HEADINGS, rows)


def months_csv(outlook: Outlook) -> str:
    """The months and their sum: what is previewed, what groups follow now, full light."""
    rows = []
    for name, comparison in (*outlook.months, ("total", outlook.total)):
        for what, sums in (
            ("previewed", comparison.previewed), ("current", comparison.current), ("full", comparison.full),
        ):  # fmt: skip
            if sums is not None:
                rows.append([name, what, *_columns(sums)])
    return csv_text(MONTH_HEADINGS, rows)


def _columns(sums: Sums) -> list[object]:
    def thousandth(value: int | None) -> str | None:
        return None if value is None else _plain(Decimal(value) / 1000)

    hours = [_plain((Decimal(seconds) / 3600).quantize(Decimal("0.01"))) for seconds in (sums.lit_s, sums.full_light_s)]
    cost = None if sums.cost_eur is None else str(sums.cost_eur)
    return [*hours, thousandth(sums.energy_wh), thousandth(sums.sensors_wh), cost, thousandth(sums.co2_g)]


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
