"""A server that means harm in what it sends by itself: floods, alarms, histories, promises; and in what it says.

Answers that are none are test_hostile_opcua.py's, costly ones test_hostile_opcua_costs.py's.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pytest
from asyncua import ua
from asyncua.client import ua_client
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_to_binary

from domain.errors import LichtbuchError
from fieldbus.client import Fieldbus
from fieldbus.device import Alarm
from fieldbus.faults import LinkDown, NoAnswer
from fieldbus.opcua import history
from fieldbus.opcua.alarms import PointFinder
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.pulse import Pulse
from fieldbus.opcua.security import offered_endpoints
from fieldbus.opcua.subscription import without_repetition
from fieldbus.profile_loader import load_profile
from fieldbus.values import Counters
from tests.fieldbus.conftest import FAST
from tests.fieldbus.faulty_opcua import Exchange, truthfully
from tests.fieldbus.servers import NOON, Manual, eventually
from tests.fieldbus.test_hostile_opcua import LEVELS, PATIENCE_S, TRUTH, Serve, lamps_of, opened, serve_opcua
from tests.support.patient_loop import STEP_S

__all__ = ["serve_opcua"]

START: Final = datetime(2026, 6, 1, tzinfo=UTC)
ESCAPE: Final = "\x1b[2J\nall is well\u202e"


def patient(clock: Manual) -> Fieldbus:
    """One that waits: what is decoded here takes its time."""
    limits = replace(FAST, connect_timeout_s=60.0, request_timeout_s=60.0, read_deadline_s=60.0)
    return Fieldbus(now=clock.now, limits=limits, monotonic=clock.monotonic)


# --- what is sent by itself ------------------------------------------------------------------------------------------


def test_one_row_a_hundred_thousand_times_is_one_row_a_few_times() -> None:
    count = 100_000
    changes = DataColumns(
        np.arange(count, dtype=np.float64), np.zeros(count, dtype=np.uint32), np.zeros(count, dtype=np.int64)
    )
    places = np.zeros(count, dtype=np.intp)
    places[17] = 5
    parts, dropped = without_repetition(changes, places)
    assert dropped == count - 1 - len(parts)
    assert 10 <= len(parts) <= 20, "what a queue of ours may hold"
    assert parts[-1][0].values.tolist() == [count - 1], "the newest comes last"
    assert [part.values.tolist() for part, rows in parts if 5 in rows] == [[17.0, count - len(parts) * 1.0]]


async def test_aborted_messages_without_end_end_the_session(clock: Manual, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind != "Read" or not isinstance(exchange.request.Parameters.NodesToRead[0].NodeId.Identifier, str):
            return False
        frame = bytearray(exchange.frame(body=struct.pack("<Ii", 0x80000000, -1)))
        frame[3:4] = b"A"
        first = int.from_bytes(frame[16:20], "little")
        flood = bytearray()
        for number in range(5_000):
            frame[16:20] = struct.pack("<I", first + number)
            flood += frame
        exchange.send(bytes(flood))
        return True

    bus = patient(clock)
    device = opened(bus, await serve_opcua(twist))
    async with asyncio.timeout(50):  # it is cut off, not waited for
        assert not (await device.read(LEVELS)).good.any()
    await bus.close()


async def test_a_server_that_promises_to_say_something_next_year_is_taken_for_silent(
    fieldbus: Fieldbus, serve_opcua: Serve, clock: Manual
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "CreateSubscription":
            exchange.answer.Parameters.RevisedPublishingInterval = 1e300
            exchange.answer.Parameters.RevisedMaxKeepAliveCount = ua.UInt32(2**32 - 1)
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    session = await device._link.session()
    pulse = Pulse(device._link, session, Counters(), 1.0)
    await pulse.subscribe(lambda answer: None)
    clock.seconds += 600
    assert pulse.silence_s <= 600
    await pulse.end()


def _event(*fields: Any) -> Any:
    return ua.EventNotificationList(
        Events=[ua.EventFieldList(ClientHandle=ua.UInt32(1), EventFields=[ua.Variant(one) for one in fields])]
    )


_PLAIN: Final = ua.NodeId(ua.Int32(ObjectIds.BaseEventType))
_LAMP: Final = ua.NodeId(ua.String("Lamp." + "9" * 5000 + ".Level"), ua.Int16(2))
HOSTILE_EVENTS: Final = {
    "words for numbers": _event(_PLAIN, "lamp", _LAMP, NOON, "text", "very", None, None, "yes"),
    "a lamp without end": _event(_PLAIN, "lamp", _LAMP, NOON, "text", 500),
    "numbers beyond all": _event(_PLAIN, "lamp", None, NOON, "text", 2**62),
    "escapes": _event(_PLAIN, ESCAPE, None, NOON, ESCAPE, 500),
    "texts without end": _event(_PLAIN, "x" * 100_000, None, NOON, "y" * 100_000, 500),
    "half a character": _event(_PLAIN, "\udc80", None, NOON, "\udcff", 500),
    "a time before time": _event(_PLAIN, "lamp", None, datetime(1601, 1, 1), "text", 500),
    "a time after time": _event(_PLAIN, "lamp", None, datetime(9999, 12, 31), "text", 500),
    "not a number": _event(_PLAIN, "lamp", None, NOON, "text", float("nan")),
    "a condition without end": _event(
        _PLAIN, "lamp", None, NOON, "text", 500, ua.NodeId(ua.String("c" * 100_000), ua.Int16(2))
    ),
    "lists": _event(_PLAIN, ["a", "b"], None, NOON, ["a"], [500]),
}


@pytest.mark.parametrize("name", HOSTILE_EVENTS)
async def test_an_alarm_is_one_that_can_be_shown_whatever_the_server_says(
    fieldbus: Fieldbus, serve_opcua: Serve, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    server = await serve_opcua(truthfully)
    heard: list[Alarm] = []
    await opened(fieldbus, server).watch_alarms(heard.append)
    await eventually(lambda: bool(server.publishing))
    exchange = server.publishing.pop()
    parameters = exchange.answer.Parameters
    parameters.SubscriptionId = ua.UInt32(9)
    good = _event(_PLAIN, "lamp", None, NOON, "the next one is heard", 500)
    parameters.NotificationMessage.NotificationData = [HOSTILE_EVENTS[name], good]
    exchange.send(exchange.frame())
    await eventually(lambda: len(heard) == 2)
    for alarm in heard:
        for text in (alarm.source, alarm.message, alarm.condition):
            assert text.isprintable()
            assert len(text) <= 1000
        assert 0 <= alarm.severity <= 1000
        assert 2000 <= alarm.at.year < 2100
    assert heard[1].message == "the next one is heard"
    assert not [record for record in caplog.records if record.exc_info], "and no trace per event in the log"


def test_a_lamp_of_any_number_of_digits_is_looked_for_at_once() -> None:
    finder = PointFinder(load_profile("opcua-lamp"))
    assert finder.find("urn:lichtbuch:lamp", "s=Lamp." + "1" * 5000 + ".Level") is None
    assert finder.find("urn:lichtbuch:lamp", "s=Lamp.7.Level") == LEVELS[7]


# --- time ------------------------------------------------------------------------------------------------------------


async def test_an_answer_in_the_very_moment_of_the_time_out_is_late_and_ends_nobody(
    fieldbus: Fieldbus, serve_opcua: Serve
) -> None:
    device = opened(fieldbus, await serve_opcua(truthfully))
    link = device._link
    session = await link.session()
    link.limits = replace(link.limits, request_timeout_s=STEP_S / 2)

    async def operation(client: Any) -> Any:
        """Answer and time-out fall due while the loop is held up, the answer first: so they meet in one round of it."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_later(link.limits.request_timeout_s / 2, answer.set_result, "late")
        time.sleep(2 * STEP_S)  # noqa: ASYNC251 - the loop is to be held up
        return await ua_client.wait_for(answer, 3600)  # type: ignore[attr-defined]

    for _ in range(2):
        with pytest.raises(NoAnswer):
            await link.call(session, Counters(), operation)


