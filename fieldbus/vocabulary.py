"""The one vocabulary of field points: what a value means, its unit, its sign and its limits.

Here live the names that profiles, drivers, the simulator and the services share. How a product stores a
point (register, node, scale) is not here: that is its device profile.

Names follow the trade (TALQ 2.7.1 for lamps, OBIS thinking for meters); `haystack` gives the Project Haystack
tags where that vocabulary has the point. Sign convention of every electrical point: positive is taken from the
grid by the installation (import), negative is delivered to the grid (export).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.errors import InvalidInput


class PointType(StrEnum):
    """How the number of a point is to be read."""

    NUMBER = "number"  # a measured or set quantity
    COUNTER = "counter"  # an integer that only grows, apart from reset, rollover and exchange
    BOOLEAN = "boolean"  # 0 or 1
    ENUM = "enum"  # one of `labels`


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
    CHANNEL = "channel"  # a switched feeder of a cabinet, from 0


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
    line, never a number to calculate with (quality BAD).
    """

    name: str
    unit: str  # symbol, "" for booleans and enums
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


def _read(
    name: str, unit: str, scope: Scope, minimum: float, maximum: float, meaning: str, haystack: str = ""
) -> Point:
    return Point(name, unit, PointType.NUMBER, Direction.READ, scope, minimum, maximum, meaning, haystack)


def _set(
    name: str,
    unit: str,
    scope: Scope,
    minimum: float,
    maximum: float,
    meaning: str,
    *,
    direction: Direction = Direction.READ_WRITE,
) -> Point:
    return Point(name, unit, PointType.NUMBER, direction, scope, minimum, maximum, meaning)


def _counter(name: str, unit: str, scope: Scope, meaning: str, haystack: str = "") -> Point:
    return Point(name, unit, PointType.COUNTER, Direction.READ, scope, 0, COUNTER_MAX, meaning, haystack)


def _flag(name: str, scope: Scope, meaning: str, *, direction: Direction = Direction.READ) -> Point:
    return Point(name, "", PointType.BOOLEAN, direction, scope, 0, 1, meaning)


def _enum(
    name: str, scope: Scope, labels: tuple[tuple[int, str], ...], meaning: str, *, direction: Direction = Direction.READ
) -> Point:
    values = [value for value, _ in labels]
    return Point(name, "", PointType.ENUM, direction, scope, min(values), max(values), meaning, "", labels)


def _meter_points() -> list[Point]:
    device = Scope.DEVICE
    points: list[Point] = []
    for phase in ("l1", "l2", "l3"):
        volt = f"line-to-neutral voltage of {phase.upper()}, rms"
        points += [
            _read(f"voltage_{phase}", "V", device, 0, 1000, volt, "elec volt sensor"),
            _read(f"current_{phase}", "A", device, -20_000, 20_000, f"current of {phase.upper()}, rms"),
            _read(f"power_active_{phase}", "W", device, -1e7, 1e7, f"active power of {phase.upper()}, + import"),
            _counter(f"energy_active_import_{phase}", "Wh", device, f"active energy imported on {phase.upper()}"),
            _counter(f"energy_active_export_{phase}", "Wh", device, f"active energy exported on {phase.upper()}"),
        ]
    points += [
        _read("power_active_total", "W", device, -3e7, 3e7, "active power, all phases, + import", "elec power sensor"),
        _read("power_reactive_total", "var", device, -3e7, 3e7, "reactive power, all phases, + inductive import"),
        _read("power_apparent_total", "VA", device, -3e7, 3e7, "apparent power, all phases"),
        _read("power_factor_total", "1", device, -1, 1, "power factor, all phases", "elec pf sensor"),
        _read("frequency", "Hz", device, 0, 100, "mains frequency; 0 where the mains is absent", "elec freq sensor"),
        _counter("energy_active_import", "Wh", device, "active energy imported, all phases and tariffs", "elec energy"),
        _counter("energy_active_export", "Wh", device, "active energy exported, all phases and tariffs"),
        _counter("energy_active_sum", "Wh", device, "import plus export, where the meter counts both in one register"),
        _counter("energy_reactive_import", "varh", device, "reactive energy imported"),
        _counter("energy_reactive_export", "varh", device, "reactive energy exported"),
    ]
    return points


