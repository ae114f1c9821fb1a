"""Registers and bytes of noise: whatever they hold, values are within limits or none, and texts can be shown."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldbus.client import Fieldbus
from fieldbus.device import Limits
from fieldbus.freshness import Freshness
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.wire import publish_answer, read_answer
from fieldbus.ownership import owned_by_another
from fieldbus.profile import Protocol
from fieldbus.profile_loader import load_profile
from fieldbus.values import PointAddress, Quality, TimeSource, from_unix_ms, unix_ms
from fieldbus.watchdog import Watchdog
from tests.fieldbus.conftest import ServeRaw
from tests.fieldbus.recorded import shipped
from tests.fieldbus.servers import NOON, RawServer, answer_frame
from tests.fieldbus.test_opcua_wire import ANSWERS, changes, published, response
from tests.support.patient_loop import loop_time

MODBUS_PROFILES = shipped(Protocol.MODBUS)
BOUNDED = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
FREELY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# Words that mean something special somewhere: sentinels, signs, exponents, infinities, nibbles that are no digits.
SPECIAL = [
    0,
    1,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7F80,
    0x7FC0,
    0xFF80,
    0x7FF0,
    0x1B5B,
    0x9B9B,
    0xAAAA,
    0x9999,
    203,
    0x5375,
    0x6E53,
]
NOISE = st.lists(st.sampled_from(SPECIAL) | st.integers(0, 0xFFFF), min_size=1, max_size=40)


def points_of(name: str) -> tuple[PointAddress, ...]:
    profile = load_profile(name)
    found = []
    for point, binding in profile.points.items():
        if binding.direction.readable:
            low = binding.index_range[0] if binding.index_range else None
            found.append(PointAddress(point, low))
    return tuple(found)


@pytest.mark.parametrize("name", MODBUS_PROFILES)
@BOUNDED
@given(NOISE)
async def test_whatever_registers_hold_no_nonsense_is_a_good_value(name: str, noise: list[int]) -> None:
    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        start, count = struct.unpack_from(">HH", request, 8)
        if request[7] in (1, 2):
            size = (count + 7) // 8
            data = bytes(noise[(start + at) % len(noise)] & 0xFF for at in range(size))
        else:
            data = b"".join(struct.pack(">H", noise[(start + at) % len(noise)]) for at in range(count))
        writer.write(answer_frame(request, bytes((request[7], len(data))) + data))

    server = RawServer(behave)
    await server.start()
    bus = Fieldbus(now=lambda: NOON, limits=Limits(request_timeout_s=1.0, read_deadline_s=5.0), monotonic=loop_time)
    device = bus.open(server.url, name)
    points = points_of(name)
    async with asyncio.timeout(20):
        batch = await device.read(points)
    profile = load_profile(name)
    for row, address in enumerate(points):
        binding = profile.points[address.point]
        assert from_unix_ms(int(batch.observed_at[row])).year in range(2000, 2101)
        if row in batch.texts:
            assert batch.texts[row].isprintable()
        elif batch.quality[row] <= Quality.UNCERTAIN:
            assert binding.minimum <= batch.values[row] <= binding.maximum
            assert np.isfinite(batch.values[row])
        else:
            assert np.isnan(batch.values[row])
    await bus.close()
    await server.stop()


@pytest.mark.parametrize(
    ("ahead_s", "quality"),
    [
        (-61, Quality.UNCERTAIN),
        (-59, Quality.GOOD),
        (59, Quality.GOOD),
        (61, Quality.UNCERTAIN),
        (10**9, Quality.UNCERTAIN),
    ],
)
def test_a_time_ahead_of_ours_is_doubted_like_one_behind(ahead_s: int, quality: Quality) -> None:
    rules = Freshness(60_000.0, 0, np.full(1, -1, dtype=np.int64), np.zeros(1, dtype=np.int64))
    now_ms = unix_ms(NOON)
    judged = np.array([Quality.GOOD], dtype=np.uint8)
    source = np.array([TimeSource.DEVICE], dtype=np.uint8)
    rules.check_age(judged, np.array([now_ms + 1000 * ahead_s]), source, now_ms)
    assert judged.tolist() == [quality]


# --- OPC UA bytes ----------------------------------------------------------------------------------------------------


def assert_like(ours: DataColumns, theirs: list[ua.DataValue]) -> None:
    """The same, but for times: asyncua's end at microseconds, in 1601 and in 9999, ours do not."""
    expected = DataColumns.of(theirs)
    assert len(ours) == len(expected)
    np.testing.assert_array_equal(ours.status, expected.status)
    assert ours.texts == expected.texts
    plain = (expected.source_ticks > 0) & (expected.source_ticks < 2**61)
    np.testing.assert_array_equal(ours.source_ticks[plain] // 10, expected.source_ticks[plain] // 10)
    times = [v.Value is not None and v.Value.VariantType == ua.VariantType.DateTime for v in theirs]
    numbers = ~np.array(times, dtype=np.bool_)
    np.testing.assert_array_equal(ours.values[numbers], expected.values[numbers])


def _spoil(draw: st.DataObject, data: bytes) -> bytes:
    """Some bytes changed, some left out, some put in."""
    spoilt = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(spoilt) - 1))
        match draw.draw(st.integers(0, 2)):
            case 0:
                spoilt[at] = draw.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0x8C]) | st.integers(0, 255))
            case 1:
                del spoilt[at : at + draw.draw(st.integers(1, 8))]
            case 2:
                spoilt[at:at] = draw.draw(st.binary(min_size=1, max_size=8))
        if not spoilt:
            break
    return bytes(spoilt)


