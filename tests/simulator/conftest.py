"""A small town with one gateway of each kind, its time stepped by the test, its servers on free ports of loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulator.app import Simulator
from simulator.clock import SteppedClock
from simulator.demo import DemoSize, demo_town
from simulator.town import Town
from tests.support.patient_loop import loop_factories

# A Sunday noon in late November: dark from about 15:20 to 06:50 UTC.
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC).timestamp()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both ends of a connection live in this process: a pause that the machine makes is nobody's silence."""
    return loop_factories()


@pytest.fixture(scope="session")
def town() -> Town:
    """C-001 Intesis (a permanent and a switched feeder), C-002 Arlight (two switched, one permanent), C-003 OPC UA."""
    return demo_town(DemoSize(luminaires=24, cabinets=3, monitored=2, buildings=3))


class Bench:
    """A running simulator and what a test needs around it."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.world = simulator.world
        self.town = simulator.town
        self.urls = {e.id: e.url for e in simulator.town.endpoints}
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(simulator.control().application()), base_url="http://simulator"
        )

    def step(self, seconds: float) -> None:
        """Let domain time pass."""
        self.simulator.clock.step(seconds)
        self.simulator.catch_up()

    async def modbus(self, endpoint: str) -> AsyncModbusTcpClient:
        """A plain pymodbus client of an endpoint, connected."""
        parts = urlsplit(self.urls[endpoint])
        client = AsyncModbusTcpClient("127.0.0.1", port=parts.port or 0, timeout=20, retries=0, reconnect_delay=0)
        assert await client.connect()
        return client


@pytest.fixture
async def bench(town: Town) -> AsyncIterator[Bench]:
    """Everything but the OPC UA server, whose start takes seconds."""
    simulator = Simulator(town, SteppedClock(NOON))
    gateways, simulator.devices._opcua = simulator.devices._opcua, {}
    await simulator.start()
    bench = Bench(simulator)
    yield bench
    await bench.http.aclose()
    await simulator.stop()
    simulator.devices._opcua = gateways
