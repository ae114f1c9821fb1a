"""Fixtures for the tests of the field layer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest

from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from tests.fieldbus.servers import Behaviour, Manual, PymodbusServer, RawServer
from tests.support.patient_loop import loop_factories

pytest.register_assert_rewrite("tests.fieldbus.contract", "tests.fieldbus.contract_registers")

# Short, because loopback answers at once and what does not answer shall not keep the suite waiting.
FAST = Limits(
    connect_timeout_s=1.0,
    request_timeout_s=0.15,
    read_deadline_s=5.0,
    confirm_timeout_s=0.2,
    confirm_interval_s=0.02,
    poll_interval_s=0.02,
)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both ends of a connection live in this process: a pause that the machine makes is nobody's silence."""
    return loop_factories()


@pytest.fixture
def clock() -> Manual:
    return Manual()


@pytest.fixture
async def fieldbus(clock: Manual) -> AsyncIterator[Fieldbus]:
    """Back-offs wait for the test to move the clock; the jitter is the longest."""
    bus = Fieldbus(now=clock.now, limits=FAST, monotonic=clock.monotonic, uniform=lambda: 0.999)
    yield bus
    await bus.close()


Serve = Callable[..., Awaitable[PymodbusServer]]
ServeRaw = Callable[..., Awaitable[RawServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts pymodbus servers and stops them after the test."""
    started: list[PymodbusServer] = []

    async def start(
        units: dict[int, dict[str, dict[int, list[int]]]], identity: tuple[str, str] | None = None, port: int = 0
    ) -> PymodbusServer:
        server = PymodbusServer(units, identity)
        await server.start(port)
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()


@pytest.fixture
async def serve_raw() -> AsyncIterator[ServeRaw]:
    """Starts servers that answer as the test wants."""
    started: list[RawServer] = []

    async def start(behave: Behaviour, *, rtu: bool = False) -> RawServer:
        server = RawServer(behave, rtu=rtu)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()
