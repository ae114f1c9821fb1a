"""Devices on loopback for the tests of the field commands."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from tests.fieldbus.servers import LampServer, PymodbusServer


def floats(*values: float) -> list[int]:
    """Registers of IEEE 754 singles, most significant word first."""
    return list(struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}f", *values)))


def text(value: str, length: int) -> list[int]:
    """Registers of a text, padded with NUL."""
    return list(struct.unpack(f">{length}H", value.encode().ljust(2 * length, b"\0")))


def sunspec(manufacturer: str, model: str, version: str) -> Sequence[int]:
    """Marker, common model, one meter model of zeros, end mark."""
    common = [1, 66, *text(manufacturer, 16), *text(model, 16), *[0] * 8, *text(version, 8), *[0] * 18]
    return [*text("SunS", 2), *common, 203, 105, *[0] * 105, 0xFFFF, 0]


@pytest.fixture
async def line() -> AsyncIterator[PymodbusServer]:
    """A gateway with three units: 1 anything, 2 a meter whose map is the SDM630's, 5 one that speaks SunSpec."""
    meter = floats(230.1, 229.8, 231.0) + [0] * 64 + floats(50.01)
    server = PymodbusServer(
        {
            1: {
                "holding": {0: [7] * 8, 40: [17, 0x8000], 100: floats(223.5) + floats(1.5)[::-1] + text("ABCD", 3)},
                "input": {0: list(range(10))},
                "coil": {0: [False] * 16},
            },
            2: {"input": {0: meter}, "holding": {0: [0] * 8}},
            5: {"holding": {0: [0] * 8, 40000: list(sunspec("Acme", "M-3", "1.2"))}},
        }
    )
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lamp_server() -> AsyncIterator[LampServer]:
    """Three OPC UA lamps. One server for a file, as its start takes seconds."""
    server = LampServer(3)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def lamps(lamp_server: LampServer) -> LampServer:
    """The three lamps at 50 %."""
    for lamp in range(3):
        await lamp_server.set(lamp, "Level", 50.0)
    return lamp_server
