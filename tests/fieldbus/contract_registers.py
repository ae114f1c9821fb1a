"""What a Modbus device promises about registers: all four tables, every width and order, exceptions, holes.

Run against servers of registers of any make, like contract.py. What stands in a register is written out in words here,
so that an error of our codec cannot hide.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from fieldbus.client import Fieldbus
from fieldbus.device import Device
from fieldbus.profile_loader import load_profile_file
from fieldbus.values import PointAddress, Quality, WriteOutcome
from tests.fieldbus.contract import LIMITS
from tests.fieldbus.servers import NOON
from tests.fieldbus.worlds import RegisterServer, Tables
from tests.support.patient_loop import loop_time

PROFILE = load_profile_file(Path(__file__).parent / "every-register.toml")
CHANNELS = 16
UNITS: dict[int, Tables] = {
    1: {
        "input": {0: [0] * 23, 25: [0] * 20},
        "holding": {40: [0] * 40},
        "coil": {0: [0] * CHANNELS},
        "discrete": {100: [0] * CHANNELS},
    },
    7: {"holding": {40: [0] * 40}},
}
# Point, value, address, registers as they lie on the wire.
INPUTS: tuple[tuple[str, float, int, list[int]], ...] = (
    ("voltage_l1", 230.5, 0, [0x4366, 0x8000]),
    ("voltage_l2", 229.75, 2, [0xC000, 0x4365]),
    ("voltage_l3", 231.0625, 4, [0x406C, 0xE200, 0x0000, 0x0000]),
    ("power_active_total", -70_000, 8, [0xFFFE, 0xEE90]),
    ("power_active_l1", -1234, 10, [0xFB2E]),
    ("frequency", 50.02, 11, [5002]),
    ("current_l1", 6.789, 12, [0x851A]),
    ("energy_active_import", 9_007_199_254_740_991, 13, [0x001F, 0xFFFF, 0xFFFF, 0xFFFF]),
    ("energy_active_export", 4_000_000_000, 17, [0x2800, 0xEE6B]),
    ("power_active_l2", -5_000_000, 19, [0xFFFF, 0xFFFF, 0xFFB3, 0xB4C0]),
)

GROWN: tuple[tuple[str, float, int, list[int]], ...] = (
    ("energy_active_import_t1", 12_345_678, 30, [0x1234, 0x5678]),
    ("energy_active_import_t2", 1_000_001, 32, [0x0000, 0x0001, 0x000F, 0x4240]),
    ("power_reactive_total", -123.4, 36, [0xFB2E, 0xFFFF]),
    ("temperature_forward", 0x5A, 42, [0xF5AF]),
)


def contactor(channel: int) -> PointAddress:
    return PointAddress("contactor_command", channel)


@pytest.mark.asyncio(loop_scope="class")
class RegisterContract:
    """Derive a class `Test...` that names its server."""

    make_server: ClassVar[Callable[..., RegisterServer]]  # made with the units it holds

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def server(cls) -> AsyncIterator[RegisterServer]:
        server = cls.make_server(UNITS)
        await server.start()
        for _, _, address, words in INPUTS:
            await server.put(1, "input", address, words)
        await server.put(1, "input", 25, [1500])
        yield server
        await server.close()

    @pytest_asyncio.fixture(loop_scope="class")
    async def fieldbus(self, server: RegisterServer) -> AsyncIterator[Fieldbus]:
        bus = Fieldbus(
            now=lambda: NOON, limits=LIMITS, security=server.security, uniform=lambda: 0.5, monotonic=loop_time
        )
        yield bus
        await bus.close()

    @pytest_asyncio.fixture(loop_scope="class")
    async def device(self, server: RegisterServer, fieldbus: Fieldbus) -> Device:
        return fieldbus.open(server.url, PROFILE)

    async def test_input_registers_of_every_width_and_order(self, device: Device) -> None:
        batch = await device.read([PointAddress(point) for point, *_ in INPUTS])
        assert batch.values.tolist() == [pytest.approx(value, rel=1e-12) for _, value, *_ in INPUTS]
        assert batch.complete
        assert device.health().counters.requests == 1

    async def test_packed_decimals_sums_scale_registers_bit_fields_and_texts(
        self, server: RegisterServer, device: Device
    ) -> None:
        for _, _, address, words in GROWN:
            await server.put(1, "input", address, words)
        await server.put(1, "input", 38, [0x4142, 0x2D31, 0x3233, 0x3400])
        serial = PointAddress("serial_number")
        batch = await device.read([*(PointAddress(point) for point, *_ in GROWN), serial])
        assert batch.complete
        assert batch.values[:-1].tolist() == [pytest.approx(value, rel=1e-12) for _, value, *_ in GROWN]
        assert batch.texts == {batch.row(serial): "AB-1234"}
        await server.put(1, "input", 30, [0x1234, 0x567A])
        broken = await device.read([PointAddress("energy_active_import_t1"), serial])
        assert [Quality(q) for q in broken.quality.tolist()] == [Quality.BAD, Quality.GOOD]

    async def test_coils_and_discrete_inputs_beyond_one_byte(self, server: RegisterServer, device: Device) -> None:
        coils, contacts = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1], [0, 1] * 8
        await server.put(1, "coil", 0, coils)
        await server.put(1, "discrete", 100, contacts)
        for count in (1, 7, 8, 9, CHANNELS):
            points = [PointAddress("contactor_feedback", channel) for channel in range(count)]
            batch = await device.read([*(contactor(channel) for channel in range(count)), *points])
            assert batch.values.tolist() == coils[:count] + contacts[:count]
            assert batch.complete

    async def test_bits_of_a_register(self, server: RegisterServer, device: Device) -> None:
        points = (PointAddress("door_open"), PointAddress("supply_present"))
        for word, expected in ((0x0200, [1, 0]), (0x0001, [0, 1]), (0xFDFE, [0, 0]), (0xFFFF, [1, 1])):
            await server.put(1, "holding", 40, [word])
            assert (await device.read(points)).values.tolist() == expected

    async def test_what_is_not_available_is_no_number(self, server: RegisterServer, device: Device) -> None:
        export, voltage = PointAddress("energy_active_export"), PointAddress("voltage_l1")
        nan = list(struct.unpack(">2H", struct.pack(">f", math.nan)))
        await server.put(1, "input", 17, [0xFFFF, 0xFFFF])
        await server.put(1, "input", 0, nan)
        try:
            batch = await device.read([export, voltage, PointAddress("frequency")])
            assert [Quality(q) for q in batch.quality.tolist()] == [Quality.BAD, Quality.BAD, Quality.GOOD]
        finally:
            await server.put(1, "input", 17, [0x2800, 0xEE6B])
            await server.put(1, "input", 0, [0x4366, 0x8000])

    async def test_a_hole_in_the_map_costs_only_the_point_in_it(self, device: Device) -> None:
        around = [PointAddress(point) for point in ("power_active_l2", "power_active_l3", "current_l2", "voltage_l1")]
        batch = await device.read(around)
        assert [Quality(q) for q in batch.quality.tolist()] == [Quality.GOOD, Quality.BAD, Quality.GOOD, Quality.GOOD]
        assert batch.values[[0, 2, 3]].tolist() == [-5_000_000, 1.5, 230.5]
        first = device.health()
        assert first.refused_points == 1
        again = await device.read(around)
        assert again.quality.tolist() == batch.quality.tolist()
        second = device.health()
        assert second.counters.exceptions == first.counters.exceptions, "the hole was asked for again"
        assert second.counters.requests - first.counters.requests <= 3

    @pytest.mark.parametrize(
        ("code", "quality"), [(1, Quality.BAD), (3, Quality.BAD), (4, Quality.BAD), (6, Quality.MISSING)]
    )
    async def test_an_exception_is_never_a_value(
        self, server: RegisterServer, device: Device, code: int, quality: Quality
    ) -> None:
        points = [PointAddress("voltage_l1"), PointAddress("heartbeat")]
        await server.put(1, "holding", 42, [77])
        await server.refuse(4, code)
        try:
            batch = await device.read(points)
            assert [Quality(q) for q in batch.quality.tolist()] == [quality, Quality.GOOD]
            assert math.isnan(batch.values[0])
            assert batch.values[1] == 77
            assert device.health().counters.exceptions >= 1
        finally:
            await server.refuse(4, 0)

    async def test_single_registers_and_coils_are_written(self, server: RegisterServer, device: Device) -> None:
        results = await device.write([(PointAddress("heartbeat"), 40_000), (contactor(3), 1)])
        assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 2
        assert await server.get(1, "holding", 42, 1) == [40_000]
        assert (await server.get(1, "coil", 3, 1))[0] == 1
        (result,) = await device.write([(contactor(3), 0)])
        assert result.outcome is WriteOutcome.CONFIRMED
        assert (await server.get(1, "coil", 3, 1))[0] == 0

    async def test_many_registers_and_coils_are_written_at_once(self, server: RegisterServer, device: Device) -> None:
        levels = [(PointAddress("level_command", gear), 100.5 + gear) for gear in range(4)]
        coils = [(contactor(channel), float(channel % 3 == 0)) for channel in range(CHANNELS)]
        results = await device.write([*levels, *coils])
        assert {result.outcome for result in results} == {WriteOutcome.CONFIRMED}
        words = struct.unpack(">8H", struct.pack(">4f", 100.5, 101.5, 102.5, 103.5))
        assert await server.get(1, "holding", 50, 8) == list(words)
        assert [int(bit) for bit in await server.get(1, "coil", 0, CHANNELS)] == [
            int(channel % 3 == 0) for channel in range(CHANNELS)
        ]
        assert device.health().counters.writes_sent == 2

    async def test_negative_numbers_are_written(self, server: RegisterServer, device: Device) -> None:
        (result,) = await device.write([(PointAddress("level_power_on", 2), -1)])
        assert (result.outcome, result.read_back) == (WriteOutcome.CONFIRMED, -1)
        assert await server.get(1, "holding", 72, 1) == [0xFFFF]

    async def test_a_refused_write_names_the_devices_reason(self, server: RegisterServer, device: Device) -> None:
        await server.put(1, "holding", 42, [5])
        await server.refuse(6, 4)
        try:
            (result,) = await device.write([(PointAddress("heartbeat"), 6)])
        finally:
            await server.refuse(6, 0)
        assert result.outcome is WriteOutcome.REFUSED
        assert "4" in result.reason
        assert await server.get(1, "holding", 42, 1) == [5]

    async def test_units_behind_one_address_are_told_apart(self, server: RegisterServer, fieldbus: Fieldbus) -> None:
        await server.put(1, "holding", 42, [11])
        await server.put(7, "holding", 42, [77])
        first, seventh = (fieldbus.open(_unit(server.url, unit), PROFILE) for unit in (1, 7))
        point = (PointAddress("heartbeat"),)
        for _ in range(5):
            batches = await asyncio.gather(first.read(point), seventh.read(point))
            assert [batch.values.tolist() for batch in batches] == [[11], [77]]


def _unit(url: str, unit: int) -> str:
    return f"{url}{'&' if '?' in url else '?'}unit={unit}"
