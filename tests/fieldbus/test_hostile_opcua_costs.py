"""Messages of OPC UA that are small on the wire and costly to decode: refused before they cost anything, for whoever
decodes them lets everybody else wait. What is large and honest is decoded.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from asyncua.ua.uaerrors import UaError

import fieldbus.opcua.hardening  # noqa: F401 - what is tested
from fieldbus.opcua.wire import publish_answer, read_answer
from tests.fieldbus.test_opcua_wire import changes, published, response

MANY: Final = 1_000_000
NOON: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
ARRAY, DIMENSIONS = 0x80, 0x40


def values(encoded: bytes, count: int = 1) -> bytes:
    """A ReadResponse with values that are encoded already."""
    return response([])[:-8] + struct.pack("<i", count) + encoded + struct.pack("<i", -1)


def array(kind: int, elements: bytes, count: int = MANY, dimensions: tuple[int, ...] | None = None) -> bytes:
    """One value that is an array."""
    shape = b"" if dimensions is None else struct.pack(f"<i{len(dimensions)}i", len(dimensions), *dimensions)
    encoding = kind | ARRAY | (0 if dimensions is None else DIMENSIONS)
    return bytes((1, encoding)) + struct.pack("<i", count) + elements + shape


COSTLY: Final = {
    "an array of empty variants": values(array(24, bytes(MANY))),
    "an array of empty data values": values(array(23, bytes(MANY))),
    "an array of empty texts": values(array(21, bytes(MANY))),
    "an array of absent texts": values(array(12, b"\xff" * 4 * MANY)),
    "an array of objects without content": values(array(22, bytes(3 * MANY))),
    "an array of more booleans than can be meant": values(array(1, bytes(8 * MANY), 8 * MANY)),
    "arrays in arrays": values(array(24, (bytes((24 | ARRAY,)) + struct.pack("<i", 9) + bytes(9)) * 100_000, 100_000)),
    "a status with names without end": response([])[:21] + struct.pack("<i", MANY) + b"\xff" * 4 * MANY,
}


def notifications(count: int, encoded: bytes) -> bytes:
    """A PublishResponse with notifications that are encoded already."""
    empty = published()
    return empty[:-12] + struct.pack("<i", count) + encoded + empty[-8:]


def data_change(count: int, items: bytes) -> bytes:
    """A notification of items that are encoded already."""
    kind = struct.pack("<BBHB", 1, 0, ObjectIds.DataChangeNotification_Encoding_DefaultBinary, 1)
    body = struct.pack("<i", count) + items + struct.pack("<i", -1)
    return kind + struct.pack("<i", len(body)) + body


FLOODS: Final = {
    "empty notifications": notifications(500_000, data_change(0, b"") * 500_000),
    "notifications of nothing": notifications(MANY, bytes(3 * MANY)),
    "items without value": notifications(1, data_change(MANY, struct.pack("<IB", 1, 0) * MANY)),
    "items of two kinds in turn": notifications(
        1, data_change(MANY, (struct.pack("<IBBB", 1, 1, 2, 7) + struct.pack("<IBBB", 1, 1, 3, 7)) * (MANY // 2))
    ),
    "items of one kind": notifications(1, data_change(MANY, struct.pack("<IBBB", 1, 1, 2, 7) * MANY)),
    "events without fields": notifications(
        1,
        struct.pack("<BBHB", 1, 0, ObjectIds.EventNotificationList_Encoding_DefaultBinary, 1)
        + struct.pack("<ii", 4 * MANY + 4, MANY)
        + bytes(4) * MANY,
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_an_answer_that_costs_more_than_it_can_tell_is_refused(name: str) -> None:
    with pytest.raises(UaError):
        read_answer(Buffer(COSTLY[name]), 1)
    with pytest.raises(UaError):
        struct_from_binary(ua.ReadResponse, Buffer(COSTLY[name]))


@pytest.mark.parametrize("name", FLOODS)
def test_a_notification_that_costs_more_than_it_can_tell_is_refused(name: str) -> None:
    with pytest.raises(UaError):
        publish_answer(Buffer(FLOODS[name]))


@pytest.mark.parametrize(
    ("dimensions", "count"),
    [((MANY,), 0), ((1,) * 50_000, 1), ((-1, -1), 1), ((0, 0), 0), ((), 1), ((2**31 - 1, 2**31 - 1, 0), 0)],
)
def test_dimensions_of_what_is_not_there_make_nothing(dimensions: tuple[int, ...], count: int) -> None:
    answer: Any = struct_from_binary(ua.ReadResponse, Buffer(values(array(1, bytes(count), count, dimensions))))
    assert answer.Results[0].Value.Value == [False] * count


def test_dimensions_of_what_is_there_are_kept() -> None:
    answer: Any = struct_from_binary(ua.ReadResponse, Buffer(values(array(3, bytes(range(6)), 6, (3, 2)))))
    assert answer.Results[0].Value.Value == [[0, 1], [2, 3], [4, 5]]


def test_many_types_of_no_content_are_refused() -> None:
    """Of a type without fields an element takes no bytes, so that any number of them fits."""
    endless = struct.pack("<i", 2**31 - 1)
    with pytest.raises(UaError):
        struct_from_binary(ua.BrowseResponse, Buffer(response([])[:-8] + endless))


def test_what_is_large_and_honest_is_decoded() -> None:
    stamps: dict[str, Any] = {"SourceTimestamp": NOON, "ServerTimestamp": NOON}
    stamps |= {"SourcePicoseconds": 1, "ServerPicoseconds": 1}
    full = ua.DataValue(ua.Variant("a text"), **stamps)
    history = ua.HistoryReadResponse(
        Results=[ua.HistoryReadResult(HistoryData=ua.HistoryData(DataValues=[full] * 1000)) for _ in range(10)]
    )
    decoded: Any = struct_from_binary(ua.HistoryReadResponse, Buffer(struct_to_binary(history)))
    assert sum(len(result.HistoryData.DataValues) for result in decoded.Results) == 10_000
    assert len(read_answer(Buffer(response([full] * 5000)), 5000)) == 5000
    reported = publish_answer(Buffer(published(changes([full] * 1000))))
    assert np.unique(reported.changes[0].handles).size == 1000
