"""Sessions with a server that means harm: not made over and over, not kept busy, and none left behind.

Answers that are none are test_hostile_opcua.py's.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from fieldbus.client import Fieldbus
from fieldbus.values import Quality
from tests.fieldbus.conftest import FAST
from tests.fieldbus.faulty_opcua import Exchange, truthfully
from tests.fieldbus.servers import Manual, eventually
from tests.fieldbus.test_hostile_opcua import LEVELS, PATIENCE_S, Serve, lamps_of, opened, serve_opcua

__all__ = ["serve_opcua"]


async def test_a_channel_of_no_lifetime_is_not_renewed_without_pause(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    server = await serve_opcua(truthfully)
    server.lifetime_ms = 0
    server.session_timeout_ms = 0.0
    device = opened(fieldbus, server)
    for _ in range(5):
        assert (await device.read(LEVELS)).complete
        await asyncio.sleep(0.02)
    assert server.requests.count("OpenSecureChannel") == 1


async def test_a_server_that_takes_a_byte_at_a_time_is_not_served(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    server = await serve_opcua(truthfully)
    server.acknowledge = ua.Acknowledge(ReceiveBufferSize=ua.UInt32(33), SendBufferSize=ua.UInt32(33))
    device = opened(fieldbus, server)
    async with asyncio.timeout(PATIENCE_S):
        assert not (await device.read(LEVELS)).good.any()


async def test_requests_that_are_never_answered_are_not_kept_for_ever(
    fieldbus: Fieldbus, clock: Manual, serve_opcua: Serve
) -> None:
    """Every other one is answered, so that the session does not seem dead."""
    count = 0

    def twist(exchange: Exchange) -> bool:
        nonlocal count
        count += lamps_of(exchange)
        return lamps_of(exchange) and count % 2 == 1

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    device._link.limits = FAST
    await device.read(LEVELS)
    session = await device._link.session()
    protocol: Any = session.client.uaclient.protocol
    lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    lost.cancel()
    protocol._callbackmap.update(dict.fromkeys(range(10_000, 10_200), lost))
    await device.read(LEVELS)
    await device.read(LEVELS)
    assert session.lost.is_set()


async def test_sessions_that_break_at_once_are_not_made_over_and_over(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "CreateMonitoredItems":
            exchange.writer.transport.abort()
            return True
        return False

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    await device.subscribe(LEVELS, lambda batch: None)
    await eventually(lambda: server.connections >= 2)
    await asyncio.sleep(0.5)
    assert server.connections <= 4  # the back-off's clock stands still


@pytest.mark.parametrize("of_alarms", [False, True], ids=["values", "alarms"])
async def test_a_server_that_lets_no_subscription_be_is_asked_ever_more_seldom(
    fieldbus: Fieldbus, serve_opcua: Serve, of_alarms: bool
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "CreateSubscription":
            exchange.answer.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(StatusCodes.BadServiceUnsupported))
        return False

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    if of_alarms:
        await device.watch_alarms(lambda alarm: None)
    else:
        await device.subscribe(LEVELS, lambda batch: None)
    await eventually(lambda: server.requests.count("CreateSubscription") >= 2)
    await asyncio.sleep(1.0)
    assert server.requests.count("CreateSubscription") <= 4
    server.twist = truthfully
    await eventually(lambda: bool(server.publishing))


async def test_a_link_that_is_closed_while_its_session_is_being_made_leaves_none_there(serve_opcua: Serve) -> None:
    held: list[Exchange] = []

    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "CreateSession":
            held.append(exchange)
        return exchange.kind == "CreateSession"

    server = await serve_opcua(twist)
    bus = Fieldbus(now=Manual().now)
    device = opened(bus, server)
    reading = asyncio.create_task(device.read(LEVELS))
    await eventually(lambda: bool(held))
    await device.close()
    await bus.close()
    held[0].send(held[0].frame())
    batch = await reading
    assert not (batch.quality == Quality.GOOD).any()
    await eventually(lambda: server.open_now == 0)