def _lamp_points() -> list[Point]:
    gear, both = Scope.GEAR, Direction.READ_WRITE
    curves = ((0, "logarithmic"), (1, "linear"))
    return [
        _set("level_command", "permille", gear, 0, 1000, "commanded level, of rated light output (TALQ targetLight)"),
        _read("level_actual", "permille", gear, 0, 1000, "level in effect, moves while fading (TALQ actualLightState)"),
        _flag("gear_failure", gear, "control gear reports itself faulty or does not answer"),
        _flag("lamp_failure", gear, "light source open, short or missing (TALQ lampFailure)"),
        _flag("lamp_on", gear, "light source is energised"),
        _flag("fade_running", gear, "the level is still moving to its target"),
        _set("level_power_on", "permille", gear, -1, 1000, "level after mains returns; -1 = as before the loss"),
        _set("level_communication_loss", "permille", gear, -1, 1000, "level while the line is dead; -1 = unchanged"),
        _set("fade_time", "s", gear, 0, 100, "time of one fade from level to level; 0 = at once"),
        _enum("dimming_curve", gear, curves, "curve between level and light output (IEC 62386-207)", direction=both),
        _read("lamp_power", "W", gear, 0, 5000, "active power of one luminaire (IEC 62386-252)"),
        _counter("lamp_energy", "Wh", gear, "active energy of one luminaire (IEC 62386-252)"),
        _counter("burning_hours", "s", gear, "operating time of the lamp or gear, counted in SECONDS (IEC 62386-253)"),
        _counter("lamp_starts", "1", gear, "number of starts (IEC 62386-253)"),
        _read("gear_temperature", "degC", gear, -60, 193, "temperature of the control gear (IEC 62386-253)"),
        _set("group_level_command", "permille", Scope.GROUP, 0, 1000, "commanded level of all gear of a group"),
        _set("broadcast_level_command", "permille", Scope.LINE, 0, 1000, "commanded level of all gear of a line"),
    ]


def _cabinet_points() -> list[Point]:
    device, channel, both = Scope.DEVICE, Scope.CHANNEL, Direction.READ_WRITE
    positions = ((HandOffAuto.HAND, "hand"), (HandOffAuto.OFF, "off"), (HandOffAuto.AUTO, "auto"))
    return [
        _flag("contactor_command", channel, "feeder contactor is told to close", direction=both),
        _flag("contactor_feedback", channel, "auxiliary contact: the feeder contactor is closed"),
        _counter("contactor_operations", "1", channel, "times the feeder contactor has closed"),
        _flag("circuit_breaker_tripped", channel, "the feeder's breaker has tripped (TALQ circuitBreakerTripped)"),
        _enum("hand_off_auto", device, positions, "position of the hand/0/auto switch (TALQ localOverride)"),
        _flag("door_open", device, "cabinet door is open (TALQ cabinetDoorOpen)"),
        _flag("supply_present", device, "mains is present at the cabinet"),
        _set("heartbeat", "1", device, 0, 65535, "changes while we are alive; the controller falls back when it stops"),
        _set("heartbeat_timeout", "s", device, 0, 65535, "silence after which the controller uses its own schedule"),
        _flag("sensor_failure", device, "the sensor says that its values are not to be trusted"),
        _read("illuminance", "lx", device, 0, 200_000, "illuminance outdoors, on the horizontal", "light level sensor"),
    ]


VOCABULARY: Final[Mapping[str, Point]] = MappingProxyType(
    {point.name: point for point in (*_meter_points(), *_lamp_points(), *_cabinet_points())}
)


def point_named(name: str) -> Point:
    """The vocabulary's entry, or InvalidInput naming the unknown point."""
    try:
        return VOCABULARY[name]
    except KeyError:
        raise InvalidInput.of("point", f"'{name}' is not in the vocabulary of field points") from None
