"""Whatever a device does, request by request, on whatever kind of connection: a good value is the truth, a confirmed
command is in force, a refused one is not, every call ends in time, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldbus.client import Fieldbus
from fieldbus.device import Device, Limits
from fieldbus.faults import LinkDown, NoAnswer
from fieldbus.modbus.line.link import TcpLink
from fieldbus.modbus.line.serial_link import SerialLink
from fieldbus.profile_loader import load_profile
from fieldbus.security import FieldSecurity, TlsSecurity
from fieldbus.url import parse_url
from fieldbus.values import PointAddress, Quality, ValueBatch, WriteOutcome
from tests.fieldbus.faulty import RTU_KINDS, TCP_KINDS, Fault, Faulty, FaultyLine, FaultyTcp
from tests.fieldbus.leaks import nothing_left_behind
from tests.fieldbus.servers import NOON
from tests.fieldbus.test_modbus_links import Authority
from tests.support.patient_loop import loop_time

PATIENCE_S = 20.0  # far more than every limit together: only a hang takes longer
LIMITS = Limits(
    connect_timeout_s=2.0,
    request_timeout_s=0.03,
    read_deadline_s=1.0,
    backoff_initial_s=0.001,
    backoff_max_s=0.002,
    refused_points_retry_s=0.0,
    refused_points_retry_max_s=0.0,
    confirm_timeout_s=0.02,
    confirm_interval_s=0.01,
)
POINTS = (
    *(PointAddress("level_command", gear) for gear in (0, 1, 2, 20, 63)),
    *(PointAddress("level_actual", gear) for gear in (3, 4)),
)
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
TRANSPORTS = ("tcp", "tcp in pieces", "rtu over tcp", "rtu over tcp in pieces", "serial", "tls")


def scripts(kinds: tuple[str, ...]) -> st.SearchStrategy[list[Fault]]:
    return st.lists(st.builds(Fault, st.sampled_from(kinds), st.integers(0, 2**20)), max_size=7)


def true_value(faulty: Faulty, unit: int, address: PointAddress) -> float:
    table = "input" if address.point == "level_actual" else "holding"
    assert address.index is not None
    return float(faulty.truth.register(unit, table, address.index))


def assert_true(faulty: Faulty, unit: int, batch: ValueBatch) -> None:
    for row, address in enumerate(batch.points):
        if batch.quality[row] <= Quality.UNCERTAIN:
            assert batch.values[row] == true_value(faulty, unit, address), f"{address} of unit {unit}"


async def write_and_judge(faulty: Faulty, unit: int, device: Device, gear: int, value: int) -> None:
    address = PointAddress("level_command", gear)
    before = true_value(faulty, unit, address)
    (result,) = await device.write([(address, float(value))])
    now = true_value(faulty, unit, address)
    if result.outcome is WriteOutcome.CONFIRMED:
        assert now == value
    if result.outcome is WriteOutcome.REFUSED:
        assert now == before, result.reason


async def come_back(device: Device) -> None:
    """All is right again, and is seen to be after the back-off."""
    async with asyncio.timeout(20):
        while not (await device.read(POINTS)).complete:  # noqa: ASYNC110 - each look is a request
            await asyncio.sleep(device.health().seconds_to_next_attempt)


class Plants:
    """Makes the server of a transport."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority(folder)
        self._pair = self._authority.issue("127.0.0.1")

    def security(self, server: FaultyTcp | FaultyLine) -> FieldSecurity | None:
        if not server.url.startswith("modbus+tls"):
            return None
        assert isinstance(server, FaultyTcp)
        return FieldSecurity(modbus={f"127.0.0.1:{server.port}": TlsSecurity(self._authority.ca)})

    @contextlib.asynccontextmanager
    async def serve(self, transport: str, script: list[Fault]) -> AsyncIterator[FaultyTcp | FaultyLine]:
        faulty = Faulty(script, rtu=transport.startswith(("rtu", "serial")))
        server: FaultyTcp | FaultyLine
        if transport == "serial":
            server = FaultyLine(faulty)
        else:
            context = None
            if transport == "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self._pair)
            server = FaultyTcp(faulty, context, pieces=3 if "pieces" in transport else 0)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Plants:
    return Plants(tmp_path_factory.mktemp("plants"))


