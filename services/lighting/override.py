"""May a person's command be taken: its times, and the floors of the luminaires that it is for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from domain.errors import FailedPrecondition, InvalidInput, OutOfLimits, Violation
from domain.level import FULL_PERMILLE, OFF_PERMILLE, check_level
from domain.plan import to_unix_ms
from domain.priority import Priority, lifts_floor
from services.lighting.darkness import is_too_dark, span_text
from services.lighting.plan import floor_of
from services.lighting.waiver import WaivedSpan, floor_over, hint

LONGEST: Final = timedelta(days=31)
LONGEST_DARK: Final = timedelta(days=1)
"""How long maintenance and emergency may leave a street dark at a time without a council's decision: a night."""

_DAY: Final = "24 hours"
_NEVER_DIMMED: Final = "{} stands in a conflict area, as all that are named: it is never dimmed"


class Reach(IntEnum):
    """How far commands reach a luminaire."""

    NONE = 0
    SWITCHED = 1
    """By the contactor of its feeder: on and off for all that hangs on it."""
    DIMMED = 2


@dataclass(frozen=True, slots=True)
class Lamp:
    """What counts of a luminaire here. Floor 0 for unknown; degrees, NaN for unknown; waivers that are for it."""

    name: str
    floor_permille: int
    conflict_area: bool
    latitude_deg: float
    longitude_deg: float
    waivers: tuple[WaivedSpan, ...] = ()
    reach: Reach = Reach.DIMMED
    undimmed_since: str = ""
    """Why no command dims it, in words; empty where one does."""


def check_times(start: datetime, expire: datetime, now: datetime) -> None:
    """Raises InvalidInput unless the command ends after it starts, after now, and within 31 days of its start."""
    if expire <= start:
        raise InvalidInput.of("override.expire_time", "is not after start_time")
    if expire <= now:
        raise InvalidInput.of("override.expire_time", f"is over already: it is {now:%Y-%m-%d %H:%M:%S} UTC now")
    if expire - start > LONGEST:
        raise OutOfLimits.of("override.expire_time", f"is more than {LONGEST.days} days after start_time")


def check_reach(level_permille: int, lamps: Sequence[Lamp]) -> None:
    """Raises FailedPrecondition where the command would reach none of the luminaires that there are.

    Where it reaches some of them, the others go on as they do. On and off reach what hangs on a contactor of ours.
    """
    switches = level_permille in (OFF_PERMILLE, FULL_PERMILLE)
    if not lamps or any(lamp.reach == Reach.DIMMED or (switches and lamp.reach == Reach.SWITCHED) for lamp in lamps):
        return
    lamp = max(lamps, key=lambda lamp: lamp.reach)
    others = "" if len(lamps) == 1 else f", as none of the {len(lamps)} luminaires named does"
    ways = (
        "its feeder can only be switched on (1000) or off (0)"
        if lamp.reach == Reach.SWITCHED
        else "Lichtbuch does not switch its feeder either"
    )
    raise FailedPrecondition.of(
        "override.targets", f"{lamp.name} would not follow{others}: it {lamp.undimmed_since}, and {ways}"
    )


def check_floors(
    level_permille: int, priority: Priority, start: datetime, expire: datetime, lamps: Iterable[Lamp]
) -> None:
    """Raises OutOfLimits that names the first luminaire that the command would make darker than is safe.

    A level above 0 must reach every floor, whatever the priority, over the whole span. Level 0 in the civil night is
    for maintenance and emergency within a day, and for anybody where a waiver to 0 holds over the whole span; by day
    anybody may ask for it. Crossings and conflict areas are not dimmed, waiver or not, and so do not object where
    others are named too, unless the command would make them dark for longer than a day.
    """
    check_level(level_permille, "override.level_permille")
    lifts = lifts_floor(priority, level_permille)
    if level_permille == FULL_PERMILLE or (lifts and expire - start <= LONGEST_DARK):
        return
    start_ms, end_ms = to_unix_ms(start), to_unix_ms(expire)
    lamps = list(lamps)
    if level_permille == OFF_PERMILLE:
        _check_darkness(lamps, start_ms, end_ms, lifts=lifts)
        return
    if lamps and all(lamp.conflict_area for lamp in lamps):
        raise _refusal(_NEVER_DIMMED.format(lamps[0].name))
    for lamp in lamps:
        floor = floor_over(floor_of(lamp.floor_permille), lamp.waivers, start_ms, end_ms)
        if not lamp.conflict_area and level_permille < floor:
            why = "" if lamp.floor_permille else " (its floor is unknown, so full level counts)"
            raise _refusal(
                f"{level_permille} is below the floor of {floor} per mille of {lamp.name}{why}; "
                f"{hint(lamp.waivers, level_permille, start_ms, end_ms)}"
            )


def _check_darkness(lamps: Sequence[Lamp], start_ms: int, end_ms: int, *, lifts: bool) -> None:
    """lifts: the command makes crossings dark, too, and is for longer than it may without a waiver."""
    dark_places: dict[tuple[float, float], bool] = {}
    only_conflict_areas = all(lamp.conflict_area for lamp in lamps)
    for lamp in lamps:
        if lamp.conflict_area and not only_conflict_areas and not lifts:
            continue
        # One answer per 0.01 degrees: a street has hundreds of lamps under one sun.
        place = (round(lamp.latitude_deg, 2), round(lamp.longitude_deg, 2))
        if place not in dark_places:
            dark_places[place] = is_too_dark(start_ms, end_ms, *place)
        if not dark_places[place]:
            continue
        if lamp.conflict_area and lifts:
            raise _refusal(
                f"{lamp.name} stands in a conflict area: it is made dark for {_DAY} at a time, not for longer"
            )
        if lamp.conflict_area:
            raise _refusal(_NEVER_DIMMED.format(lamp.name))
        if floor_over(floor_of(lamp.floor_permille), lamp.waivers, start_ms, end_ms) > OFF_PERMILLE:
            unless = f"for longer than {_DAY}" if lifts else "without the priority maintenance or emergency"
            raise _refusal(
                f"0 would leave {lamp.name} dark in the civil night ({span_text(start_ms, end_ms)}); {unless} "
                f"{hint(lamp.waivers, OFF_PERMILLE, start_ms, end_ms)}"
            )


def _refusal(reason: str) -> OutOfLimits:
    violation = Violation("override.level_permille", reason)
    return OutOfLimits(str(violation), (violation,))
