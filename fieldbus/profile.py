"""A device profile in memory: which point of the vocabulary a product has, in which unit and limits, by which rules.

Profiles are data (fieldbus/profiles/*.toml); profile_loader.py reads and checks them. Where a point lies is
places.py, whose names are to be had from here too. Nothing here talks to a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from domain.errors import InvalidInput
from domain.level import LevelScale
from fieldbus.format.places import (
    ONE_BIT,
    CommandSequence,
    Deadband,
    DeviceTime,
    Epoch,
    MethodCall,
    ModbusPlace,
    NodePlace,
    RawFormat,
    Register,
    Requirement,
    Table,
    WriteMode,
)
from fieldbus.values import PointAddress
from fieldbus.vocabulary import Direction, Point, Scope

__all__ = [
    "ONE_BIT",
    "CommandSequence",
    "Conversion",
    "Deadband",
    "DeviceTime",
    "Discovery",
    "Epoch",
    "FreshnessRule",
    "MethodCall",
    "ModbusLimits",
    "ModbusPlace",
    "ModelPlace",
    "NodePlace",
    "OpcUaLimits",
    "PointBinding",
    "Profile",
    "Protocol",
    "RawFormat",
    "Register",
    "Requirement",
    "Table",
    "WatchdogMode",
    "WatchdogRule",
    "WriteMode",
]


class Protocol(StrEnum):
    """Which driver a profile is for."""

    MODBUS = "modbus"
    OPCUA = "opcua"


class Discovery(StrEnum):
    """How a device tells where its registers are."""

    NONE = "none"  # it need not: the addresses are fixed
    SUNSPEC = "sunspec"  # a chain of models, see modbus/sunspec.py


@dataclass(frozen=True, slots=True)
class Conversion:
    """From the raw number to the vocabulary's unit: special raw values first, then curve, then scale and offset."""

    scale: float = 1.0
    offset: float = 0.0
    level_scale: LevelScale | None = None
    curve: tuple[tuple[float, float], ...] = ()  # (raw, value), raw rising; straight lines between
    not_available: tuple[int, ...] = ()  # bit patterns that mean "no value"
    special: tuple[tuple[int, float], ...] = ()  # bit patterns with a meaning of their own
    raw_minimum: float | None = None
    raw_maximum: float | None = None

    @property
    def has_patterns(self) -> bool:
        """Whether some raw values do not mean their number."""
        return bool(self.special or self.not_available)

    @property
    def is_linear(self) -> bool:
        """Whether scale and offset are all there is to it."""
        curved = self.level_scale is not None or bool(self.curve)
        return not (curved or self.has_patterns or self.raw_minimum is not None or self.raw_maximum is not None)


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a point lies in one SunSpec model: addresses count from the register that holds the model's id."""

    place: ModbusPlace
    conversion: Conversion


@dataclass(frozen=True, slots=True, eq=False)
class PointBinding:
    """One point of one product."""

    point: Point
    direction: Direction
    index_range: tuple[int, int] | None  # inclusive; None for points of the whole device
    conversion: Conversion
    minimum: float
    maximum: float
    modbus: ModbusPlace | None = None
    node: NodePlace | None = None
    write_on_change: bool = False
    confirm: str = ""  # the point that shows a command's effect; "" = cannot be confirmed
    confirm_tolerance: float = 0.0
    confirm_timeout_s: float | None = None
    models: tuple[tuple[int, ModelPlace], ...] = ()  # by SunSpec model id, the preferred one first
    absent: bool = False  # this copy of the product does not have it: every reading is BAD

    @property
    def scope(self) -> Scope:
        """What the index counts."""
        return self.point.scope

    def check_index(self, index: int | None) -> None:
        """Raises InvalidInput for an index that the product does not have."""
        if self.index_range is None:
            if index is not None:
                raise InvalidInput.of("index", f"{self.point.name} is a point of the device and takes no index")
            return
        low, high = self.index_range
        if index is None or not low <= index <= high:
            raise InvalidInput.of("index", f"{self.point.name} needs a {self.scope.value} index {low}..{high}")