async def live_through(plants: Plants, transport: str, script: list[Fault]) -> None:
    """Two units on a bus, of which the first follows the script."""
    async with plants.serve(transport, script) as server, nothing_left_behind(), asyncio.timeout(PATIENCE_S):
        faulty = server.faulty
        faulty.well_behaved.add(2)
        bus = Fieldbus(
            now=lambda: NOON, limits=LIMITS, security=plants.security(server), uniform=lambda: 0.5, monotonic=loop_time
        )
        separator = "&" if "?" in server.url else "?"
        sick, sound = (bus.open(f"{server.url}{separator}unit={unit}", "generic-level-status") for unit in (1, 2))
        for turn in range(4):
            assert_true(faulty, 1, await sick.read(POINTS))
            beside = await sound.read(POINTS)
            assert_true(faulty, 2, beside)
            await write_and_judge(faulty, 1, sick, 20 + turn % 2, 100 + turn)
            await write_and_judge(faulty, 2, sound, 21, 200 + turn)
            # Now both at a time.
            both = await asyncio.gather(sick.read(POINTS), sound.read(POINTS))
            for unit, batch in enumerate(both, start=1):
                assert_true(faulty, unit, batch)
        faulty.calm()
        for device in (sick, sound):
            await come_back(device)
        await bus.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@QUICK
@given(st.data())
async def test_a_good_value_is_the_truth_whatever_a_device_does(
    plants: Plants, transport: str, data: st.DataObject
) -> None:
    kinds = TCP_KINDS if transport.startswith(("tcp", "tls")) else RTU_KINDS
    await live_through(plants, transport, data.draw(scripts(kinds)))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("transport", TRANSPORTS)
@LONG
@given(st.data())
async def test_a_good_value_is_the_truth_whatever_a_device_does_for_long(
    plants: Plants, transport: str, data: st.DataObject
) -> None:
    kinds = TCP_KINDS if transport.startswith(("tcp", "tls")) else RTU_KINDS
    await live_through(plants, transport, data.draw(scripts(kinds)))


@pytest.mark.parametrize("kind", [kind for kind in TCP_KINDS if kind != "right"])
@pytest.mark.parametrize("transport", ["tcp", "rtu over tcp", "serial"])
async def test_every_misbehaviour_by_itself_costs_the_neighbour_nothing(
    plants: Plants, transport: str, kind: str
) -> None:
    if transport != "tcp" and kind not in RTU_KINDS:
        pytest.skip("RTU knows no such thing")
    for number in (0, 1, 5, 8):
        async with plants.serve(transport, [Fault(kind, number)] * 3) as server, nothing_left_behind():
            server.faulty.well_behaved.add(2)
            # The sound unit has to answer in time, however little of the machine this process has.
            limits = replace(LIMITS, request_timeout_s=0.15)
            bus = Fieldbus(now=lambda: NOON, limits=limits, uniform=lambda: 0.5, monotonic=loop_time)
            separator = "&" if "?" in server.url else "?"
            sick, sound = (bus.open(f"{server.url}{separator}unit={unit}", "generic-level-status") for unit in (1, 2))
            assert (await sound.read(POINTS)).complete
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(4):
                    assert_true(server.faulty, 1, await sick.read(POINTS))
                    assert (await sound.read(POINTS)).complete
            await bus.close()


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("exception", WriteOutcome.REFUSED), ("refused though done", WriteOutcome.CONFIRMED)],
)
async def test_a_failure_half_way_is_judged_by_what_the_register_then_holds(
    plants: Plants, kind: str, outcome: WriteOutcome
) -> None:
    """Exception 04 is a failure while the command was carried out: it says nothing of how far that went."""
    number = 3 if kind == "exception" else 0
    async with plants.serve("tcp", [Fault(kind, number)]) as server:
        bus = Fieldbus(now=lambda: NOON, limits=LIMITS, monotonic=loop_time)
        (result,) = await bus.open(server.url, "generic-level-status").write([(POINTS[0], 5.0)])
        assert result.outcome is outcome
        if outcome is WriteOutcome.REFUSED:
            assert "exception 04" in result.reason
        await bus.close()


# --- several requests under way --------------------------------------------------------------------------------------

GATEWAY = replace(
    load_profile("generic-level-status"), modbus=replace(load_profile("generic-level-status").modbus, max_in_flight=4)
)
SEVERAL = (
    "right",
    "right",
    "swapped",
    "swapped",
    "late",
    "twice",
    "silence",
    "transaction",
    "unit",
    "exception",
    "close",
)


async def live_through_several(plants: Plants, script: list[Fault]) -> None:
    async with plants.serve("tcp", script) as server, nothing_left_behind(), asyncio.timeout(PATIENCE_S):
        bus = Fieldbus(now=lambda: NOON, limits=LIMITS, uniform=lambda: 0.5, monotonic=loop_time)
        units = (1, 2, 3, 4, 5)
        devices = [bus.open(f"{server.url}?unit={unit}", GATEWAY) for unit in units]
        for _ in range(4):
            batches = await asyncio.gather(*(device.read(POINTS[:4]) for device in devices))
            for unit, batch in zip(units, batches, strict=True):
                assert_true(server.faulty, unit, batch)
            # The same unit twice at a time, about different registers of the same number.
            twice = await asyncio.gather(devices[0].read(POINTS[:2]), devices[0].read(POINTS[1:3]))
            for batch in twice:
                assert_true(server.faulty, 1, batch)
        await bus.close()


