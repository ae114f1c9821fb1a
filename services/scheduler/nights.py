"""Switch instants of profiles for many places and nights at once: what planning.py says night by night, in arrays.

Pure. Every instant is the one that `Profile.instants` gives, to the second; a property test holds the two together.
Arrays are [place, night]. Instants are whole Unix seconds (UTC) as float64, which is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidInput, Violation
from domain.level import OFF_PERMILLE
from domain.plan import to_unix_ms
from domain.plan_rule import PlanRule
from services.scheduler.calendar import Calendar, NightRules, Rule
from services.scheduler.days import BUILT_IN, Days
from services.scheduler.moment import Anchor, NightMoment, Place
from services.scheduler.one_night import Step, course_of_night
from services.scheduler.planning import Course
from services.scheduler.profile import Profile
from services.scheduler.sky import Flags, Nights, Seconds, Sky, moment_times, sky_over

Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ProfileNights:
    """A profile on some nights of a sky. Arrays are [place, night].

    times: when each point falls; all at the end of the night where no point falls into it.
    unlit: no point falls into the night, for it never gets dark.
    windows: begin and end of each sensor rule; both at the end of the night where it has none.
    wrong: a point does not come after its predecessor, or a window is empty or turned round.
    """

    profile: Profile
    times: tuple[Seconds, ...]
    unlit: Flags
    windows: tuple[tuple[Seconds, Seconds], ...]
    wrong: Flags


@dataclass(frozen=True, eq=False)
class Layer:
    """An event: from `begin` until `end` another profile, or a level in per mille. Empty at the end of the night."""

    begin: Seconds
    end: Seconds
    over: ProfileNights | int


@dataclass(frozen=True, eq=False)
class NightKind:
    """Nights of which a calendar says the same: the profile, and the events over it, the first that is on winning.

    nights: their indices, ascending. said: what the calendar says of them.
    """

    said: NightRules
    sky: Sky
    nights: Ints
    base: ProfileNights
    layers: tuple[Layer, ...]

    @property
    def starts(self) -> Seconds:
        """Noons at which its nights begin."""
        return self.sky.nights.starts[self.nights]

    @property
    def ends(self) -> Seconds:
        """Noons at which its nights end."""
        return self.sky.nights.ends[self.nights]

    @property
    def is_plain(self) -> bool:
        """Nothing but switch points: no event, no sensor."""
        return not self.layers and not self.base.windows

    @cached_property
    def wrong(self) -> Flags:
        """[place, night]: it cannot be compiled."""
        found = self.base.wrong
        for layer in self.layers:
            if isinstance(layer.over, ProfileNights):
                # Nobody looks at the profile of an event of which nothing is left.
                found = found | (layer.over.wrong & (layer.begin < layer.end))
        return found


@dataclass(frozen=True, eq=False)
class Courses:
    """A calendar over the nights of a sky; a night is in exactly one kind. Points may cross (`first_wrong`)."""

    sky: Sky
    profiles: Mapping[str, Profile]
    kinds: tuple[NightKind, ...]

    def first_wrong(self) -> NDArray[np.int64]:
        """Per place, the index of the first night that goes wrong; -1 for none."""
        count = self.sky.nights.count
        first = np.full(self.sky.latitude_deg.size, count, dtype=np.int64)
        for kind in self.kinds:
            rows = np.flatnonzero(kind.wrong.any(axis=1))
            if rows.size:
                first[rows] = np.minimum(first[rows], kind.nights[kind.wrong[rows].argmax(axis=1)])
        return np.where(first == count, -1, first)

    @cached_property
    def unlit(self) -> Flags:
        """[place, night]: no switch point falls into the night, for it never gets dark."""
        found = np.zeros_like(self.sky.unlit)
        for kind in self.kinds:
            found[:, kind.nights] = kind.base.unlit
        return found

    def told(self, which: Flags) -> str:
        """How many of the nights are meant by `which`, and the first of them, for people."""
        first = self.sky.nights.first_night + timedelta(days=int(which.argmax()))
        count = int(np.count_nonzero(which))
        return f"{count} night{'s' if count != 1 else ''} from {first.isoformat()} on"

    def raise_wrong(self, row: int, night: int) -> None:
        """Raises InvalidInput for a night that is known to go wrong, in the words of the night by night compile."""
        said = next(kind.said for kind in self.kinds if night in kind.nights)
        date_of_night = self.sky.nights.first_night + timedelta(days=night)
        course_of_night(said, self.profiles, self.sky.place(row), date_of_night)

    def course(self, row: int) -> Course:
        """The course at one place, as `planning.follow_nights` gives it. Raises InvalidInput as that does."""
        wrong = int(self.first_wrong()[row])
        if wrong >= 0:
            self.raise_wrong(row, wrong)
        nights = self.sky.nights
        steps: list[list[Step]] = [[] for _ in range(nights.count)]
        rules: list[PlanRule] = []
        for kind in self.kinds:
            if not kind.is_plain:
                continue
            starts, ends = kind.starts, kind.ends
            for number, night in enumerate(kind.nights.tolist()):
                edges = [float(starts[number]), *(float(times[row, number]) for times in kind.base.times)]
                levels = [(OFF_PERMILLE, 0), *((p.level_permille, p.ramp_s) for p in kind.base.profile.points)]
                for edge, following, (level, ramp) in zip(edges, (*edges[1:], ends[number]), levels, strict=True):
                    if edge < following:
                        steps[night].append((datetime.fromtimestamp(edge, UTC), level, ramp))
        said = {night: kind.said for kind in self.kinds if not kind.is_plain for night in kind.nights.tolist()}
        for night in sorted(said):
            day = nights.first_night + timedelta(days=night)
            found = course_of_night(said[night], self.profiles, self.sky.place(row), day)
            steps[night] = list(found.steps)
            rules += found.rules
        changes: list[Step] = []
        for step in (step for night_steps in steps for step in night_steps):
            if not changes or step[1] != changes[-1][1]:
                changes.append(step)
        instants, levels_permille, ramps_s = zip(*changes, strict=True)
        return Course(
            int(nights.starts[0]) * 1000,
            int(nights.ends[-1]) * 1000,
            tuple(map(to_unix_ms, instants)),
            levels_permille,
            ramps_s,
            tuple(nights.first_night + timedelta(days=int(index)) for index in np.flatnonzero(self.unlit[row])),
            tuple(rules),
        )


def compile_calendar(calendar: Calendar, profiles: Mapping[str, Profile], sky: Sky, days: Days = BUILT_IN) -> Courses:
    """What a calendar does in all nights of a sky."""
    said = [calendar.of_night(night, days) for night in sky.nights.dates()]
    keys = [(rules.profile, rules.events) for rules in said]
    kinds = []
    for key in dict.fromkeys(keys):
        nights = np.array([index for index, found in enumerate(keys) if found == key], dtype=np.intp)
        kinds.append(_kind(said[nights[0]], profiles, sky, nights))
    return Courses(sky, profiles, tuple(kinds))


def compile_profile(profile: Profile, sky: Sky) -> Courses:
    """What a profile does that holds every night."""
    return compile_calendar(Calendar((), "profile"), {"profile": profile}, sky)


def _kind(said: NightRules, profiles: Mapping[str, Profile], sky: Sky, nights: Ints) -> NightKind:
    base = _on_nights(profiles[said.profile], sky, nights)
    layers = tuple(_layer(event, profiles, sky, nights) for event in said.events)
    return NightKind(said, sky, nights, base, layers)


def _layer(event: Rule, profiles: Mapping[str, Profile], sky: Sky, nights: Ints) -> Layer:
    assert event.hours is not None  # what has none is no event
    starts, ends = sky.nights.starts[nights], sky.nights.ends[nights]
    begin, end = (
        np.broadcast_to(sky.nights.clock(clock)[nights], (sky.latitude_deg.size, nights.size)) for clock in event.hours
    )
    end = np.where(end <= starts, ends, end)
    over: ProfileNights | int
    if event.level_permille is None:
        over = _on_nights(profiles[event.profile], sky, nights)
    else:
        over = event.level_permille
        sunset, sunrise = (sky.base(NightMoment(anchor))[:, nights] for anchor in (Anchor.SUNSET, Anchor.SUNRISE))
        begin, end = np.maximum(begin, sunset), np.minimum(end, sunrise)
        begin = np.where(sky.unlit[:, nights], ends, begin)
    begin, end = np.maximum(begin, starts), np.minimum(end, ends)
    empty = begin >= end
    return Layer(np.where(empty, ends, begin), np.where(empty, ends, end), over)


def _on_nights(profile: Profile, sky: Sky, nights: Ints) -> ProfileNights:
    some = slice(None) if nights.size == sky.nights.count else nights
    never_dark = sky.unlit[:, some]
    ends = sky.nights.ends[some]
    times = [moment_times(point.moment, sky)[:, some] for point in profile.points]
    wrong = np.zeros_like(never_dark)
    by_sun = False
    for index, point in enumerate(profile.points):
        by_sun = by_sun or point.anchor is not Anchor.CLOCK
        if index:
            crossed = times[index] <= times[index - 1]
            wrong |= crossed & ~never_dark if by_sun else crossed
    unlit = never_dark if by_sun else np.zeros_like(never_dark)
    if unlit.any():
        times = [np.where(unlit, ends, found) for found in times]
    windows = []
    for rule in profile.rules:
        begin, end = (moment_times(moment, sky)[:, some] for moment in (rule.begin, rule.end))
        turned = begin >= end
        if not rule.begin.anchor is rule.end.anchor is Anchor.CLOCK:
            turned = turned & ~never_dark
            begin, end = np.where(never_dark, ends, begin), np.where(never_dark, ends, end)
        wrong |= turned
        windows.append((begin, end))
    return ProfileNights(profile, tuple(times), unlit, tuple(windows), wrong)


def check_places(
    profile: Profile, places: Sequence[Place], first_night: date, nights: int, names: Sequence[str] = ()
) -> None:
    """`check_year` at many places that keep one clock; `names` of the places are for people, empty where it is obvious.

    Raises InvalidInput as `check_year` does, with the earliest night that goes wrong, wherever that is.
    """
    if not places:
        return
    courses = compile_profile(profile, sky_over(Nights(places[0].tz, first_night, nights), places))
    first = courses.first_wrong()
    wrong = np.flatnonzero(first >= 0)
    if not wrong.size:
        return
    row = int(wrong[first[wrong].argmin()])
    try:
        courses.raise_wrong(row, int(first[row]))
    except InvalidInput as error:
        if not names or not names[row]:
            raise
        violations = [Violation(v.field, f"{v.reason} (at {names[row]})") for v in error.violations]
        raise InvalidInput("", violations) from error