# --- history ---------------------------------------------------------------------------------------------------------


def _recorded(*instants: datetime) -> Any:
    times: list[Any] = list(instants)
    return ua.HistoryData(DataValues=[ua.DataValue(ua.Variant(50.0), SourceTimestamp=at) for at in times])


async def test_a_history_from_the_end_of_time_is_none(clock: Manual, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "HistoryRead":
            last: Any = 0x7FFF_FFFF_FFFF_FFFF
            for result in exchange.answer.Results:
                result.HistoryData = _recorded(*[ua.win_epoch_to_datetime(last)] * 1000)
        return False

    bus = patient(clock)
    device = opened(bus, await serve_opcua(twist))
    assert not await device.history(LEVELS[:1], START, START + timedelta(days=1))
    await bus.close()


async def test_a_history_of_ever_one_more_value_is_given_up(
    fieldbus: Fieldbus, serve_opcua: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "HistoryRead":
            for result in exchange.answer.Results:
                result.HistoryData = _recorded(START)
                result.ContinuationPoint = b"more"
            server.requests.clear()
        return False

    monkeypatch.setattr(history, "_MOST_ANSWERS", 50)
    server = await serve_opcua(twist)
    device = opened(fieldbus, server)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LichtbuchError, match="goes on and on"):
            await device.history(LEVELS[:1], START, START + timedelta(days=1))
    assert (await device.read(LEVELS)).values.tolist() == TRUTH


# --- what is left behind ---------------------------------------------------------------------------------------------


async def test_a_server_that_takes_nothing_does_not_keep_its_connection(fieldbus: Fieldbus, serve_opcua: Serve) -> None:
    def twist(exchange: Exchange) -> bool:
        if lamps_of(exchange):
            exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
        return False

    device = opened(fieldbus, await serve_opcua(twist))
    await device.read(LEVELS)
    session = await device._link.session()
    protocol: Any = session.client.uaclient.protocol
    protocol.transport.write(bytes(20_000_000))  # more than the kernels hold
    device._link.drop(session)
    await eventually(lambda: protocol.transport is None)


# --- names and words -------------------------------------------------------------------------------------------------


async def test_a_server_that_calls_itself_by_escapes_is_called_by_what_can_be_shown(
    fieldbus: Fieldbus, serve_opcua: Serve
) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind == "Read":
            for node, answer in zip(exchange.request.Parameters.NodesToRead, exchange.answer.Results, strict=True):
                if node.NodeId.Identifier == ObjectIds.Server_ServerStatus_BuildInfo_ProductName:
                    answer.Value = ua.Variant(ESCAPE)
                elif node.NodeId.Identifier == ObjectIds.Server_ServerStatus_BuildInfo_ManufacturerName:
                    answer.Value = ua.Variant("x" * 1_000_000)
                elif node.NodeId.Identifier == ObjectIds.Server_ServerStatus_BuildInfo_SoftwareVersion:
                    answer.Value = ua.Variant([1] * 100_000)
        return False

    identity = await opened(fieldbus, await serve_opcua(twist)).identify()
    for text in (identity.vendor, identity.product, identity.revision):
        assert text.isprintable()
        assert len(text) <= 1000
    assert "all is well" in identity.product


@pytest.mark.parametrize("spoilt", ["no list", "an unknown mode", "nobody", "rubbish"])
async def test_what_a_server_offers_may_be_rubbish(serve_opcua: Serve, spoilt: str) -> None:
    def twist(exchange: Exchange) -> bool:
        if exchange.kind != "GetEndpoints":
            return False
        offer = ua.EndpointDescription(SecurityMode=ua.MessageSecurityMode.None_, ServerCertificate=b"0\x82")
        exchange.answer.Endpoints = None if spoilt == "no list" else [offer]
        body = bytearray(struct_to_binary(exchange.answer))
        if spoilt == "an unknown mode":
            at = body.index(b"0\x82") + 2
            body[at : at + 4] = struct.pack("<i", 77)
        elif spoilt == "rubbish":
            body = body[:40] + bytes(range(200))
        exchange.send(exchange.frame(body=bytes(body)))
        return True

    server = await serve_opcua(twist)
    async with asyncio.timeout(PATIENCE_S):
        try:
            await offered_endpoints(server.url, 1.0)
        except (LinkDown, OSError):
            return
    assert spoilt == "no list"
