"""The one vocabulary of field points: what a value means, its unit, its sign and its limits.

Here live the names that profiles, drivers, the simulator and the services share, one file per trade. How a product
stores a point (register, node, scale) is not here: that is its device profile. docs/points.md is made from this.

Names follow the trade (TALQ 2.7.1 for lamps, OBIS thinking for meters); `haystack` gives the Project Haystack
tags where that vocabulary has the point. Sign convention of every electrical point: positive is taken from the
grid by the installation (import), negative is delivered to the grid (export).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.errors import InvalidInput
from fieldbus.vocabulary import cabinets, devices, lamps, meters, rooms, thermal
from fieldbus.vocabulary.terms import (
    COUNTER_MAX,
    FULL_LEVEL,
    GEAR_PER_LINE,
    GROUPS_PER_LINE,
    LEVEL_KEEP,
    NEVER_ABOVE,
    NEVER_BELOW,
    Direction,
    HandOffAuto,
    Point,
    PointType,
    Scope,
)

__all__ = [
    "COUNTER_MAX",
    "FULL_LEVEL",
    "GEAR_PER_LINE",
    "GROUPS_PER_LINE",
    "LEVEL_KEEP",
    "NEVER_ABOVE",
    "NEVER_BELOW",
    "TRADES",
    "VOCABULARY",
    "Direction",
    "HandOffAuto",
    "Point",
    "PointType",
    "Scope",
    "point_named",
]

TRADES: Final[Mapping[str, tuple[Point, ...]]] = MappingProxyType(
    {
        "Electricity meters": meters.POINTS,
        "Heat, cooling, water and gas meters": thermal.POINTS,
        "Lamps and their gateways": lamps.POINTS,
        "Lighting cabinets and outdoor sensors": cabinets.POINTS,
        "Rooms": rooms.POINTS,
        "Any device": devices.POINTS,
    }
)

VOCABULARY: Final[Mapping[str, Point]] = MappingProxyType(
    {point.name: point for points in TRADES.values() for point in points}
)


def point_named(name: str) -> Point:
    """The vocabulary's entry, or InvalidInput naming the unknown point."""
    try:
        return VOCABULARY[name]
    except KeyError:
        raise InvalidInput.of("point", f"'{name}' is not in the vocabulary of field points") from None
