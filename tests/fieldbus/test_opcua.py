"""OPC UA beyond the common contract: status and time of the source, sick servers, black holes, the simulator guard."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from asyncua.ua.status_codes import StatusCodes

from domain.errors import FailedPrecondition
from fieldbus.client import Fieldbus
from fieldbus.device import SIMULATOR_PRODUCT_URI, Limits
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile_loader import PROFILES_DIRECTORY, profile_from_toml
from fieldbus.values import DeviceState, PointAddress, Quality, TimeSource, ValueBatch, WriteOutcome, unix_ms
from tests.fieldbus.servers import NOON, LampServer, eventually
from tests.support.patient_loop import loop_time
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(
    connect_timeout_s=1.5,
    request_timeout_s=0.4,
    confirm_timeout_s=0.2,
    confirm_interval_s=0.02,
    backoff_initial_s=0.05,
    backoff_max_s=0.1,
    poll_interval_s=0.05,
    watchdog_interval_s=0.3,
)
POWER = PointAddress("lamp_power", 0)
LEVEL = PointAddress("level_command", 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[LampServer]:
    lamps = LampServer(3)
    await lamps.start()
    yield lamps
    await lamps.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def fieldbus() -> AsyncIterator[Fieldbus]:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, uniform=lambda: 0.5, monotonic=loop_time)
    yield bus
    await bus.close()


def variant_of_the_profile(name: str, *replacements: tuple[str, str]) -> TomlSource:
    text = (PROFILES_DIRECTORY / "opcua-lamp.toml").read_text(encoding="utf-8").replace('"opcua-lamp"', f'"{name}"')
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return TomlSource(f"{name}.toml", text)


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        (StatusCodes.Good, Quality.GOOD),
        (StatusCodes.GoodLocalOverride, Quality.GOOD),
        (StatusCodes.UncertainLastUsableValue, Quality.UNCERTAIN),
        (StatusCodes.BadSensorFailure, Quality.BAD),
        (StatusCodes.BadNoCommunication, Quality.BAD),
    ],
)
async def test_the_sources_status_becomes_quality(
    server: LampServer, fieldbus: Fieldbus, status: int, quality: Quality
) -> None:
    await server.set(0, "Power", 20.0, status=status)
    batch = await fieldbus.open(server.url, "opcua-lamp").read([POWER])
    assert batch.quality_of(POWER) is quality
    assert math.isnan(batch.value(POWER)) == (quality is Quality.BAD)


async def test_the_sources_time_is_kept(server: LampServer, fieldbus: Fieldbus) -> None:
    measured = NOON - timedelta(minutes=7)
    await server.set(0, "Power", 20.0, source_time=measured)
    batch = await fieldbus.open(server.url, "opcua-lamp").read([POWER])
    assert batch.observed_at.tolist() == [unix_ms(measured)]
    assert batch.time_source.tolist() == [TimeSource.DEVICE]


async def test_values_older_than_the_profile_allows_are_uncertain(server: LampServer, fieldbus: Fieldbus) -> None:
    profile = profile_from_toml(variant_of_the_profile("old", ("[opcua]", "[opcua]\nmax_age_s = 60")))
    await server.set(0, "Power", 20.0, source_time=NOON - timedelta(seconds=61))
    await server.set(1, "Power", 20.0, source_time=NOON - timedelta(seconds=59))
    batch = await fieldbus.open(server.url, profile).read([POWER, PointAddress("lamp_power", 1)])
    assert batch.quality.tolist() == [Quality.UNCERTAIN, Quality.GOOD]
    assert batch.values.tolist() == [20, 20]


@pytest.mark.parametrize("energy", [2**64 - 1, 2**53])
async def test_counters_that_no_longer_count_exactly_are_bad(
    server: LampServer, fieldbus: Fieldbus, energy: int
) -> None:
    await server.set(2, "Energy", energy)
    batch = await fieldbus.open(server.url, "opcua-lamp").read([PointAddress("lamp_energy", 2)])
    assert batch.quality.tolist() == [Quality.BAD]
    await server.set(2, "Energy", 2**53 - 1)
    batch = await fieldbus.open(server.url, "opcua-lamp").read([PointAddress("lamp_energy", 2)])
    assert int(batch.values[0]) == 2**53 - 1


async def test_a_namespace_the_server_does_not_know_is_bad_and_named(server: LampServer, fieldbus: Fieldbus) -> None:
    profile = profile_from_toml(variant_of_the_profile("strange", ("urn:lichtbuch:lamp", "urn:not:there")))
    lamps = fieldbus.open(server.url, profile)
    assert (await lamps.read([POWER])).quality.tolist() == [Quality.BAD]
    assert "urn:not:there" in lamps.health().last_error
    (result,) = await lamps.write([(LEVEL, 500)])
    assert result.outcome is WriteOutcome.REFUSED


async def test_a_node_that_the_server_keeps_for_itself_refuses_with_the_servers_reason(
    server: LampServer, fieldbus: Fieldbus
) -> None:
    profile = profile_from_toml(
        variant_of_the_profile(
            "bold", ('s=Lamp.{index}.Level"', 's=Lamp.{index}.ActualLevel"\nshares = "level_actual"')
        )
    )
    (result,) = await fieldbus.open(server.url, profile).write([(LEVEL, 500)])
    assert result.outcome is WriteOutcome.REFUSED
    assert "BadUserAccessDenied" in result.reason or "BadNotWritable" in result.reason


async def test_many_points_go_in_requests_of_the_size_the_server_takes(server: LampServer, fieldbus: Fieldbus) -> None:
    profile = profile_from_toml(variant_of_the_profile("small", ("[opcua]", "[opcua]\nmax_nodes_per_read = 4")))
    lamps = fieldbus.open(server.url, profile)
    points = tuple(
        PointAddress(name, lamp) for lamp in range(3) for name in ("level_actual", "lamp_failure", "lamp_power")
    )
    await server.set(0, "Power", 12.5)
    await server.set(1, "Power", 12.5)
    assert (await lamps.read(points)).complete
    assert lamps.health().counters.requests == 3


async def test_devices_on_one_server_share_a_session(server: LampServer, fieldbus: Fieldbus) -> None:
    one, two = fieldbus.open(server.url, "opcua-lamp"), fieldbus.open(server.url, "opcua-lamp")
    await one.read([LEVEL])
    await two.read([LEVEL])
    assert one.health().counters.requests == two.health().counters.requests == 1
    await one.close()
    assert (await two.read([LEVEL])).complete, "the session outlives one of its users"


async def test_only_the_simulator_is_let_in_where_it_must_be(server: LampServer) -> None:
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, require_simulator=True, monotonic=loop_time)
    lamps = bus.open(server.url, "opcua-lamp")
    with pytest.raises(FailedPrecondition, match="urn:acme:lamps"):
        await lamps.read([LEVEL])
    assert lamps.health().state is DeviceState.REFUSED
    assert server.server is not None
    await server.server.set_build_info(SIMULATOR_PRODUCT_URI, "Lichtbuch", "Simulator", "1", "1", NOON)
    try:
        await eventually(lambda: lamps.health().seconds_to_next_attempt == 0)
        assert (await lamps.read([LEVEL])).complete
    finally:
        await server.server.set_build_info("urn:acme:lamps", "ACME", "Lamps", "3.2", "1", NOON)
        await bus.close()


class Proxy:
    """A line between client and server that can go dead without closing."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.dead = False
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if not self.dead:
                sink.write(data)
        sink.close()


