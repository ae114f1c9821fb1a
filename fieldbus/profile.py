"""A device profile in memory: which point of the vocabulary stands where in a product, and how it is stored.

Profiles are data (fieldbus/profiles/*.toml); profile_loader.py reads and checks them. Nothing here talks to a device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from domain.errors import InvalidInput
from domain.level import LevelScale
from fieldbus.formula import Formula
from fieldbus.values import PointAddress
from fieldbus.vocabulary import Direction, Point, Scope


class Protocol(StrEnum):
    """Which driver a profile is for."""

    MODBUS = "modbus"
    OPCUA = "opcua"


class Table(StrEnum):
    """The four address spaces of Modbus."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def is_bits(self) -> bool:
        """Whether an address holds one bit rather than a 16-bit register."""
        return self in (Table.COIL, Table.DISCRETE)

    @property
    def writable(self) -> bool:
        """Whether Modbus has a function to write it."""
        return self in (Table.HOLDING, Table.COIL)


class WriteMode(StrEnum):
    """Which Modbus functions the device takes for writing."""

    AUTO = "auto"  # single for one register, multiple for more
    SINGLE = "single"  # functions 5 and 6 only
    MULTIPLE = "multiple"  # functions 15 and 16 only


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How a number lies in registers. `bit` >= 0 picks one bit of a 16-bit register."""

    kind: str  # "u", "i", "f" as in numpy, or "b" for an address that is itself a bit
    size: int  # bytes; 1 for "b"
    byte_order: str = "big"  # within a register
    word_order: str = "big"  # which register comes first: big = the most significant
    bit: int = -1

    @property
    def registers(self) -> int:
        """Addresses occupied: registers, or bits for kind "b"."""
        return 1 if self.kind == "b" else self.size // 2


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
class ModbusPlace:
    """Where a point lies on Modbus."""

    table: Table
    address: Formula | None
    write_table: Table
    write_address: Formula | None
    format: RawFormat


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a point lies in an OPC UA address space; the node id may contain {index}, {line}, {gear} ..."""

    namespace: str
    node: str
    variant: str


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
    """What the product takes in one request, and how fast."""

    max_read_registers: int = 125
    max_read_bits: int = 2000
    max_write_registers: int = 123
    max_write_bits: int = 1968
    max_gap: int = 32  # registers (or bits) nobody asked for that are read rather than making another request
    pause_s: float = 0.0
    connect_pause_s: float = 0.0
    write_mode: WriteMode = WriteMode.AUTO
    illegal: tuple[tuple[Table, int, int], ...] = ()  # inclusive ranges never to be touched by a read


@dataclass(frozen=True, slots=True)
class OpcUaLimits:
    """What the server takes in one request."""

    max_nodes_per_read: int = 1000
    max_nodes_per_write: int = 1000
    max_age_s: float | None = None  # a source time older than this makes a value UNCERTAIN


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
