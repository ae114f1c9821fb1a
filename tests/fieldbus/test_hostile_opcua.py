"""An OPC UA server that is broken or means harm: nothing hangs, nothing piles up, no wrong value is good."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import struct_to_binary

from domain.errors import LichtbuchError
from fieldbus.client import Fieldbus
from fieldbus.format.toml_source import TomlSource
from fieldbus.opcua.device import OpcUaDevice
from fieldbus.profile_loader import profile_from_toml
from fieldbus.values import DeviceState, PointAddress, Quality, ValueBatch, WriteOutcome, from_unix_ms
from tests.fieldbus.conftest import FAST
from tests.fieldbus.faulty_opcua import Exchange, FaultyOpcUa, Twist, level_of, truthfully
from tests.fieldbus.leaks import nothing_left_behind
from tests.fieldbus.servers import NOON, Manual, eventually

LEVELS = tuple(PointAddress("level_command", lamp) for lamp in range(8))
TRUTH = [level_of(lamp) for lamp in range(8)]
PATIENCE_S = 20.0  # more than every limit together; only a hang takes longer
# A lie of 9 bytes: an array of so many nothings, or of strings that each take back what they read.
ENDLESS_NOTHINGS = bytes((0x80,)) + struct.pack("<i", 2**31 - 1)
REWINDING_STRINGS = bytes((0x80 | 12,)) + struct.pack("<ii", 2**31 - 1, -4)

Serve = Callable[[Twist], Awaitable[FaultyOpcUa]]


@pytest.fixture
async def serve_opcua() -> AsyncIterator[Serve]:
    started: list[FaultyOpcUa] = []

    async def start(twist: Twist = truthfully) -> FaultyOpcUa:
        server = FaultyOpcUa(twist)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()


def lamps_of(exchange: Exchange) -> bool:
    """Whether a read is of lamps, not of the server itself."""
    return exchange.kind == "Read" and isinstance(exchange.request.Parameters.NodesToRead[0].NodeId.Identifier, str)


def opened(bus: Fieldbus, server: FaultyOpcUa) -> OpcUaDevice:
    device = bus.open(server.url, "opcua-lamp")
    assert isinstance(device, OpcUaDevice)
    return device


# --- what may come instead of a read's answer ------------------------------------------------------------------------


def _results(exchange: Exchange, results: list[Any]) -> bytes:
    answer = ua.ReadResponse(ResponseHeader=exchange.answer.ResponseHeader, Results=results)
    return exchange.frame(answer)


def _raw_results(exchange: Exchange, count: int, values: bytes) -> bytes:
    head = struct_to_binary(ua.ReadResponse(ResponseHeader=exchange.answer.ResponseHeader, Results=[]))[:-8]
    return exchange.frame(body=head + struct.pack("<i", count) + values + struct.pack("<i", -1))


def _each(exchange: Exchange, value: Any, kind: Any = None) -> bytes:
    return _results(exchange, [ua.DataValue(ua.Variant(value, kind)) for _ in LEVELS])


def _fault(exchange: Exchange, status: int) -> bytes:
    fault = ua.ServiceFault()
    fault.ResponseHeader.RequestHandle = exchange.request.RequestHeader.RequestHandle
    fault.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(status))
    return exchange.frame(fault)


def _other_answer(exchange: Exchange) -> bytes:
    """An answer to something else whose body could be read as one to this."""
    body = bytearray(struct_to_binary(_wrong(exchange)))
    body[2:4] = struct.pack("<H", ObjectIds.HistoryReadResponse_Encoding_DefaultBinary)
    return exchange.frame(body=bytes(body))


def _wrong(exchange: Exchange) -> Any:
    answer = ua.ReadResponse(ResponseHeader=exchange.answer.ResponseHeader)
    answer.Results = [ua.DataValue(ua.Variant(66.6)) for _ in LEVELS]
    return answer


def _other_handle(exchange: Exchange) -> bytes:
    answer = _wrong(exchange)
    answer.ResponseHeader.RequestHandle = ua.UInt32(exchange.request.RequestHeader.RequestHandle + 1)
    return exchange.frame(answer)


def _patched(exchange: Exchange, at: int, data: bytes) -> bytes:
    frame = bytearray(exchange.frame(_wrong(exchange)))
    frame[at : at + len(data)] = data
    return bytes(frame)


ANSWERS: dict[str, Callable[[Exchange], bytes]] = {
    "garbage": lambda exchange: bytes(range(256)),
    "http": lambda exchange: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "half a message": lambda exchange: exchange.frame(_wrong(exchange))[:60],
    "announced endless": lambda exchange: _patched(exchange, 4, b"\xff\xff\xff\x7f"),
    "announced empty": lambda exchange: _patched(exchange, 4, bytes(4)),
    "another channel": lambda exchange: _patched(exchange, 8, b"\x09\0\0\0"),
    "another token": lambda exchange: _patched(exchange, 12, b"\x09\0\0\0"),
    "another sequence": lambda exchange: _patched(exchange, 16, b"\x09\x09\0\0"),
    "another request": lambda exchange: exchange.frame(_wrong(exchange), request_id=exchange.request_id + 7),
    "another service": _other_answer,
    "another handle": _other_handle,
    "a fault without a fault": lambda exchange: _fault(exchange, 0),
    "a fault": lambda exchange: _fault(exchange, StatusCodes.BadInternalError),
    "session unknown": lambda exchange: _fault(exchange, StatusCodes.BadSessionIdInvalid),
    "too much at once": lambda exchange: _fault(exchange, StatusCodes.BadTooManyOperations),
    "too few": lambda exchange: _results(exchange, [ua.DataValue(ua.Variant(66.6))] * (len(LEVELS) - 1)),
    "too many": lambda exchange: _results(exchange, [ua.DataValue(ua.Variant(66.6))] * (len(LEVELS) + 1)),
    "none": lambda exchange: _results(exchange, []),
    "countless": lambda exchange: _raw_results(exchange, 2**31 - 1, bytes(50)),
    "a negative count": lambda exchange: _raw_results(exchange, -5, bytes(50)),
    "lists": lambda exchange: _each(exchange, [50.0, 60.0]),
    "words": lambda exchange: _each(exchange, "50"),
    "nothing": lambda exchange: _each(exchange, None),
    "not a number": lambda exchange: _each(exchange, float("nan")),
    "infinity": lambda exchange: _each(exchange, float("inf")),
    "beyond the limits": lambda exchange: _each(exchange, 1e300),
    "a long text": lambda exchange: _each(exchange, "x" * 200_000),
    "endless nothings": lambda exchange: _raw_results(
        exchange, len(LEVELS), (b"\x01" + ENDLESS_NOTHINGS) * len(LEVELS)
    ),
    "texts that take back": lambda exchange: _raw_results(
        exchange, len(LEVELS), (b"\x01" + REWINDING_STRINGS) * len(LEVELS)
    ),
    "an abort": lambda exchange: _patched(exchange, 3, b"A"),
    "an unknown kind": lambda exchange: _patched(exchange, 0, b"XYZ"),
    "a second greeting": lambda exchange: b"ACKF" + struct.pack("<IIIIII", 28, 0, 8192, 8192, 0, 0),
    "an error": lambda exchange: b"ERRF" + struct.pack("<IIi", 16, StatusCodes.BadTcpInternalError, -1),
    "silence": lambda exchange: b"",
}


@pytest.mark.parametrize("closing", [False, True], ids=["", "and-gone"])
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_none_is_never_a_good_value(
    clock: Manual, serve_opcua: Serve, name: str, closing: bool
) -> None:
    def twist(exchange: Exchange) -> bool:
        if not lamps_of(exchange):
            return False
        exchange.send(ANSWERS[name](exchange))
        if closing:
            exchange.writer.close()
        return True

    server = await serve_opcua(twist)
    async with nothing_left_behind():
        bus = Fieldbus(now=clock.now, limits=FAST, monotonic=clock.monotonic, uniform=lambda: 0.999)
        device = opened(bus, server)
        async with asyncio.timeout(PATIENCE_S):
            batch = await device.read(LEVELS)
        assert not batch.good.any()
        # The same server comes to its senses, and is believed again.
        server.twist = truthfully
        for _ in range(3):
            clock.seconds += 100
            async with asyncio.timeout(PATIENCE_S):
                batch = await device.read(LEVELS)
        assert batch.values.tolist() == TRUTH
        await bus.close()


@pytest.mark.parametrize("kind", ["CreateSession", "ActivateSession", "Read"])
@pytest.mark.parametrize("name", ["garbage", "half a message", "another request", "a fault", "silence"])
async def test_a_server_that_fails_while_a_session_is_made_is_unreachable_and_leaves_nothing(
    clock: Manual, serve_opcua: Serve, kind: str, name: str
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == kind:
            exchange.send(ANSWERS[name](exchange))
        return exchange.kind == kind

    server = await serve_opcua(twist)
    async with nothing_left_behind():
        bus = Fieldbus(now=clock.now, limits=FAST, monotonic=clock.monotonic, uniform=lambda: 0.999)
        device = opened(bus, server)
        async with asyncio.timeout(PATIENCE_S):
            batch = await device.read(LEVELS)
        assert set(batch.quality.tolist()) == {Quality.MISSING}
        assert device.health().state is DeviceState.BACKING_OFF
        await bus.close()


# --- what piles up ---------------------------------------------------------------------------------------------------


async def test_chunks_without_content_and_without_end_do_not_pile_up(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    """Each is a part of a message that never ends, and none of them makes it longer."""
    sent = 0

    async def pour(exchange: Exchange) -> None:
        nonlocal sent
        sequence = exchange.connection._sequence_number
        while not exchange.writer.is_closing() and sent < 100_000:
            part = b"".join(
                b"MSGC" + struct.pack("<IIIII", 24, 5, 13, sequence + sent + number + 1, exchange.request_id)
                for number in range(500)
            )
            sent += 500
            try:
                exchange.writer.write(part)
                await exchange.writer.drain()
                await asyncio.sleep(0)
            except OSError:
                return

    pouring: set[asyncio.Task[None]] = set()

    def twist(exchange: Exchange) -> bool:
        if lamps_of(exchange):
            pouring.add(asyncio.create_task(pour(exchange)))
        return lamps_of(exchange)

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    async with asyncio.timeout(PATIENCE_S):
        assert not (await device.read(LEVELS)).good.any()
        await asyncio.gather(*pouring)
    assert sent < 50_000


# --- subscriptions ---------------------------------------------------------------------------------------------------


async def _subscribed(fieldbus: Fieldbus, server: FaultyOpcUa) -> tuple[OpcUaDevice, list[ValueBatch]]:
    device = opened(fieldbus, server)
    batches: list[ValueBatch] = []
    await device.subscribe(LEVELS, batches.append)
    return device, batches


@pytest.mark.parametrize("results", [0, 3, 9])
async def test_items_that_the_server_did_not_make_are_missing(
    fieldbus: Fieldbus, serve_opcua: Serve, results: int
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "CreateMonitoredItems":
            exchange.answer.Results = [ua.MonitoredItemCreateResult() for _ in range(results)]
        return False

    server = await serve_opcua(twist)
    device, batches = await _subscribed(fieldbus, server)
    await eventually(lambda: bool(batches))
    assert set(batches[0].quality.tolist()) == {Quality.MISSING}
    assert f"{results} results" in device.health().last_error


def _publish(exchange: Exchange, handle: int, value: Any, kind: Any = None) -> bytes:
    exchange.answer.Parameters.SubscriptionId = ua.UInt32(9)
    item = ua.MonitoredItemNotification(ua.UInt32(handle), ua.DataValue(ua.Variant(value, kind)))
    message = exchange.answer.Parameters.NotificationMessage
    message.NotificationData = [ua.DataChangeNotification(MonitoredItems=[item])]
    return exchange.frame()


async def test_notifications_of_nobody_and_of_wrong_types_are_no_values(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    server = await serve_opcua(truthfully)
    _, batches = await _subscribed(fieldbus, server)
    sent: list[tuple[int, Any]] = [(0, 5.0), (99, 5.0), (2**32 - 1, 5.0), (1, "on"), (2, [1.0]), (3, None)]
    for handle, value in sent:
        await eventually(lambda: bool(server.publishing))
        exchange = server.publishing.pop()
        exchange.send(_publish(exchange, handle, value))
    await eventually(lambda: sum(map(len, batches)) == 3)
    assert not any(batch.good.any() for batch in batches)


async def test_a_flood_of_empty_notifications_does_not_keep_us_busy(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "Publish":
            exchange.answer.Parameters.SubscriptionId = ua.UInt32(9)
            exchange.send(exchange.frame())
        return exchange.kind == "Publish"

    server = await serve_opcua(twist)
    device, _ = await _subscribed(fieldbus, server)
    await eventually(lambda: server.requests.count("Publish") > 2)
    await asyncio.sleep(0.5)
    assert server.requests.count("Publish") < 30
    assert (await device.read(LEVELS)).values.tolist() == TRUTH


# --- history, browsing, alarms ---------------------------------------------------------------------------------------


async def test_a_history_that_never_ends_is_given_up(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "HistoryRead":
            for result in exchange.answer.Results:
                result.ContinuationPoint = b"more"
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    start = datetime(2026, 6, 1, tzinfo=UTC)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LichtbuchError, match="history"):
            await device.history(LEVELS, start, start + timedelta(days=1))


async def test_a_history_of_fewer_points_than_asked_for_is_no_history(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "HistoryRead":
            exchange.answer.Results = exchange.answer.Results[:3]
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    start = datetime(2026, 6, 1, tzinfo=UTC)
    with pytest.raises(LichtbuchError, match="3 results"):
        await device.history(LEVELS, start, start + timedelta(days=1))


async def test_a_directory_that_never_ends_is_left(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind in ("Browse", "BrowseNext"):
            holder = exchange.answer if exchange.kind == "Browse" else exchange.answer.Parameters
            holder.Results = [ua.BrowseResult(ContinuationPoint=b"more")]
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LichtbuchError, match="goes on and on"):
            await device.browse()


async def test_more_or_fewer_values_than_nodes_were_named_are_refused(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if lamps_of(exchange):
            exchange.answer.Results = exchange.answer.Results[:-1]
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    with pytest.raises(LichtbuchError, match="1 values came for 2 nodes"):
        await device.read_nodes([f"nsu=urn:lichtbuch:lamp;s=Lamp.{lamp}.Level" for lamp in (0, 1)])


@pytest.mark.parametrize("kind", ["CreateMonitoredItems", "Call"])
async def test_watching_alarms_survives_answers_of_the_wrong_number(
    fieldbus: Fieldbus, serve_opcua: Serve, kind: str
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == kind:
            exchange.answer.Results = []
        return False

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    await device.watch_alarms(lambda alarm: None)
    await eventually(lambda: server.requests.count(kind) >= 1)
    server.twist = truthfully
    await eventually(lambda: server.requests.count(kind) >= 2)
    await eventually(lambda: bool(server.publishing))


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ticks", [-(2**63), -1, 0, 1, 2**62, 2**63 - 1, 0x7FFF_0000_0000_0000], ids=lambda ticks: f"{ticks:x}"
)
async def test_a_time_that_is_none_is_not_passed_on(fieldbus: Fieldbus, serve_opcua: Serve, ticks: int) -> None:
    def twist(exchange: Exchange) -> bool:
        if not lamps_of(exchange):
            return False
        value = struct.pack("<BBdq", 1 | 4, 11, 50.0, ticks)
        exchange.send(_raw_results(exchange, len(LEVELS), value * len(LEVELS)))
        return True

    device = opened(fieldbus, await serve_opcua(twist))
    batch = await device.read(LEVELS)
    assert {from_unix_ms(int(at)).year for at in batch.observed_at} == {2026}


async def test_a_command_is_only_confirmed_by_what_the_server_then_holds(
    fieldbus: Fieldbus, serve_opcua: Serve
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "Write":
            server.values.clear()
        return False

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    (result,) = await device.write([(LEVELS[0], 500.0)])
    assert result.outcome is WriteOutcome.ACCEPTED
    assert result.read_back == TRUTH[0]


@pytest.mark.parametrize(("took_effect", "outcome"), [(True, WriteOutcome.CONFIRMED), (False, WriteOutcome.REFUSED)])
async def test_what_a_server_failed_at_is_told_by_what_it_then_holds(
    fieldbus: Fieldbus, serve_opcua: Serve, took_effect: bool, outcome: WriteOutcome
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "Write":
            exchange.answer.Results = [ua.StatusCode(ua.UInt32(StatusCodes.BadCommunicationError))]
            if not took_effect:
                server.values.clear()
        return False

    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    (result,) = await device.write([(LEVELS[0], 500.0)])
    assert result.outcome is outcome
    (unseen,) = await device.write([(LEVELS[0], 500.0)], verify=False)
    assert unseen.outcome is WriteOutcome.UNKNOWN
    assert unseen.reason.startswith("BadCommunicationError")


@pytest.mark.parametrize("results", [0, 2])
async def test_another_number_of_results_than_commands_says_nothing(
    fieldbus: Fieldbus, serve_opcua: Serve, results: int
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "Write":
            exchange.answer.Results = [ua.StatusCode(ua.UInt32(0))] * results
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    (result,) = await device.write([(LEVELS[0], 500.0)])
    assert result.outcome is WriteOutcome.UNKNOWN


async def test_memory_stays_bounded_when_a_server_pours_out_garbage(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if lamps_of(exchange):
            exchange.send(bytes(8_000_000))
        return lamps_of(exchange)

    device = opened(fieldbus, await serve_opcua(twist))
    tracemalloc.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert not (await device.read(LEVELS)).good.any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


TEXTS = profile_from_toml(
    TomlSource(
        "texts.toml",
        """
[profile]
name = "texts"
kind = "meter"
vendor = "any"
product = "meter"
protocol = "opcua"
source = "this test"
[opcua]
namespace = "urn:lichtbuch:lamp"
[points.serial_number]
node = "s=Lamp.0.Serial"
type = "string"
""",
    )
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [("A-17 \0", "A-17"), ("\x1b[2Jroot", ""), ("a\u202eb", ""), ("\x9b31m", ""), ("x" * 1001, ""), ("", "")],
)
async def test_a_text_that_cannot_be_shown_is_none(
    fieldbus: Fieldbus, serve_opcua: Serve, said: str, shown: str
) -> None:
    def twist(exchange: Exchange) -> bool:
        if lamps_of(exchange):
            noon: Any = NOON
            exchange.answer.Results = [ua.DataValue(ua.Variant(said), SourceTimestamp=noon)]
        return False

    server = await serve_opcua(twist)
    batch = await fieldbus.open(server.url, TEXTS).read([PointAddress("serial_number")])
    assert batch.text(PointAddress("serial_number")) == shown
    assert (batch.quality[0] == Quality.GOOD) == (shown != "" or said == "")
