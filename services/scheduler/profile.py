"""A dimming profile: switch points of one night, and the instants they fall on in a given night at a given place.

Pure. A night runs from local noon to local noon. When a moment of a night is, is moment.py's business, what sensors do
sensor_rule.py's, what holds on which night calendar.py's, and plans for many nights planning.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from domain.errors import InvalidInput, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE
from domain.plan_rule import MAX_RAMP_S, PlanRule
from domain.sun import SunEvents
from services.scheduler.moment import (
    MAX_OFFSET_S,
    Anchor,
    NightMoment,
    Passages,
    Place,
    clock_instant,
    parse_clock,
    sun_of_night,
    suns_of_nights,
)
from services.scheduler.sensor_rule import MAX_RULES, SensorRule

__all__ = [
    "MAX_OFFSET_S",
    "MAX_POINTS",
    "MAX_RAMP_S",
    "NIGHTS_CHECKED",
    "Anchor",
    "NightMoment",
    "Place",
    "Profile",
    "SensorRule",
    "SwitchPoint",
    "check_year",
    "clock_instant",
    "parse_clock",
    "validate",
    "validate_profile",
]

MAX_POINTS: Final = 50
# Every night of a leap year: a profile has to keep its order on all of them.
NIGHTS_CHECKED: Final = 366


@dataclass(frozen=True)
class SwitchPoint:
    """From its moment on a level holds until the next point. offset_s: later positive; clock times local.

    elevation_deg and `rising` (morning): for the anchor SUN_ELEVATION.
    """

    anchor: Anchor
    level_permille: int
    offset_s: int = 0
    clock_time: time | None = None
    ramp_s: int = 0
    earliest: time | None = None
    latest: time | None = None
    elevation_deg: float = 0.0
    rising: bool = False

    @property
    def moment(self) -> NightMoment:
        """When it is."""
        return NightMoment(
            self.anchor, self.offset_s, self.clock_time, self.earliest, self.latest, self.elevation_deg, self.rising
        )

    def instant(self, night: date, place: Place, sun: SunEvents, passages: Passages | None = None) -> datetime | None:
        """The instant of its moment in a night (`NightMoment.instant`)."""
        return self.moment.instant(night, place, sun, passages)


@dataclass(frozen=True)
class Profile:
    """Switch points of one night in the order in which they happen. Before the first one the level is 0.

    rules: what sensors may change, in the order in which they apply.
    """

    points: tuple[SwitchPoint, ...]
    rules: tuple[SensorRule, ...] = ()

    def instants(
        self, night: date, place: Place, sun: SunEvents | None = None, passages: Passages | None = None
    ) -> list[datetime]:
        """The instant (UTC) of every point in a night, ascending by rule; empty on a night without dark.

        sun, passages: the sun's events of that night at that place, where they are known already; instants are whole
        seconds, finer digits cut off. Raises InvalidInput where a point would not come after its predecessor, with the
        point and the night.
        """
        if sun is None:
            sun = sun_of_night(night, place)
        found: list[datetime] = []
        for index, point in enumerate(self.points):
            instant = point.instant(night, place, sun, passages)
            if instant is None:
                return []
            instant = instant.replace(microsecond=0)
            if found and instant <= found[-1]:
                local, before = (moment.astimezone(place.tz).strftime("%H:%M:%S") for moment in (instant, found[-1]))
                raise InvalidInput.of(
                    f"points[{index}]",
                    f"in the night of {night.isoformat()} it comes at {local},"
                    f" not after points[{index - 1}] at {before}",
                )
            found.append(instant)
        return found

    def sensor_rules(
        self, night: date, place: Place, sun: SunEvents | None = None, passages: Passages | None = None
    ) -> list[PlanRule]:
        """What its rules are in the plan of a night, ascending by (from, position). A rule whose window rests on a dark
        that the night does not have is left out.

        Raises InvalidInput where a window is empty or turned round, with the rule and the night.
        """
        if not self.rules:
            return []
        if sun is None:
            sun = sun_of_night(night, place)
        found = [
            compiled
            for position, rule in enumerate(self.rules)
            for compiled in rule.compiled(night, place, sun, position, passages)
        ]
        return sorted(found, key=lambda rule: (rule.from_ms, rule.position))

    @property
    def elevations_deg(self) -> list[float]:
        """The sun elevations that its moments are relative to, each once."""
        moments = [point.moment for point in self.points]
        moments += [moment for rule in self.rules for moment in (rule.begin, rule.end)]
        return sorted({moment.elevation_deg for moment in moments if moment.anchor is Anchor.SUN_ELEVATION})


def validate_profile(profile: Profile) -> None:
    """What can be said of a profile without a place. Raises InvalidInput with every violation."""
    validate(profile.points, profile.rules)


def validate(points: Sequence[SwitchPoint], rules: Sequence[SensorRule] = ()) -> None:
    """What can be said of points and rules without a place. Raises InvalidInput with every violation."""
    violations: list[Violation] = []
    if not points:
        violations.append(Violation("points", "a profile has at least one switch point"))
    if len(points) > MAX_POINTS:
        violations.append(Violation("points", f"{len(points)} are more than {MAX_POINTS}"))
    for index, point in enumerate(points):
        prefix = f"points[{index}]"
        if not OFF_PERMILLE <= point.level_permille <= FULL_PERMILLE:
            violations.append(Violation(f"{prefix}.level_permille", "must be 0 to 1000"))
        if not 0 <= point.ramp_s <= MAX_RAMP_S:
            violations.append(Violation(f"{prefix}.ramp_s", "must be 0 to 3600"))
        violations += point.moment.violations(prefix)
    if points and points[-1].level_permille != OFF_PERMILLE:
        violations.append(
            Violation(f"points[{len(points) - 1}].level_permille", "the last point of a night has level 0")
        )
    if len(rules) > MAX_RULES:
        violations.append(Violation("rules", f"{len(rules)} are more than {MAX_RULES}"))
    for index, rule in enumerate(rules):
        violations += rule.violations(f"rules[{index}]")
    if violations:
        raise InvalidInput("the profile is not valid", violations)


def check_year(profile: Profile, place: Place, first_night: date, nights: int = NIGHTS_CHECKED) -> None:
    """Every night of a year keeps the order of points, and of begin and end of each rule's window.

    Raises InvalidInput with the first night that does not.
    """
    days = [first_night + timedelta(days=number) for number in range(nights)]
    for night, (sun, passages) in zip(days, suns_of_nights(place, days, profile.elevations_deg), strict=True):
        profile.instants(night, place, sun, passages)
        profile.sensor_rules(night, place, sun, passages)
