"""What an entry of the vocabulary consists of: types, directions, scopes, and the short forms entries are made with.

The entries themselves stand beside this file, by trade.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class PointType(StrEnum):
    """How the value of a point is to be read."""

    NUMBER = "number"  # a measured or set quantity
    COUNTER = "counter"  # an integer that only grows, apart from reset, rollover and exchange
    BOOLEAN = "boolean"  # 0 or 1
    ENUM = "enum"  # one of `labels`
    TEXT = "text"  # words, such as a serial number; never a number to calculate with


class Direction(StrEnum):
    """Who may set a point. A profile may narrow it, never widen it."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read_write"

    @property
    def readable(self) -> bool:
        """Whether a device may offer the point for reading."""
        return self is not Direction.WRITE

    @property
    def writable(self) -> bool:
        """Whether a device may take the point as a command."""
        return self is not Direction.READ


class Scope(StrEnum):
    """What the index of a point address counts."""

    DEVICE = "device"  # one per device: the address has no index
    LINE = "line"  # a DALI line or bus of a gateway, from 0
    GROUP = "group"  # a lamp group: line * 16 + group
    GEAR = "gear"  # a lamp's control gear: line * 64 + short address
    CHANNEL = "channel"  # a feeder of a cabinet, a room of a building, an input of a device; from 0


GEAR_PER_LINE: Final = 64  # IEC 62386: short addresses 0..63 on one line
GROUPS_PER_LINE: Final = 16  # IEC 62386: groups 0..15 on one line
FULL_LEVEL: Final = 1000  # per mille of rated light output
LEVEL_KEEP: Final = -1.0  # power-on and communication-loss level "as it was before" (DALI MASK, 255)
COUNTER_MAX: Final = 2**53 - 1  # above it a float64 is no longer an exact integer
NEVER_BELOW: Final = -2.0e9
NEVER_ABOVE: Final = 2.0e9


class HandOffAuto:
    """Positions of the cabinet's switch, the values of `hand_off_auto`."""

    HAND: Final = 0
    OFF: Final = 1
    AUTO: Final = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of the vocabulary.

    `minimum` and `maximum` are what is physically possible: a reading outside is a fault of the device or of the
    line, never a number to calculate with (quality BAD). Both are 0 for texts, which have no limits.
    """

    name: str
    unit: str  # symbol, "" for booleans, enums and texts
    type: PointType
    direction: Direction
    scope: Scope
    minimum: float
    maximum: float
    meaning: str
    haystack: str = ""
    labels: tuple[tuple[int, str], ...] = ()

    def label(self, value: float) -> str:
        """The word for an enum or boolean value, the number itself otherwise."""
        if self.type is PointType.BOOLEAN:
            return "yes" if value else "no"
        return dict(self.labels).get(int(value), f"{value:g}")


def measured(
    name: str, unit: str, scope: Scope, minimum: float, maximum: float, meaning: str, haystack: str = ""
) -> Point:
    """A quantity that is only read."""
    return Point(name, unit, PointType.NUMBER, Direction.READ, scope, minimum, maximum, meaning, haystack)


def settable(
    name: str,
    unit: str,
    scope: Scope,
    minimum: float,
    maximum: float,
    meaning: str,
    haystack: str = "",
    *,
    direction: Direction = Direction.READ_WRITE,
) -> Point:
    """A quantity that may be set."""
    return Point(name, unit, PointType.NUMBER, direction, scope, minimum, maximum, meaning, haystack)


def counted(name: str, unit: str, scope: Scope, meaning: str, haystack: str = "") -> Point:
    """A counter: an exact integer up to 2^53 - 1."""
    return Point(name, unit, PointType.COUNTER, Direction.READ, scope, 0, COUNTER_MAX, meaning, haystack)


def flag(name: str, scope: Scope, meaning: str, haystack: str = "", *, direction: Direction = Direction.READ) -> Point:
    """A yes or no."""
    return Point(name, "", PointType.BOOLEAN, direction, scope, 0, 1, meaning, haystack)


def choice(
    name: str,
    scope: Scope,
    labels: tuple[tuple[int, str], ...],
    meaning: str,
    haystack: str = "",
    *,
    direction: Direction = Direction.READ,
) -> Point:
    """One of several named states."""
    values = [value for value, _ in labels]
    return Point(name, "", PointType.ENUM, direction, scope, min(values), max(values), meaning, haystack, labels)


def text(name: str, scope: Scope, meaning: str, haystack: str = "") -> Point:
    """Words."""
    return Point(name, "", PointType.TEXT, Direction.READ, scope, 0, 0, meaning, haystack)