@dataclass(frozen=True, slots=True)
class ModbusLimits:
    """What the product takes in one request, how fast, and how many at a time."""

    max_read_registers: int = 125
    max_read_bits: int = 2000
    max_write_registers: int = 123
    max_write_bits: int = 1968
    max_gap: int = 32  # registers (or bits) nobody asked for that are read rather than making another request
    pause_s: float = 0.0
    connect_pause_s: float = 0.0
    write_mode: WriteMode = WriteMode.AUTO
    illegal: tuple[tuple[Table, int, int], ...] = ()  # inclusive ranges never to be touched by a read
    max_in_flight: int = 1  # requests that a connection may have outstanding; more than one for gateways only
    discovery: Discovery = Discovery.NONE


@dataclass(frozen=True, slots=True)
class OpcUaLimits:
    """What the server takes in one request."""

    max_nodes_per_read: int = 1000
    max_nodes_per_write: int = 1000
    max_age_s: float | None = None  # a source time older than this makes a value UNCERTAIN


class WatchdogMode(StrEnum):
    """What keeps a product from falling back to its own schedule."""

    COUNT = "count"  # the heartbeat point must count up
    TOGGLE = "toggle"  # the heartbeat point must change between 0 and 1
    TOUCH = "touch"  # any valid request will do


@dataclass(frozen=True, slots=True)
class WatchdogRule:
    """How a product notices that its master is gone."""

    point: str  # the heartbeat; "" with TOUCH
    interval_s: float
    mode: WatchdogMode = WatchdogMode.COUNT
    timeout_point: str = ""  # where the product is told how long to wait
    timeout_s: float | None = None  # what is written there; without such a point what the product waits by itself


@dataclass(frozen=True, slots=True)
class FreshnessRule:
    """When a device itself shows that its values are old: by their time stamps, or by a counter that stands still."""

    max_age_s: float | None = None  # older than this: UNCERTAIN
    frozen_after: int = 0  # readings in a row with the same time stamp: UNCERTAIN; 0 = never
    live_point: str = ""  # a point that moves as long as the device works (Modbus); "" = none
    live_within_s: float = 0.0  # when it has not moved for so long, all values are UNCERTAIN