async def test_a_line_that_goes_dead_without_a_word_is_survived(server: LampServer, fieldbus: Fieldbus) -> None:
    proxy = Proxy(server.port)
    await proxy.start()
    lamps = fieldbus.open(f"opc.tcp://127.0.0.1:{proxy.port}/lamps", "opcua-lamp")
    batches: asyncio.Queue[ValueBatch] = asyncio.Queue()
    await lamps.subscribe([PointAddress("level_actual", 0)], batches.put_nowait)
    async with asyncio.timeout(20):
        assert (await batches.get()).complete
    assert (await lamps.read([LEVEL])).complete

    proxy.dead = True
    async with asyncio.timeout(20):
        assert (await lamps.read([LEVEL])).quality.tolist() == [Quality.MISSING]
        assert (await lamps.read([LEVEL])).quality.tolist() == [Quality.MISSING]
        while set((await batches.get()).quality.tolist()) != {Quality.MISSING}:
            pass
        (result,) = await lamps.write([(LEVEL, 500)])
    assert result.outcome is WriteOutcome.UNKNOWN

    proxy.dead = False
    async with asyncio.timeout(20):
        while not (await batches.get()).complete:
            pass
        assert (await lamps.read([LEVEL])).complete
    assert lamps.health().state is DeviceState.ONLINE
    await lamps.close()
    await proxy.stop()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(range(256)) * 4, b"ACKF\xff\xff\xff\xff"]
)
async def test_a_server_that_does_not_speak_opc_ua_is_missing(fieldbus: Fieldbus, answer: bytes) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        if answer:
            writer.close()

    stranger = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = stranger.sockets[0].getsockname()[1]
    lamps = fieldbus.open(f"opc.tcp://127.0.0.1:{port}", "opcua-lamp")
    async with asyncio.timeout(20):
        batch = await lamps.read([LEVEL])
    assert batch.quality.tolist() == [Quality.MISSING]
    assert lamps.health().state is DeviceState.BACKING_OFF
    await lamps.close()
    stranger.close()


async def test_nothing_is_left_running_after_closing(server: LampServer) -> None:
    before = asyncio.all_tasks()
    bus = Fieldbus(now=lambda: NOON, limits=LIMITS, monotonic=loop_time)
    lamps = bus.open(server.url, "opcua-lamp")
    dead = bus.open(f"opc.tcp://127.0.0.1:{free_port()}", "opcua-lamp")
    await lamps.subscribe([LEVEL], lambda batch: None)
    await lamps.read([LEVEL])
    await dead.read([LEVEL])
    await bus.close()
    await eventually(lambda: not any(_is_ours(task) for task in asyncio.all_tasks() - before))


def _is_ours(task: asyncio.Task[object]) -> bool:
    return "fieldbus" in repr(task) or "asyncua/client" in repr(task)
