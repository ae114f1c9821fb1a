"""A stream that is open goes on for whoever may still see it, and ends for whoever may not any more."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain.errors import NotAuthenticated, NotPermitted, Unavailable
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.access import Binding, Role
from servicekit.clock import SystemClock
from servicekit.context import scope_aware
from tests.servicekit.conftest import Meters
from tests.support.meter_service import MeterServicer
from tests.support.running import ADMIN, BINDINGS, HERSFELD, SCHWALM, access_from, running_service
from tests.support.waiting import eventually

HERE, EVERYWHERE = "municipalities/bad-hersfeld", "municipalities/-"


class Ticking(MeterServicer):
    """Sends an answer every few moments."""

    @scope_aware
    async def WatchReadings(
        self, request: pb.WatchReadingsRequest, context: Any
    ) -> AsyncIterator[pb.WatchReadingsResponse]:
        """Answers for ever."""
        while True:
            yield pb.WatchReadingsResponse()
            await asyncio.sleep(0.01)


class Pouring(MeterServicer):
    """Sends large answers as fast as they are taken."""

    async def WatchReadings(
        self, request: pb.WatchReadingsRequest, context: Any
    ) -> AsyncIterator[pb.WatchReadingsResponse]:
        """Answers for ever."""
        while True:
            yield pb.WatchReadingsResponse(resume_token="x" * 1_000_000)


@pytest.fixture
def bindings() -> dict[str, list[Binding]]:
    return {**BINDINGS, "two-towns": [Binding(Role.VIEWER, HERSFELD.id), Binding(Role.VIEWER, SCHWALM.id)]}


@pytest.fixture
async def meters(issuer, database, bindings) -> AsyncIterator[Meters]:
    servicer = Ticking(database, SystemClock())  # type: ignore[abstract]  # a few methods are enough
    async with running_service(issuer, servicer.add_to, database=database, access=access_from(bindings)) as running:
        running.server._gate.recheck_s = 0.0
        yield Meters(running, servicer, database)


async def read_on(stream: Any) -> None:
    async with asyncio.timeout(30):
        async for _ in stream:
            pass


async def test_who_loses_its_role_sees_nothing_more(meters, bindings):
    stream = meters.stub("viewer").WatchReadings(pb.WatchReadingsRequest(parent=HERE))
    for _ in range(5):
        await anext(stream)
    bindings["viewer"] = []
    with pytest.raises(NotPermitted):
        await read_on(stream)


async def test_who_may_see_less_than_before_has_to_ask_again(meters, bindings):
    stream = meters.stub("two-towns").WatchReadings(pb.WatchReadingsRequest(parent=EVERYWHERE))
    await anext(stream)
    bindings["two-towns"].pop()
    with pytest.raises(Unavailable, match="has changed"):
        await read_on(stream)


async def test_who_is_bound_to_less_than_before_has_to_ask_again(meters, bindings):
    one, other = f"{HERE}/meters/one", f"{HERE}/meters/other"
    bindings["firm"] = [Binding(Role.CONTRACTOR, HERSFELD.id, (one, other))]
    stream = meters.stub("firm").WatchReadings(pb.WatchReadingsRequest(parent=HERE))
    await anext(stream)
    bindings["firm"] = [Binding(Role.CONTRACTOR, HERSFELD.id, (one,))]
    with pytest.raises(Unavailable, match="has changed"):
        await read_on(stream)


async def test_who_may_see_more_than_before_reads_on(meters, bindings):
    stream = meters.stub("viewer").WatchReadings(pb.WatchReadingsRequest(parent=EVERYWHERE))
    await anext(stream)
    bindings["viewer"] = [*bindings["viewer"], Binding(Role.VIEWER, SCHWALM.id)]
    for _ in range(5):
        await anext(stream)


async def test_a_stream_does_not_outlive_its_token(meters, issuer):
    token = issuer.token(ADMIN)
    stub = type(meters.stub("viewer"))(meters.running.channel(token=token))
    stream = stub.WatchReadings(pb.WatchReadingsRequest(parent=HERE))
    await anext(stream)
    validator = meters.running.server._gate._authenticator._validator
    real = validator._real
    validator._real = lambda: real() + timedelta(hours=2)
    with pytest.raises(NotAuthenticated, match="exp"):
        await read_on(stream)


async def test_a_stream_that_is_about_to_send_when_the_service_stops_says_so_too(issuer, database):
    servicer = Pouring(database, SystemClock())  # type: ignore[abstract]
    async with running_service(issuer, servicer.add_to, database=database) as running:
        stub: Any = Meters(running, servicer, database).stub("viewer")
        stream = stub.WatchReadings(pb.WatchReadingsRequest(parent=HERE))
        await anext(stream)  # nobody reads on: the next one is being sent
        stopping = asyncio.create_task(running.server.stop(30))
        await eventually(lambda: running.server._gate._draining)
        with pytest.raises(Unavailable, match="stopping"):
            await read_on(stream)
        await stopping
