"""The work that all contenders do: which registers of which devices, how they become values, and what is right.

Only the standard library, as this also runs in the environments of other products.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_FLOATS: Final = range(30_000, 40_000)
_REGISTERS: Final = {"uint16": 1, "uint32": 2, "float32": 2}
_CODES: Final = {"uint16": "H", "uint32": "I", "float32": "f"}


@dataclass(frozen=True)
class Tag:
    """One value of a device. `point` and `index` name it in the vocabulary; indices lie at equal strides."""

    point: str
    index: int | None
    address: int
    type: str = "uint16"
    scale: float = 1.0

    @property
    def registers(self) -> int:
        """How many registers it takes."""
        return _REGISTERS[self.type]

    @property
    def name(self) -> str:
        """A name that is unique in its device."""
        return self.point if self.index is None else f"{self.point}_{self.index}"


@dataclass(frozen=True)
class Block:
    """A request made by hand: `count` registers from `start`, and how the wanted values are taken from them."""

    start: int
    count: int
    unpack: struct.Struct
    scales: tuple[float, ...]


@dataclass(frozen=True)
class TagList:
    """The tags of a device, in the order in which every contender reports them, and the best requests for them."""

    name: str
    tags: tuple[Tag, ...]
    hand_plan: tuple[tuple[int, int], ...]  # (first register, count): the fewest that hold all tags

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The hand plan with what takes the values out: one Struct per block, gaps skipped as pad bytes."""
        return tuple(self._block(start, count) for start, count in self.hand_plan)

    def _block(self, start: int, count: int) -> Block:
        inside = [tag for tag in self.tags if start <= tag.address < start + count]
        code, at = ">", start
        for tag in inside:
            code += f"{2 * (tag.address - at)}x" if tag.address > at else ""
            code += _CODES[tag.type]
            at = tag.address + tag.registers
        code += f"{2 * (start + count - at)}x"
        return Block(start, count, struct.Struct(code), tuple(tag.scale for tag in inside))

    def expected(self, listener: int, unit: int) -> list[float]:
        """The right values of one device."""
        return [_value(tag, listener, unit) for tag in self.tags]


def register(listener: int, unit: int, address: int) -> int:
    """What the device server holds there; see device_server.c."""
    device = listener * 256 + unit
    if address in _FLOATS:
        number = device % 900 + (address - _FLOATS.start) // 2 * 1.25 + 0.5
        high, low = struct.unpack(">HH", struct.pack(">f", number))
        return int(low if address & 1 else high)
    return ((device * 40503 + address * 30011 + 12345) & 0xFFFFFFFF) >> 3 & 0xFFFF


def _value(tag: Tag, listener: int, unit: int) -> float:
    words = [register(listener, unit, tag.address + offset) for offset in range(tag.registers)]
    (raw,) = struct.unpack(f">{_CODES[tag.type]}", struct.pack(f">{len(words)}H", *words))
    return float(raw * tag.scale)


def checksum(values: Iterable[Sequence[float]]) -> float:
    """One number for the values of all devices in order; any two that change places change it."""
    total = 0.0
    for device, column in enumerate(values):
        total += (device % 89 + 1) * sum((row % 97 + 1) * value for row, value in enumerate(column))
    return total


# Scales keep every 16-bit number within the vocabulary's limits of its point.
_METER_REGISTERS: Final = (
    ("voltage_l1", 0, 0.01),
    ("voltage_l2", 4, 0.01),
    ("voltage_l3", 9, 0.01),
    ("current_l1", 15, 0.1),
    ("current_l2", 18, 0.1),
    ("current_l3", 22, 0.1),
    ("power_active_l1", 29, 10.0),
    ("power_active_l2", 33, 10.0),
    ("power_active_l3", 38, 10.0),
    ("power_active_total", 44, 10.0),
    ("power_reactive_total", 50, 10.0),
    ("power_apparent_total", 55, 10.0),
    ("power_factor_total", 61, 0.00001),
    ("frequency", 66, 0.001),
    ("energy_active_import", 72, 100.0),
    ("energy_active_export", 79, 100.0),
    ("energy_active_import_l1", 85, 100.0),
    ("energy_active_import_l2", 91, 100.0),
    ("energy_active_import_l3", 98, 100.0),
    ("energy_reactive_import", 107, 100.0),
)

# Twenty registers scattered over a hundred, as in a small meter.
SCATTERED_20: Final = TagList(
    "scattered-20",
    tuple(Tag(point, None, address, scale=scale) for point, address, scale in _METER_REGISTERS),
    ((0, 108),),
)


def _sixty() -> tuple[Tag, ...]:
    """Twelve pieces of gear with five registers each, in two areas far apart; none lies beside the next."""
    near, far = ("lamp_power", "fade_time", "level_actual"), ("gear_temperature", "burning_hours")
    offsets = {"lamp_power": 1, "fade_time": 4, "level_actual": 8, "gear_temperature": 502, "burning_hours": 506}
    strides = {**dict.fromkeys(near, 10), **dict.fromkeys(far, 10)}
    scales = {
        "lamp_power": 0.01,
        "fade_time": 0.001,
        "level_actual": 0.01,
        "gear_temperature": 0.001,
        "burning_hours": 60.0,
    }
    return tuple(
        Tag(point, gear, offsets[point] + strides[point] * gear, scale=scales[point])
        for points in (near, far)
        for gear in range(12)
        for point in points
    )


SCATTERED_60: Final = TagList("scattered-60", _sixty(), ((1, 118), (502, 115)))

# A meter as meters are: single-precision values, 32-bit counters, some 16-bit words; three blocks.
METER: Final = TagList(
    "meter",
    (
        *(
            Tag(point, None, 30_000 + 2 * place, "float32")
            for place, point in enumerate(
                (
                    "voltage_l1",
                    "voltage_l2",
                    "voltage_l3",
                    "current_l1",
                    "current_l2",
                    "current_l3",
                    "power_active_l1",
                    "power_active_l2",
                    "power_active_l3",
                    "power_active_total",
                    "power_reactive_total",
                    "power_apparent_total",
                )
            )
        ),
        *(
            Tag(point, None, 40_000 + 4 * place, "uint32", 10.0)
            for place, point in enumerate(
                (
                    "energy_active_import",
                    "energy_active_export",
                    "energy_active_import_l1",
                    "energy_active_import_l2",
                    "energy_active_import_l3",
                    "energy_active_export_l1",
                    "energy_active_export_l2",
                    "energy_active_export_l3",
                    "energy_reactive_import",
                    "energy_reactive_export",
                )
            )
        ),
        Tag("power_factor_total", None, 50_000, scale=0.00001),
        Tag("frequency", None, 50_003, scale=0.001),
    ),
    ((30_000, 24), (40_000, 38), (50_000, 4)),
)

# Ten registers in a row: the smallest useful request.
TEN: Final = TagList(
    "ten",
    tuple(Tag("level_actual", gear, gear, scale=0.01) for gear in range(10)),
    ((0, 10),),
)

# A hundred registers: fifty pieces of gear with two commands each.
HUNDRED: Final = TagList(
    "hundred",
    tuple(
        Tag(point, gear, offset + 2 * gear, scale=0.01)
        for gear in range(50)
        for offset, point in enumerate(("level_command", "level_power_on"))
    ),
    ((0, 100),),
)

LISTS: Final = {found.name: found for found in (SCATTERED_20, SCATTERED_60, METER, TEN, HUNDRED)}
