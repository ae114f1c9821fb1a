"""What a profile or calendar would bring to groups before it goes live: hours, energy, and what to look at. Pure.

Beside it stand what the groups follow now and full light from sunset to sunrise. All nights of many groups are computed
at once (nights.py, sums.py); a thousand groups take a second for a year. What lamps show is what lighting would make of
the plan: floors and conflict areas hold in the civil night, gear ramps as far as it can, and what something else than a
command reduces has its own windows (lamp_energy.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.night import night_bounds
from services.scheduler.calendar import Calendar
from services.scheduler.days import BUILT_IN, Days
from services.scheduler.lamp_columns import LampColumns
from services.scheduler.lamp_energy import Hours, LampEnergy
from services.scheduler.loads import NO_LOAD, GroupLoad, LoadPart
from services.scheduler.moment import Place
from services.scheduler.nights import Courses, compile_calendar
from services.scheduler.planning import Course
from services.scheduler.profile import Profile
from services.scheduler.sky import Nights, Seconds, Sky
from services.scheduler.sums import CivilNight, Months, Views, night_seconds
from services.scheduler.warnings import group_warnings

AT_ONCE: Final = 128
"""Groups that are computed together: a year of them fits the processor's cache."""
_HOUR_S: Final = 3_600.0
_NO_SECONDS: Final = 1e-6

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class PreviewedGroup:
    """A group to look at. load: None where nobody knows it. current: what it follows now, None for nothing."""

    name: str
    place: Place
    load: GroupLoad | None = None
    current: Calendar | None = None


@dataclass(frozen=True)
class Period:
    """Nights by one clock."""

    first_night: date
    nights: int
    tz: ZoneInfo

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """From the first noon until the last one, UTC."""
        last = self.first_night + timedelta(days=self.nights - 1)
        return night_bounds(self.first_night, self.tz)[0], night_bounds(last, self.tz)[1]


@dataclass(frozen=True)
class Figures:
    """Sums per month of the period, not rounded: seconds and Wh."""

    lit_s: tuple[float, ...]
    full_light_equivalent_s: tuple[float, ...]
    lit_luminaire_s: tuple[float, ...]
    energy_wh: tuple[float, ...]
    energy_sensors_active_wh: tuple[float, ...]

    def __add__(self, other: Figures) -> Figures:
        """The sums of both."""
        mine, others = vars(self), vars(other)
        return Figures(*(tuple(np.add(mine[name], others[name]).tolist()) for name in mine))


@dataclass(frozen=True, slots=True)
class CabinetShare:
    """What some luminaires would add to a cabinet's meter in Wh, not rounded."""

    luminaires: int = 0
    previewed_wh: float = 0.0
    current_wh: float = 0.0
    full_wh: float = 0.0

    def __add__(self, other: CabinetShare) -> CabinetShare:
        """Both together."""
        return CabinetShare(
            self.luminaires + other.luminaires,
            self.previewed_wh + other.previewed_wh,
            self.current_wh + other.current_wh,
            self.full_wh + other.full_wh,
        )


@dataclass(frozen=True)
class GroupPreview:
    """What would happen in a group. error: why there are no figures, None where there are.

    level_s: seconds of the plan by level in per mille. shown_luminaire_s: seconds of luminaires by the level that they
    would show, summed over the luminaires.
    """

    group: PreviewedGroup
    error: InvalidInput | None = None
    previewed: Figures | None = None
    current: Figures | None = None
    full: Figures | None = None
    level_s: Mapping[int, float] = field(default_factory=dict)
    shown_luminaire_s: Mapping[int, float] = field(default_factory=dict)
    course: Course | None = None
    warnings: tuple[str, ...] = ()
    cabinets: Mapping[str, CabinetShare] = field(default_factory=dict)
    """By name of the cabinet."""

    @property
    def problem(self) -> str:
        """Why there are no figures, for people; empty where there are."""
        return "" if self.error is None else self.error.message