@QUICK
@given(scripts(SEVERAL))
async def test_answers_out_of_order_late_and_doubled_never_reach_another_request(
    plants: Plants, script: list[Fault]
) -> None:
    await live_through_several(plants, script)


@pytest.mark.long
@pytest.mark.timeout(1800)
@LONG
@given(scripts(SEVERAL))
async def test_answers_out_of_order_never_reach_another_request_for_long(plants: Plants, script: list[Fault]) -> None:
    await live_through_several(plants, script)


# --- floods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["frames nobody asked for", "garbage"])
async def test_a_flood_is_cut_off_and_takes_no_memory(what: str) -> None:
    strangers = b"\x12\x34\0\0\0\x05\x09\x03\x02\0\x07" * 400
    sent = 0
    cut_off = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            await reader.read(100)
            while True:
                writer.write(strangers if what != "garbage" else bytes(range(256)) * 16)
                sent += 1
                await writer.drain()
                await asyncio.sleep(0)
        except OSError:
            cut_off.set()
        finally:
            writer.close()

    flood = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with asyncio.timeout(PATIENCE_S), nothing_left_behind():
        limits = replace(LIMITS, request_timeout_s=2.0, backoff_initial_s=60.0, backoff_max_s=60.0)
        bus = Fieldbus(now=lambda: NOON, limits=limits, monotonic=loop_time)
        device = bus.open(f"modbus+tcp://127.0.0.1:{flood.sockets[0].getsockname()[1]}", "generic-level-status")
        tracemalloc.start()
        try:
            assert not (await device.read(POINTS)).good.any()
            await cut_off.wait()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8_000_000
        await bus.close()
    flood.close()


# --- links -----------------------------------------------------------------------------------------------------------


async def test_a_transaction_that_was_never_answered_is_not_given_to_another_request() -> None:
    """Ids go round within seconds on a fast line, and the answer may be later than that."""
    faulty = Faulty([Fault("late"), Fault("right", 1)], rtu=False)
    server = FaultyTcp(faulty)
    await server.start()
    link = TcpLink(parse_url(server.url))
    await link.connect(15.0)
    with pytest.raises(NoAnswer):
        await link.request(1, 3, struct.pack(">HH", 0, 2), 0.03)
    link._transaction = 0  # 65 535 requests later
    answer = await link.request(1, 3, struct.pack(">HH", 5, 2), 1.0)
    assert answer == faulty.truth.answer(1, 3, struct.pack(">HH", 5, 2))
    assert await link.request(1, 3, struct.pack(">HH", 6, 1), 1.0)
    assert link.discarded == 1
    link.close()
    await server.stop()


@pytest.mark.parametrize("ended_by", ["the caller", "time"])
async def test_what_waited_for_a_silent_line_is_not_sent_once_it_was_given_up(ended_by: str) -> None:
    """On a slow line the silence before a frame is long enough to change one's mind, or for the next request."""
    faulty = Faulty([], rtu=True)
    line = FaultyLine(faulty)
    await line.start()
    link = SerialLink(parse_url(f"modbus+rtu://{line.path}?baud=300"))
    await link.connect(15.0)
    given_up = link.request(1, 3, struct.pack(">HH", 0, 1), 5.0)
    if ended_by == "time":
        link._time_is_up()
        link.distrust()
        with pytest.raises(NoAnswer):
            await given_up
    else:
        given_up.cancel()
        link.forgotten()
    wanted = struct.pack(">HH", 7, 1)
    assert await link.request(1, 3, wanted, 5.0) == faulty.truth.answer(1, 3, wanted)
    assert len(faulty.requests) == 1
    link.close()
    await line.stop()


@pytest.mark.parametrize("kind", ["file", "pipe", "device", "directory"])
async def test_what_is_no_serial_port_is_not_even_opened(kind: str, tmp_path: Path) -> None:
    path = {"file": tmp_path / "file", "pipe": tmp_path / "pipe", "device": Path("/dev/null"), "directory": tmp_path}[
        kind
    ]
    if kind == "file":
        path.write_bytes(b"of somebody else")
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(LinkDown, match="it is no serial port"):
        await SerialLink(parse_url(f"modbus+rtu://{path}")).connect(15.0)
