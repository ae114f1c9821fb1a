"""May a person's command be taken: its times, and the floors of the luminaires that it is for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.errors import InvalidInput, OutOfLimits, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE, check_level
from domain.plan import to_unix_ms
from domain.priority import Priority, lifts_floor
from services.lighting.darkness import is_too_dark, span_text
from services.lighting.plan import floor_of

LONGEST: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Lamp:
    """What counts of a luminaire here. Floor 0 for unknown; degrees, NaN for unknown."""

    name: str
    floor_permille: int
    conflict_area: bool
    latitude_deg: float
    longitude_deg: float


def check_times(start: datetime, expire: datetime, now: datetime) -> None:
    """Raises InvalidInput unless the command ends after it starts, after now, and within 31 days of its start."""
    if expire <= start:
        raise InvalidInput.of("override.expire_time", "is not after start_time")
    if expire <= now:
        raise InvalidInput.of("override.expire_time", f"is over already: it is {now:%Y-%m-%d %H:%M:%S} UTC now")
    if expire - start > LONGEST:
        raise OutOfLimits.of("override.expire_time", f"is more than {LONGEST.days} days after start_time")


def check_floors(
    level_permille: int, priority: Priority, start: datetime, expire: datetime, lamps: Iterable[Lamp]
) -> None:
    """Raises OutOfLimits that names the first luminaire that the command would make darker than is safe.

    A level above 0 must reach every floor, whatever the priority. Level 0 in the civil night is for maintenance and
    emergency only; by day anybody may ask for it. Crossings and conflict areas are not dimmed and so do not object.
    """
    check_level(level_permille, "override.level_permille")
    start_ms, end_ms = to_unix_ms(start), to_unix_ms(expire)
    dark_places: dict[tuple[float, float], bool] = {}
    if level_permille == FULL_PERMILLE or lifts_floor(priority, level_permille):
        return
    lamps = list(lamps)
    if level_permille != OFF_PERMILLE and lamps and all(lamp.conflict_area for lamp in lamps):
        raise _refusal(f"{lamps[0].name} stands in a conflict area, as all that are named: it is never dimmed")
    for lamp in lamps:
        if level_permille == OFF_PERMILLE:
            # One answer per 0.01 degrees: a street has hundreds of lamps under one sun.
            place = (round(lamp.latitude_deg, 2), round(lamp.longitude_deg, 2))
            if place not in dark_places:
                dark_places[place] = is_too_dark(start_ms, end_ms, *place)
            if dark_places[place]:
                raise _refusal(
                    f"0 would leave {lamp.name} dark in the civil night ({span_text(start_ms, end_ms)}); "
                    "that takes the priority maintenance or emergency"
                )
        elif not lamp.conflict_area and level_permille < floor_of(lamp.floor_permille):
            why = "" if lamp.floor_permille else " (its floor is unknown, so full level counts)"
            raise _refusal(
                f"{level_permille} is below the floor of {floor_of(lamp.floor_permille)} per mille of {lamp.name}{why}"
            )


def _refusal(reason: str) -> OutOfLimits:
    violation = Violation("override.level_permille", reason)
    return OutOfLimits(str(violation), (violation,))