@FREELY
@given(ANSWERS.filter(bool), st.data())
def test_a_spoilt_read_answer_says_what_asyncua_says_or_nothing(
    values: list[ua.DataValue], draw: st.DataObject
) -> None:
    data = _spoil(draw, response(values))
    try:
        ours = read_answer(Buffer(data), len(values))
    except Exception:  # the link takes all of them for malformed
        return
    try:
        theirs = struct_from_binary(ua.ReadResponse, Buffer(data)).Results or []
    except Exception:  # it reads on, to the diagnostics behind the values
        return
    assert_like(ours, theirs)


@FREELY
@given(ANSWERS.filter(bool), st.data())
def test_a_spoilt_notification_says_what_asyncua_says_or_nothing(
    values: list[ua.DataValue], draw: st.DataObject
) -> None:
    data = _spoil(draw, published(changes(values)))
    try:
        ours = publish_answer(Buffer(data))
    except Exception:  # the publisher gives the session up
        return
    try:
        message = struct_from_binary(ua.PublishResponse, Buffer(data)).Parameters.NotificationMessage
    except Exception:  # it reads on, to the diagnostics behind the values
        return
    theirs = [n for n in message.NotificationData or [] if isinstance(n, ua.DataChangeNotification)]
    assert len(ours.changes) == len(theirs)
    for columns, notification in zip(ours.changes, theirs, strict=True):
        assert_like(columns, [item.Value for item in notification.MonitoredItems or []])
        assert columns.handles.tolist() == [int(item.ClientHandle) for item in notification.MonitoredItems or []]


@FREELY
@given(st.binary(max_size=400))
def test_random_bytes_are_no_answer(data: bytes) -> None:
    for decode in (lambda: read_answer(Buffer(data), 3), lambda: publish_answer(Buffer(data))):
        try:
            result = decode()
        except Exception:  # that is what is wanted
            continue
        assert not isinstance(result, DataColumns) or len(result) == 3


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("true", [1, 2, 0xFF])
def test_whatever_is_not_zero_is_true_in_long_answers_too(count: int, true: int) -> None:
    data = response([ua.DataValue(ua.Variant(True))] * count)
    encoded = struct_to_binary(ua.DataValue(ua.Variant(True)))
    forged = encoded[:2] + bytes((true,)) + encoded[3:]
    columns = read_answer(Buffer(data.replace(encoded, forged)), count)
    assert columns.values.tolist() == [1.0] * count


def test_the_encoder_of_null_arrays_is_as_it_was() -> None:
    variant = ua.Variant([None, None], ua.VariantType.Null, is_array=True)
    assert struct_to_binary(ua.DataValue(variant))[:6] == b"\x03\x80\x02\0\0\0"


# --- heartbeats ------------------------------------------------------------------------------------------------------


async def test_a_device_that_lies_about_its_heartbeat_is_told_of_and_drives_nobody_mad(
    fieldbus: Fieldbus, serve_raw: ServeRaw
) -> None:
    """It shows whatever it likes: our own beats never arrive, and somebody else seems to be at it."""
    shown = iter(range(0, 10_000_000, 37))

    async def behave(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[7] == 3:
            count = int.from_bytes(request[10:12], "big")
            data = b"".join(struct.pack(">H", next(shown) % 65536) for _ in range(count))
            writer.write(answer_frame(request, bytes((3, 2 * count)) + data))
        else:
            writer.write(answer_frame(request, request[7:12]))

    server = await serve_raw(behave)
    device: Any = fieldbus.open(server.url, "cabinet-logo8")
    assert device.profile.watchdog is not None
    slept = 0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += 1
        await asyncio.sleep(0.001 if slept < 5 else 3600)

    watchdog = Watchdog(device, sleep=sleep, uniform=lambda: 0.5)
    await watchdog.start()
    async with asyncio.timeout(20):
        while slept < 5:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    health = watchdog.health()
    assert health.running
    assert health.beats == 0
    assert "heartbeat" in health.last_error
    await watchdog.stop()
    assert "another master" in await owned_by_another(device, sleep=lambda seconds: asyncio.sleep(0))
