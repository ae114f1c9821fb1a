"""The lean decoder takes every answer for what asyncua's own decoder takes it for, or refuses it."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from asyncua.ua.uaerrors import UaStatusCodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldbus.faults import Malformed
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.wire import node_bytes, publish_answer, read_answer, read_request

KINDS = {
    ua.VariantType.Boolean: st.booleans(),
    ua.VariantType.SByte: st.integers(-128, 127),
    ua.VariantType.Byte: st.integers(0, 255),
    ua.VariantType.Int16: st.integers(-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: st.integers(0, 2**16 - 1),
    ua.VariantType.Int32: st.integers(-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: st.integers(0, 2**32 - 1),
    ua.VariantType.Int64: st.integers(-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: st.integers(0, 2**64 - 1),
    ua.VariantType.Float: st.floats(width=32),
    ua.VariantType.Double: st.floats(),
    ua.VariantType.String: st.text(max_size=5),
    ua.VariantType.DateTime: st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
}
STATUSES = st.sampled_from([0, 0x40000000, 0x80000000, 0x00000480, 0x80340000])
TIMES = st.none() | st.datetimes(datetime(1601, 1, 2), datetime(2400, 1, 1), timezones=st.just(UTC))


@st.composite
def variants(draw: st.DrawFn) -> ua.Variant | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    kind = draw(st.sampled_from(list(KINDS)))
    if draw(st.integers(0, 9)) == 0:
        return ua.Variant(draw(st.lists(KINDS[kind], max_size=3)), kind, is_array=True)
    return ua.Variant(draw(KINDS[kind]), kind)


DATA_VALUES = st.builds(
    lambda variant, status, source, server: ua.DataValue(
        Value=variant,
        StatusCode=ua.StatusCode(ua.UInt32(status)),
        SourceTimestamp=source,
        ServerTimestamp=server,
    ),
    variants(),
    STATUSES,
    TIMES,
    TIMES,
)
# Runs of one encoding, as servers send them, between single ones of every kind.
ANSWERS = st.lists(st.tuples(DATA_VALUES, st.sampled_from([1, 1, 1, 7, 40])), max_size=5).map(
    lambda groups: [value for value, times in groups for _ in range(times)]
)


def response(values: list[ua.DataValue]) -> bytes:
    answer = ua.ReadResponse()
    answer.Results = values
    return struct_to_binary(answer)


def published(*notifications: Any, subscription_id: int = 7, sequence_number: int = 3) -> bytes:
    answer = ua.PublishResponse()
    answer.Parameters.SubscriptionId = ua.UInt32(subscription_id)
    answer.Parameters.AvailableSequenceNumbers = [ua.UInt32(1), ua.UInt32(2)]
    answer.Parameters.NotificationMessage.SequenceNumber = ua.UInt32(sequence_number)
    answer.Parameters.NotificationMessage.NotificationData = list(notifications)
    return struct_to_binary(answer)


def changes(values: list[ua.DataValue], first_handle: int = 1) -> ua.DataChangeNotification:
    items = [
        ua.MonitoredItemNotification(ua.UInt32(handle), value) for handle, value in enumerate(values, first_handle)
    ]
    return ua.DataChangeNotification(MonitoredItems=items)


def assert_same(ours: DataColumns, theirs: list[ua.DataValue]) -> None:
    expected = DataColumns.of(theirs)
    np.testing.assert_array_equal(ours.values, expected.values)
    np.testing.assert_array_equal(ours.status, expected.status)
    np.testing.assert_array_equal(ours.source_ticks, expected.source_ticks)
    assert ours.texts == expected.texts


@settings(max_examples=40)
@given(ANSWERS)
def test_a_read_answer_says_what_asyncua_says_it_says(values: list[ua.DataValue]) -> None:
    data = response(values)
    assert_same(read_answer(Buffer(data), len(values)), struct_from_binary(ua.ReadResponse, Buffer(data)).Results or [])


@settings(max_examples=40)
@given(ANSWERS, ANSWERS)
def test_notifications_say_what_asyncua_says_they_say(one: list[ua.DataValue], two: list[ua.DataValue]) -> None:
    status = ua.StatusChangeNotification(ua.StatusCode(ua.UInt32(0x800A0000)))
    data = published(changes(one), status, changes(two, 100))
    answer = publish_answer(Buffer(data))
    assert (answer.subscription_id, answer.sequence_number, answer.count) == (7, 3, 3)
    (other,) = answer.others
    assert isinstance(other, ua.StatusChangeNotification)
    decoded = struct_from_binary(ua.PublishResponse, Buffer(data)).Parameters.NotificationMessage.NotificationData
    for ours, theirs, first in zip(answer.changes, (decoded[0], decoded[2]), (1, 100), strict=True):
        assert_same(ours, [item.Value for item in theirs.MonitoredItems or []])
        assert ours.handles.tolist() == list(range(first, first + len(ours)))


def test_a_keep_alive_is_nothing_but_a_keep_alive() -> None:
    answer = publish_answer(Buffer(published()))
    assert (answer.count, answer.changes, answer.others) == (0, [], [])


def test_a_refusal_is_a_refusal() -> None:
    answer = ua.ReadResponse()
    answer.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(0x80100000))
    with pytest.raises(UaStatusCodeError):
        read_answer(Buffer(struct_to_binary(answer)), 0)


def test_another_number_of_values_than_was_asked_for_is_malformed() -> None:
    with pytest.raises(Malformed, match="2 values came for 3 nodes"):
        read_answer(Buffer(response([ua.DataValue(ua.Variant(1.0))] * 2)), 3)


@pytest.mark.parametrize("count", [1000, 2**31 - 1])
def test_a_count_that_its_bytes_cannot_bear_is_not_believed(count: int) -> None:
    data = response([ua.DataValue(ua.Variant(1.0))])
    place = data.rindex(struct.pack("<i", 1), 0, len(data) - 10)
    forged = data[:place] + struct.pack("<i", count) + data[place + 4 :]
    with pytest.raises(Malformed):
        read_answer(Buffer(forged), count)


@settings(max_examples=40)
@given(ANSWERS.filter(bool), st.data())
def test_an_answer_cut_short_raises_and_never_makes_up_values(values: list[ua.DataValue], draw: st.DataObject) -> None:
    data = response(values)
    cut = draw.draw(st.integers(30, len(data) - 6))
    with pytest.raises(Exception):  # noqa: B017 - any: the link takes all of them for malformed
        read_answer(Buffer(data[:cut]), len(values))


def test_a_read_request_is_asyncuas_own_byte_for_byte() -> None:
    nodes = [ua.NodeId(ua.String("Lamp.1"), ua.Int16(3)), ua.NodeId(ua.Int32(2258))]
    request = ua.ReadRequest()
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
    request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=ua.UInt32(13)) for node in nodes]
    assert read_request(request.RequestHeader, node_bytes(nodes)) == struct_to_binary(request)
