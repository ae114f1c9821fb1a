"""Where a point lies in a product and how it is stored there, per protocol. Part of a profile: import it from there.

Only the shape of the data: profile_loader.py reads and checks it, codec.py and modbus/planner.py make use of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fieldbus.format.formula import Formula


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
    SEQUENCE = "sequence"  # of a point: value and sequence register together, see `CommandSequence`


class Epoch(StrEnum):
    """From when a device counts the seconds of its clock."""

    UNIX = "unix"  # 1970-01-01T00:00:00Z
    Y2000 = "2000"  # 2000-01-01T00:00:00Z

    @property
    def unix_s(self) -> int:
        """Its Unix time."""
        return 946_684_800 if self is Epoch.Y2000 else 0


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How a value lies in registers. `bit` >= 0 picks `bit_count` bits of the word from that one on."""

    kind: str  # "u", "i", "f" as in numpy, "bcd" packed BCD, "s" text, or "b" for an address that is itself a bit
    size: int  # bytes; 1 for "b"
    byte_order: str = "big"  # within a register
    word_order: str = "big"  # which register comes first: big = the most significant
    bit: int = -1
    bit_count: int = 1

    @property
    def registers(self) -> int:
        """Addresses occupied: registers, or bits for kind "b"."""
        return 1 if self.kind == "b" else self.size // 2

    @property
    def is_text(self) -> bool:
        """Whether it is a text rather than a number."""
        return self.kind == "s"


ONE_BIT = RawFormat("b", 1)  # a coil or a discrete input


@dataclass(frozen=True, slots=True)
class Register:
    """A number that lies beside a point and belongs to it: scale factor, time, unit code."""

    table: Table
    address: Formula
    format: RawFormat

    def shifted(self, by: int) -> Register:
        """The same, `by` addresses further on."""
        return replace(self, address=self.address.shifted(by))


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """The register with the instant at which the device got a value, in seconds since an epoch (UTC)."""

    register: Register
    epoch: Epoch = Epoch.UNIX


@dataclass(frozen=True, slots=True)
class Requirement:
    """A value counts only while this register holds one of these numbers (the unit code of a gateway, a model id)."""

    register: Register
    equals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CommandSequence:
    """A register that makes a device take a command: its counter bits must change with every one.

    The command is one multi-register write (function 16) over this register and the value. Bit ranges are inclusive,
    bit 0 the least significant. `index_bits` carry the index of the point, where the product wants it there. `fixed` is
    the bits that are always set: for a DALI gateway, what kind of address it is.
    """

    register: Formula
    counter_bits: tuple[int, int]
    index_bits: tuple[int, int] | None = None
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class ModbusPlace:
    """Where a point lies on Modbus."""

    table: Table
    address: Formula | None
    write_table: Table
    write_address: Formula | None
    format: RawFormat
    write_mode: WriteMode | None = None  # None: as the product
    sequence: CommandSequence | None = None  # present exactly for WriteMode.SEQUENCE
    scale_factor: Register | None = None  # power of ten by which the raw number is multiplied
    sum_addresses: tuple[Formula, ...] = ()  # further places of the same table and format, added to the first
    timestamp: DeviceTime | None = None
    require: tuple[Requirement, ...] = ()

    @property
    def write_format(self) -> RawFormat:
        """How a command is written, which differs where a register is read and a coil written."""
        return ONE_BIT if self.write_table.is_bits else self.format

    @property
    def is_plain(self) -> bool:
        """Whether nothing has to be read along with it."""
        return not (self.scale_factor or self.sum_addresses or self.timestamp or self.require)

    def shifted(self, by: int) -> ModbusPlace:
        """The same place, all its addresses `by` further on."""
        return replace(
            self,
            address=self.address and self.address.shifted(by),
            write_address=self.write_address and self.write_address.shifted(by),
            sequence=self.sequence and replace(self.sequence, register=self.sequence.register.shifted(by)),
            scale_factor=self.scale_factor and self.scale_factor.shifted(by),
            sum_addresses=tuple(address.shifted(by) for address in self.sum_addresses),
            timestamp=self.timestamp and replace(self.timestamp, register=self.timestamp.register.shifted(by)),
            require=tuple(replace(one, register=one.register.shifted(by)) for one in self.require),
        )


@dataclass(frozen=True, slots=True)
class Deadband:
    """Changes smaller than this are not reported (OPC UA). Exactly one of the two is set."""

    absolute: float | None = None  # in the node's own unit
    percent: float | None = None  # of the node's EURange


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A command that is a method call (OPC UA). Texts may contain {index}, {line}, {gear} ..."""

    object: str
    node: str
    arguments: tuple[str, ...]  # "index", "value", or a variable of the point's scope
    types: tuple[str, ...]  # built-in type of each argument


@dataclass(frozen=True, slots=True)
class NodePlace:
    """Where a point lies in an OPC UA address space; node ids may contain {index}, {line}, {gear} ..."""

    namespace: str
    node: str
    variant: str
    write_node: str = ""  # where it is written, if elsewhere
    timestamp_node: str = ""  # a node whose value is the time of this one, instead of its SourceTimestamp
    deadband: Deadband | None = None
    method: MethodCall | None = None  # how it is written, if by a call
