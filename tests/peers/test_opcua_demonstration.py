"""The shipped profile of node-opcua's demonstration address space, against that address space."""

from __future__ import annotations

import pytest

from fieldbus.client import Fieldbus
from fieldbus.values import PointAddress, WriteOutcome
from tests.fieldbus.contract import LIMITS
from tests.fieldbus.servers import NOON
from tests.peers.nodes import NodeOpcua

pytestmark = [pytest.mark.long, pytest.mark.peers]


async def test_the_demonstration_is_read_and_written_as_its_profile_says() -> None:
    server = NodeOpcua(demonstration=True)
    await server.start()
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS)
    try:
        device = bus.open(server.url, "nodeopcua-demo")
        number, flag = PointAddress("generic_number"), PointAddress("generic_flag")
        interval, enabled = PointAddress("channel_number", 0), PointAddress("channel_flag", 0)
        points = [number, flag, PointAddress("generic_text"), interval, enabled]
        batch = await device.read(points)
        assert batch.complete, device.health().last_error
        assert 2 in batch.texts
        for value in (12.25, -3.5):
            results = await device.write(
                [(number, value), (flag, float(value > 0)), (interval, 1000 + abs(value) // 1)]
            )
            assert [result.outcome for result in results] == [WriteOutcome.CONFIRMED] * 3
        assert (await device.read([number, flag, interval])).values.tolist() == [-3.5, 0, 1003]
    finally:
        await bus.close()
        await server.close()
