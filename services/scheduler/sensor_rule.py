"""A profile's sensor rules, and what becomes of them in the plan of a night. What the sensors say is lighting's affair.

Pure. The rules of a plan are in domain/plan_rule.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from domain.errors import InvalidInput, Violation
from domain.names import ID_PATTERN
from domain.night import night_bounds
from domain.plan import to_unix_ms
from domain.plan_rule import (
    MAX_HOLD_S,
    MAX_RAMP_S,
    MAX_THRESHOLD_MILLI,
    PlanRule,
    SensorKind,
    SensorOperation,
    largest_value,
    threshold_problem,
)
from domain.sun import SunEvents
from services.scheduler.moment import Anchor, NightMoment, Passages, Place

MAX_RULES: Final = 20
FROM_SUNSET: Final = NightMoment(Anchor.SUNSET)
UNTIL_SUNRISE: Final = NightMoment(Anchor.SUNRISE)


@dataclass(frozen=True)
class SensorRule:
    """What a sensor does to the level of the switch points, between two moments of the night.

    Thresholds are thousandths of the kind's unit. TRAFFIC and RAIN: active from values >= on_milli until values
    < off_milli. ILLUMINANCE: active at values <= on_milli in the evening half of the night (noon to solar midnight),
    at values <= off_milli in the morning half: between 25 and 35 lx both would hold, and the direction of twilight
    decides.
    sensor: id of a sensor of the municipality; empty for those of the kind that serve the group.
    """

    kind: SensorKind
    operation: SensorOperation
    value_permille: int
    on_milli: int
    off_milli: int
    hold_s: int = 0
    ramp_s: int = 0
    sensor: str = ""
    begin: NightMoment = FROM_SUNSET
    end: NightMoment = UNTIL_SUNRISE

    def window(
        self, night: date, place: Place, sun: SunEvents, passages: Passages | None, field: str
    ) -> tuple[datetime, datetime] | None:
        """From when until when it listens in a night; None in a night without dark to be relative to.

        Raises InvalidInput under `field` where the window is empty or turned round, with the night.
        """
        moments = [moment.instant(night, place, sun, passages) for moment in (self.begin, self.end)]
        if moments[0] is None or moments[1] is None:
            return None
        begin, end = (moment.replace(microsecond=0) for moment in moments if moment is not None)
        if begin >= end:
            local = [moment.astimezone(place.tz).strftime("%H:%M:%S") for moment in (begin, end)]
            raise InvalidInput.of(
                f"{field}.end",
                f"in the night of {night.isoformat()} it comes at {local[1]}, not after begin at {local[0]}",
            )
        return begin, end

    def compiled(
        self, night: date, place: Place, sun: SunEvents, position: int, passages: Passages | None = None
    ) -> Iterator[PlanRule]:
        """The rule of a plan that it makes in a night, two where it depends on the direction of twilight.

        Raises InvalidInput as `window`.
        """
        window = self.window(night, place, sun, passages, f"rules[{position}]")
        if window is None:
            return
        noon, next_noon = night_bounds(night, place.tz)
        begin, end = max(window[0], noon), min(window[1], next_noon)
        if self.kind is not SensorKind.ILLUMINANCE:
            yield self._rule(begin, end, self.on_milli, self.off_milli, position)
            return
        turn = sun.solar_midnight.replace(microsecond=0)
        if begin < turn:
            yield self._rule(begin, min(end, turn), self.on_milli, self.on_milli, position)
        if end > turn:
            yield self._rule(max(begin, turn), end, self.off_milli, self.off_milli, position)

    def _rule(self, begin: datetime, end: datetime, on_milli: int, off_milli: int, position: int) -> PlanRule:
        return PlanRule(
            from_ms=to_unix_ms(begin),
            until_ms=to_unix_ms(end),
            kind=self.kind,
            operation=self.operation,
            value_permille=self.value_permille,
            on_milli=on_milli,
            off_milli=off_milli,
            hold_s=self.hold_s,
            ramp_s=self.ramp_s,
            sensor=self.sensor,
            position=position,
        )

    def violations(self, prefix: str) -> list[Violation]:
        """What can be said against it without a place, each under `prefix`."""
        limits = (
            ("value_permille", self.value_permille, largest_value(self.operation)),
            ("on_milli", self.on_milli, MAX_THRESHOLD_MILLI),
            ("off_milli", self.off_milli, MAX_THRESHOLD_MILLI),
            ("hold_s", self.hold_s, MAX_HOLD_S),
            ("ramp_s", self.ramp_s, MAX_RAMP_S),
        )
        found = [
            Violation(f"{prefix}.{name}", f"must be 0 to {largest}")
            for name, value, largest in limits
            if not 0 <= value <= largest
        ]
        if self.kind is not SensorKind.ILLUMINANCE and (
            reason := threshold_problem(self.kind, self.on_milli, self.off_milli)
        ):
            found.append(Violation(f"{prefix}.off_milli", reason))
        if self.sensor and not re.fullmatch(ID_PATTERN, self.sensor):
            found.append(Violation(f"{prefix}.sensor", f"{self.sensor!r} is no id of a sensor"))
        return found + self.begin.violations(f"{prefix}.begin") + self.end.violations(f"{prefix}.end")
