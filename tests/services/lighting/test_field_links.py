"""An endpoint behind mobile radio over real Modbus TCP: when its bytes are used up it is commanded, and says so."""

import asyncio
import logging
from dataclasses import replace

import pytest

from fieldbus.client import Fieldbus
from fieldbus.values import PointAddress, Quality, WriteRequest
from services.lighting.field import OVER_BUDGET, Field
from services.lighting.records import EndpointRecord, EndpointState
from tests.fieldbus.servers import Manual, PymodbusServer, eventually

LAMP = (PointAddress("level_actual", 0),)
MONTHLY_BYTES = 5_000_000


async def test_readings_end_with_the_bytes_commands_do_not_and_it_goes_on_when_time_has_passed(
    caplog: pytest.LogCaptureFixture,
):
    server = PymodbusServer({1: {"holding": {0: [500] * 200}, "input": {0: [500] * 200}, "coil": {0: [0] * 16}}})
    await server.start()
    clock = Manual()
    bus = Fieldbus(now=clock.now, monotonic=clock.monotonic)
    field = Field(bus)
    endpoint = EndpointRecord(
        "e1", "t1", "E-1", server.url, "generic-level-status", EndpointState.IN_CONTROL, 500, MONTHLY_BYTES
    )
    try:
        link = field.link(endpoint)
        assert link is not None
        least_s = link.least_interval_s(LAMP)
        assert 60 < least_s < 300  # about 190 bytes of two a second, with a fifth left over
        with caplog.at_level(logging.WARNING):
            for _ in range(200):
                batch = await link.read(LAMP)
                if link.over_budget:
                    break
        assert batch is not None
        assert batch.quality.tolist() == [Quality.MISSING]
        assert link.health() == OVER_BUDGET
        assert field.health([endpoint])[OVER_BUDGET] == 1
        assert "E-1 is commanded without being read back: the byte budget" in caplog.text
        (result,) = await link.write([WriteRequest(PointAddress("level_command", 0), 700.0)])
        assert result.succeeded
        clock.seconds += 4 * least_s
        batch = await link.read(LAMP)
        assert batch is not None
        assert batch.quality.tolist() == [Quality.GOOD]
        assert not link.over_budget
        assert link.health() == "online"
    finally:
        await field.close()
        await server.stop()


async def test_units_of_one_gateway_get_another_kind_of_link_together():
    server = PymodbusServer({unit: {"holding": {0: [500] * 200}} for unit in (1, 2)})
    await server.start()
    clock = Manual()
    field = Field(Fieldbus(now=clock.now, monotonic=clock.monotonic))
    wired = [
        EndpointRecord(
            f"e{unit}", "t1", f"E-{unit}", f"{server.url}?unit={unit}", "generic-level-status", EndpointState.IN_CONTROL
        )
        for unit in (1, 2)
    ]
    radio = [replace(endpoint, round_trip_ms=1500) for endpoint in wired]
    try:
        for endpoint in wired:
            link = field.link(endpoint)
            assert link is not None
            await link.read(LAMP)
        assert link is not None
        slow, may_close = link.device.close, asyncio.Event()

        async def close() -> None:
            await may_close.wait()
            await slow()

        link.device.close = close  # type: ignore[method-assign]
        field.settle(radio)
        await eventually(lambda: list(field._closing) == ["e2"])
        assert field.link(radio[0]) is None  # the connection it would share is on its way out
        may_close.set()
        await eventually(lambda: all(field.link(endpoint) is not None for endpoint in radio))
        assert field.health(radio)["not_usable"] == 0
    finally:
        await field.close()
        await server.stop()