@dataclass(frozen=True)
class PreviewOfGroups:
    """Groups in the order in which they were given, and the names of the months ("2026-11")."""

    months: tuple[str, ...]
    groups: tuple[GroupPreview, ...]

    def totals(self) -> tuple[Figures, Figures, Figures] | None:
        """Previewed, current and full over all groups without a problem; None where there is none."""
        found = [
            (group.previewed, group.current, group.full)
            for group in self.groups
            if group.previewed is not None and group.current is not None and group.full is not None
        ]
        if not found:
            return None
        return _total([each[0] for each in found]), _total([each[1] for each in found]), _total([e[2] for e in found])


def cabinet_shares(seen: PreviewOfGroups) -> dict[str, CabinetShare]:
    """What the luminaires of all groups without a problem add to cabinets, by the cabinets' names."""
    found: dict[str, CabinetShare] = {}
    for group in seen.groups:
        for cabinet, share in group.cabinets.items():
            found[cabinet] = found.get(cabinet, CabinetShare()) + share
    return found


def _total(figures: Sequence[Figures]) -> Figures:
    columns = (np.sum([vars(each)[name] for each in figures], axis=0).tolist() for name in vars(figures[0]))
    return Figures(*map(tuple, columns))


def preview_groups(
    groups: Sequence[PreviewedGroup],
    previewed: Calendar,
    profiles: Mapping[str, Profile],
    period: Period,
    days: Days = BUILT_IN,
    *,
    with_courses: bool = False,
) -> PreviewOfGroups:
    """Every group at its own place, over the whole period; `profiles` are those of all calendars.

    with_courses: the switch events of each group, too. Raises nothing: what goes wrong in a group stands in it.
    """
    frame = Nights(period.tz, period.first_night, period.nights)
    months = Months(frame)
    by_calendar: defaultdict[Calendar | None, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        by_calendar[group.current].append(index)
    found: dict[int, GroupPreview] = {}
    for current, indices in by_calendar.items():
        for begin in range(0, len(indices), AT_ONCE):
            some = indices[begin : begin + AT_ONCE]
            batch = _Batch([groups[index] for index in some], frame, months, profiles, days)
            found.update(zip(some, batch.previews(previewed, current, with_courses=with_courses), strict=True))
    return PreviewOfGroups(tuple(months.names), tuple(found[index] for index in range(len(groups))))


class _Batch:
    """Some groups, with the sun over them and over their lamps."""

    def __init__(
        self,
        groups: Sequence[PreviewedGroup],
        frame: Nights,
        months: Months,
        profiles: Mapping[str, Profile],
        days: Days,
    ) -> None:
        self.groups, self.months, self.profiles, self.days = groups, months, profiles, days
        plan_places, plan_row = _places([(g.place.latitude_deg, g.place.longitude_deg) for g in groups])
        lamps: list[LoadPart] = []
        part_group: list[int] = []
        seen: list[tuple[int, tuple[float, float]]] = []
        for number, group in enumerate(groups):
            # A group without known lamps is seen under its own sun.
            own = group.place.latitude_deg, group.place.longitude_deg
            parts = (group.load or NO_LOAD).parts
            lamps += parts
            part_group += [number] * len(parts)
            seen += [(plan_row[number], (part.latitude_deg, part.longitude_deg)) for part in parts]
            if not parts:
                seen.append((plan_row[number], own))
        sun_places, sun_row = _places([place for _, place in seen])
        self.sky = Sky(frame, *plan_places)
        same = all(np.array_equal(mine, theirs) for mine, theirs in zip(plan_places, sun_places, strict=True))
        self.sun = self.sky if same else Sky(frame, *sun_places)
        keys = [(row, sun) for (row, _), sun in zip(seen, sun_row, strict=True)]
        views = list(dict.fromkeys(keys))
        number_of = {key: number for number, key in enumerate(views)}
        self.views = Views(_ints(row for row, _ in views), _ints(sun for _, sun in views))
        part_view: list[int] = []
        self.group_view: list[int] = []
        at = 0
        for group in groups:
            count = len((group.load or NO_LOAD).parts)
            mine = [number_of[key] for key in keys[at : at + max(count, 1)]]
            self.group_view.append(mine[0])
            part_view += mine[:count]
            at += max(count, 1)
        self.lamps, self.part_group, self.part_view = LampColumns(lamps), _ints(part_group), _ints(part_view)
        self.part_cabinet = [part.cabinet for part in lamps]
        self.energy = LampEnergy(self.lamps, self.part_view, months)
        self.part_wh = np.zeros(len(lamps))
        self.plan_row = plan_row
        self.civil = CivilNight(self.sun)

    def previews(self, previewed: Calendar, current: Calendar | None, *, with_courses: bool) -> list[GroupPreview]:
        """What becomes of each group."""
        courses = compile_calendar(previewed, self.profiles, self.sky, self.days)
        first_wrong = courses.first_wrong()
        quiet, active = self.energy.hours(courses, self.views, self.civil)
        coming = self._figures(quiet, active)
        wh = [self.part_wh]
        full = self._full()
        full_wh = self.part_wh
        now, broken = self._current(current, full)
        wh += [self.part_wh, full_wh]
        cabinets = self._cabinets(wh)
        level_s = {level: total.sum(axis=1) for level, (total, _) in quiet.levels.levels.items()}
        shown = self._shown(quiet)
        warnings = group_warnings(courses, self.plan_row, [group.load for group in self.groups])
        answers = []
        for number, group in enumerate(self.groups):
            row = self.plan_row[number]
            if first_wrong[row] >= 0:
                answers.append(GroupPreview(group, error=_error(courses, row, int(first_wrong[row]))))
                continue
            view = self.group_view[number]
            answers.append(
                GroupPreview(
                    group,
                    previewed=coming[number],
                    current=now[number],
                    full=full[number],
                    level_s={
                        level: float(seconds[view]) for level, seconds in sorted(level_s.items()) if seconds[view] > 0
                    },
                    shown_luminaire_s=shown[number],
                    course=courses.course(row) if with_courses else None,
                    cabinets=cabinets[number],
                    warnings=(*warnings[number], *((broken[number],) if number in broken else ())),
                )
            )
        return answers

    def _current(self, current: Calendar | None, full: list[Figures]) -> tuple[list[Figures], dict[int, str]]:
        """What the groups follow now, and what is wrong with it by group; then lighting's default is full light."""
        if current is None:
            return full, {}
        courses = compile_calendar(current, self.profiles, self.sky, self.days)
        full_wh = self.part_wh
        found = self._figures(*self.energy.hours(courses, self.views, self.civil))
        first_wrong = courses.first_wrong()
        broken = {}
        for number, row in enumerate(self.plan_row):
            if first_wrong[row] >= 0:
                found[number] = full[number]
                self.part_wh = np.where(self.part_group == number, full_wh, self.part_wh)
                reason = _error(courses, row, int(first_wrong[row])).message
                broken[number] = f"what it follows now goes wrong, full light stands for it: {reason}"
        return found, broken

    def _figures(self, quiet: Hours, active: Hours) -> list[Figures]:
        """Per group; where its plan cannot be compiled the figures mean nothing."""
        lit, weighted = (np.zeros((self.views.count, self.months.count)) for _ in range(2))
        for level, (total, _) in quiet.levels.levels.items():
            if level != OFF_PERMILLE:
                lit += total
                weighted += total * (level / FULL_PERMILLE)
        energy_ws, luminaires_lit = self.energy.drawn(quiet)
        active_ws = energy_ws if quiet.equals(active) else self.energy.drawn(active)[0]
        self.part_wh = energy_ws.sum(axis=1) / _HOUR_S
        return [
            Figures(*(tuple(row) for row in rows))
            for rows in zip(
                lit[self.group_view].tolist(),
                weighted[self.group_view].tolist(),
                self._by_group(luminaires_lit).tolist(),
                self._by_group(energy_ws / _HOUR_S).tolist(),
                self._by_group(active_ws / _HOUR_S).tolist(),
                strict=True,
            )
        ]

    def _shown(self, hours: Hours) -> list[dict[int, float]]:
        """Seconds of luminaires by the level that they show, per group."""
        found = np.zeros((len(self.groups), FULL_PERMILLE + 1))
        for parts, levels, seconds in self.energy.shown(hours):
            np.add.at(found, (self.part_group[parts], levels), seconds)
        rows: list[dict[int, float]] = [{} for _ in self.groups]
        for row, level in np.argwhere(found > _NO_SECONDS).tolist():
            rows[row][level] = float(found[row, level])
        return rows

    def _full(self) -> list[Figures]:
        """Full light from sunset to sunrise, as lighting computes it without a plan."""
        at_sky = night_seconds(self.sky, self.months)
        at_sun = at_sky if self.sun is self.sky else night_seconds(self.sun, self.months)
        at_group, at_part = at_sky[self.plan_row], at_sun[self.views.sun_rows[self.part_view]]
        nights = self.sun.nights
        whole = self.months.sums((nights.ends - nights.starts)[None, :], np.arange(nights.count, dtype=np.intp))
        off_and_on = np.broadcast_to(np.array([OFF_PERMILLE, FULL_PERMILLE]), (self.lamps.count, 2))
        power_w = self.lamps.power_w(off_and_on)
        energy_ws = power_w[:, 1:] * at_part + power_w[:, :1] * (whole - at_part)
        self.part_wh = energy_ws.sum(axis=1) / _HOUR_S
        lit = self._by_group(self.lamps.luminaires[:, None] * at_part)
        energy = self._by_group(energy_ws / _HOUR_S)
        return [
            Figures(tuple(mine), tuple(mine), tuple(lamps), tuple(wh), tuple(wh))
            for mine, lamps, wh in zip(at_group.tolist(), lit.tolist(), energy.tolist(), strict=True)
        ]

    def _cabinets(self, wh: Sequence[NDArray[np.float64]]) -> list[dict[str, CabinetShare]]:
        """Per group what its lamps add to each cabinet, of energies per part: previewed, current, full."""
        found: list[dict[str, CabinetShare]] = [{} for _ in self.groups]
        for part, cabinet in enumerate(self.part_cabinet):
            if cabinet:
                mine = found[self.part_group[part]]
                share = CabinetShare(int(self.lamps.luminaires[part]), *(float(each[part]) for each in wh))
                mine[cabinet] = mine[cabinet] + share if cabinet in mine else share
        return found

    def _by_group(self, values: Seconds) -> Seconds:
        found = np.zeros((len(self.groups), self.months.count))
        np.add.at(found, self.part_group, values)
        return found


def _error(courses: Courses, row: int, night: int) -> InvalidInput:
    try:
        courses.raise_wrong(row, night)
    except InvalidInput as error:
        return error
    raise AssertionError("a night that goes wrong in arrays goes wrong alone")


def _places(places: Sequence[tuple[float, float]]) -> tuple[tuple[Seconds, Seconds], list[int]]:
    """Each place once, as columns of latitudes and longitudes, and its row for every one given."""
    rows = {place: row for row, place in enumerate(dict.fromkeys(places))}
    columns = np.array(list(rows), dtype=np.float64).reshape(-1, 2)
    return (columns[:, 0].copy(), columns[:, 1].copy()), [rows[place] for place in places]


def _ints(values: object) -> Ints:
    return np.fromiter(values, dtype=np.intp)  # type: ignore[call-overload, no-any-return]