@dataclass(frozen=True)
class Profile:
    """A product as data."""

    name: str
    kind: str
    vendor: str
    product: str
    protocol: Protocol
    source: str
    points: dict[str, PointBinding]
    modbus: ModbusLimits = field(default_factory=ModbusLimits)
    opcua: OpcUaLimits = field(default_factory=OpcUaLimits)
    watchdog: WatchdogRule | None = None
    freshness: FreshnessRule = field(default_factory=FreshnessRule)
    notes: str = ""

    def binding(self, address: PointAddress) -> PointBinding:
        """The binding of an address. Raises InvalidInput for a point or index the product does not have."""
        binding = self.points.get(address.point)
        if binding is None:
            raise InvalidInput.of("point", f"profile {self.name} has no point '{address.point}'")
        binding.check_index(address.index)
        return binding

    def has(self, point: str) -> bool:
        """Whether the product offers a point."""
        return point in self.points

    def readable(self, point: str) -> bool:
        """Whether the point exists and can be read."""
        binding = self.points.get(point)
        return binding is not None and binding.direction.readable

    def writable(self, point: str) -> bool:
        """Whether the point exists and can be written."""
        binding = self.points.get(point)
        return binding is not None and binding.direction.writable

    @cached_property
    def heartbeat(self) -> WatchdogRule | None:
        """How the product learns that its master lives: by its watchdog, else by any heartbeat that it has, at the
        usual pace. None where it has neither."""
        if self.watchdog is None and self.has(_HEARTBEAT):
            return WatchdogRule(_HEARTBEAT, _USUAL_INTERVAL_S)
        return self.watchdog

    @property
    def needs_discovery(self) -> bool:
        """Whether the addresses are known only after looking into the device; see `resolved`."""
        return any(binding.models and binding.modbus is None and not binding.absent for binding in self.points.values())

    def resolved(self, models: Mapping[int, int], lengths: Mapping[int, int] | None = None) -> Profile:
        """The profile of one copy of the product, whose SunSpec models stand at these addresses (of the model's id).

        Points of which no model is there stay, marked absent: they read BAD, and the rest of the plan is unharmed. With
        the models' `lengths` (registers after id and length) so do points that would lie beyond the end of theirs,
        where the next model begins.
        """
        ends = {model: _HEADER_LENGTH + length for model, length in (lengths or {}).items()}
        points = {name: _resolve(binding, models, ends) for name, binding in self.points.items()}
        return replace(self, points=points)

    def shifted(self, by: int) -> Profile:
        """The profile of one of several equal devices in one address space, `by` registers further on than the first.

        Raises InvalidInput where that leaves the address space, or addresses are found out by looking into the device.
        """
        if not by:
            return self
        if self.protocol is not Protocol.MODBUS or self.modbus.discovery is not Discovery.NONE:
            raise InvalidInput.of("base", f"profile {self.name} has no addresses that could be moved")
        points: dict[str, PointBinding] = {}
        for name, binding in self.points.items():
            place = None if binding.modbus is None else binding.modbus.shifted(by)
            if place is not None and _reach(binding, place) > _WHOLE_SPACE:
                raise InvalidInput.of("base", f"{by} moves {name} of {self.name} beyond register {_WHOLE_SPACE - 1}")
            points[name] = replace(binding, modbus=place)
        return replace(self, points=points)

    @cached_property
    def device_points(self) -> tuple[PointAddress, ...]:
        """All readable points that need no index."""
        return tuple(
            PointAddress(name)
            for name, binding in self.points.items()
            if binding.index_range is None and binding.direction.readable
        )

    def indexed_points(self, scope: Scope, index: int) -> tuple[PointAddress, ...]:
        """All readable points of one gear, group, line or channel."""
        return tuple(
            PointAddress(name, index)
            for name, binding in self.points.items()
            if binding.scope is scope
            and binding.direction.readable
            and binding.index_range is not None
            and binding.index_range[0] <= index <= binding.index_range[1]
        )


_HEARTBEAT = "heartbeat"  # the vocabulary's word
_USUAL_INTERVAL_S = 10.0  # of a heartbeat whose product does not state a pace
_HEADER_LENGTH = 2  # of a SunSpec model: id and length
_WHOLE_SPACE = 65536


def _resolve(binding: PointBinding, models: Mapping[int, int], ends: Mapping[int, int]) -> PointBinding:
    if not binding.models:
        return binding
    for model, found in binding.models:
        if model in models and _reach(binding, found.place) <= ends.get(model, _WHOLE_SPACE):
            place = found.place.shifted(models[model])
            return replace(binding, modbus=place, conversion=found.conversion, absent=False)
    return replace(binding, modbus=None, absent=True)


def _reach(binding: PointBinding, place: ModbusPlace) -> int:
    """First address after everything that a place needs."""
    registers = [requirement.register for requirement in place.require]
    if place.scale_factor is not None:
        registers.append(place.scale_factor)
    if place.timestamp is not None:
        registers.append(place.timestamp.register)
    ends = [(one.address, one.format.registers) for one in registers]
    ends += [
        (formula, place.format.registers) for formula in (place.address, place.write_address) if formula is not None
    ]
    ends += [(formula, place.format.registers) for formula in place.sum_addresses]
    index = binding.index_range[1] if binding.index_range is not None else None
    return max(formula.at(binding.scope, index) + length for formula, length in ends)
