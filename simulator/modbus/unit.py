"""What a Modbus unit is to the server: reads and writes of its four tables, and its identification.

Register values travel as big-endian bytes, as on the wire. Units know nothing of connections or frames.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

VENDOR = "Lichtbuch"
PRODUCT = "Simulator"
REVISION = "1.0"

ILLEGAL_FUNCTION = 0x01
ILLEGAL_ADDRESS = 0x02
ILLEGAL_VALUE = 0x03
DEVICE_FAILURE = 0x04
TARGET_FAILED_TO_RESPOND = 0x0B


class ModbusRefusal(Exception):
    """The unit answers with a Modbus exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code:#04x}")
        self.code = code


@dataclass(frozen=True)
class Origin:
    """Where a request came from: the peer's address and port."""

    peer: str


class Unit:
    """A unit without any table; devices override what they have. `model` and `serial` name the imitated product."""

    model = ""

    @property
    def serial(self) -> str:
        """Serial number of the imitated product, empty where it has none."""
        return ""

    def read_coils(self, address: int, count: int) -> Sequence[bool]:
        """Function 1."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def read_discrete_inputs(self, address: int, count: int) -> Sequence[bool]:
        """Function 2."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def read_holding(self, address: int, count: int) -> bytes:
        """Function 3: two bytes per register."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def read_input(self, address: int, count: int) -> bytes:
        """Function 4: two bytes per register."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def write_coils(self, address: int, values: Sequence[bool], origin: Origin) -> None:
        """Functions 5 and 15."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def write_holding(self, address: int, values: Sequence[int], origin: Origin) -> None:
        """Functions 6 and 16. All or nothing."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def identification(self) -> dict[int, str]:
        """Objects of function 0x2B/0x0E; it says openly that this is a simulator, and what it imitates."""
        objects = {0: VENDOR, 1: PRODUCT, 2: REVISION, 3: "", 4: PRODUCT, 5: self.model, 6: "Lichtbuch simulated town"}
        if self.serial:
            objects[0x80] = self.serial
        return objects


def registers(values: Sequence[int]) -> bytes:
    """Unsigned 16-bit registers as bytes."""
    return struct.pack(f">{len(values)}H", *values)


def float32(*values: float) -> bytes:
    """Big-endian IEEE 754 single precision, two registers each."""
    return struct.pack(f">{len(values)}f", *values)


def uint32(*values: float) -> bytes:
    """Unsigned 32 bit, high word first, whole numbers cut off below."""
    return struct.pack(f">{len(values)}I", *(int(v) & 0xFFFFFFFF for v in values))


def int32(*values: float) -> bytes:
    """Signed 32 bit, high word first."""
    return struct.pack(f">{len(values)}i", *(int(v) for v in values))


def uint64(*values: float) -> bytes:
    """Unsigned 64 bit, high word first."""
    return struct.pack(f">{len(values)}Q", *(int(v) & 0xFFFFFFFFFFFFFFFF for v in values))


class RegisterImage:
    """A stretch of registers filled piece by piece; what nobody fills keeps the filler."""

    def __init__(self, first: int, count: int, filler: int = 0) -> None:
        self.first, self.count = first, count
        self._bytes = bytearray(filler.to_bytes(2, "big") * count)

    def put(self, address: int, data: bytes) -> None:
        """Lay data down from an address within the stretch."""
        offset = 2 * (address - self.first)
        assert 0 <= offset <= len(self._bytes) - len(data), "outside of the image"
        self._bytes[offset : offset + len(data)] = data

    def covers(self, address: int, count: int) -> bool:
        """Whether a request lies wholly inside."""
        return self.first <= address and address + count <= self.first + self.count

    def read(self, address: int, count: int) -> bytes:
        """The bytes of a request that it covers."""
        offset = 2 * (address - self.first)
        return bytes(self._bytes[offset : offset + 2 * count])


def read_images(images: Sequence[RegisterImage], address: int, count: int) -> bytes:
    """Read from whichever image covers a request. Refused as an illegal address where none does."""
    for image in images:
        if image.covers(address, count):
            return image.read(address, count)
    raise ModbusRefusal(ILLEGAL_ADDRESS)
