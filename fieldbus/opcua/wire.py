"""OPC UA binary, the hot part: read requests from bytes made once, data values straight into columns.

asyncua's generic decoder builds an object per field of every value; here the usual encodings of a data value (a number,
a status, a time) are unpacked in one step each, and long runs of the same encoding by numpy at once. Everything unusual
is left to asyncua's decoder. Encodings: OPC 10000-6, 5.2.2 (DataValue 5.2.2.17, Variant 5.2.2.16). Pure; sockets are
transport.py's, qualities and units columns.py's.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import (
    extensionobject_from_binary,
    nodeid_from_binary,
    nodeid_to_binary,
    struct_from_binary,
    struct_to_binary,
)

from fieldbus.faults import Malformed
from fieldbus.opcua import hardening
from fieldbus.opcua.data import EPOCH_TICKS, TICKS_PER_MS, DataColumns, plain

# A count in an answer is believed only as far as its bytes can bear it.
_SMALLEST_VALUE: Final = 1
_SMALLEST_ITEM: Final = 5
# What is not read through the buffer counts too, for what it costs.
_ITEMS_PER_STEP: Final = 2
_STEPS_OF_A_NOTIFICATION: Final = 10
_STEPS_OF_AN_UNUSUAL_VALUE: Final = 4
_RUN_WORTH_NUMPY: Final = 24
_PROBE: Final = 6
_NOT_A_NUMBER: Final = float("nan")

_HAS_VALUE, _HAS_STATUS, _HAS_SOURCE, _HAS_SERVER = 1, 2, 4, 8
_BOOLEAN: Final = 1
_DATETIME: Final = 13
_SCALARS: Final = {
    _BOOLEAN: ("?", "u1"),
    2: ("b", "i1"),
    3: ("B", "u1"),
    4: ("h", "<i2"),
    5: ("H", "<u2"),
    6: ("i", "<i4"),
    7: ("I", "<u4"),
    8: ("q", "<i8"),
    9: ("Q", "<u8"),
    10: ("f", "<f4"),
    11: ("d", "<f8"),
    _DATETIME: ("q", "<i8"),
}
_DATA_CHANGE: Final = ua.FourByteNodeId(ua.Int32(ObjectIds.DataChangeNotification_Encoding_DefaultBinary))
_READ_REQUEST: Final = nodeid_to_binary(ua.FourByteNodeId(ua.Int32(ObjectIds.ReadRequest_Encoding_DefaultBinary)))
_I32: Final = struct.Struct("<i")
_READ_HEAD: Final = struct.Struct("<dII")  # MaxAge, TimestampsToReturn, number of nodes
_READ_TAIL: Final = struct.pack("<IiHi", AttributeIds.Value, -1, 0, -1)  # attribute, no index range, no encoding name


@dataclass(slots=True)
class Published:
    """A publish answer: data changes as columns, everything else as asyncua decodes it."""

    subscription_id: int
    sequence_number: int
    more: bool
    count: int  # notifications in the message, 0 for a keep-alive
    changes: list[DataColumns]
    others: list[object]
    acknowledged: int = 0


@dataclass(frozen=True, slots=True)
class _Layout:
    """One encoding of a data value with a scalar: how to unpack it, and where its parts come out."""

    unpack: struct.Struct
    record: np.dtype[np.void]
    value: int  # index in the unpacked tuple, -1 without
    status: int
    source: int
    is_time: bool
    is_boolean: bool


def node_bytes(nodes: Sequence[ua.NodeId]) -> tuple[bytes, ...]:
    """A ReadValueId of the value attribute per node, as it goes over the wire."""
    return tuple(nodeid_to_binary(node) + _READ_TAIL for node in nodes)


def read_request(header: ua.RequestHeader, nodes: Sequence[bytes]) -> bytes:
    """A ReadRequest for source time stamps; `nodes` from `node_bytes`."""
    head = _READ_HEAD.pack(0.0, ua.TimestampsToReturn.Source, len(nodes))
    return b"".join((_READ_REQUEST, struct_to_binary(header), head, *nodes))


def read_answer(body: Buffer, count: int) -> DataColumns:
    """The values of a ReadResponse. Raises UaStatusCodeError for a refusal, Malformed for another number of values."""
    data, position = _after_header(body)
    (sent,) = _I32.unpack_from(data, position)
    if sent != count:
        raise Malformed(f"{max(sent, 0)} values came for {count} nodes")
    columns, _ = _values(body, data, position + 4, count, handles=False)
    return columns


def publish_answer(body: Buffer) -> Published:
    """A PublishResponse. Raises UaStatusCodeError for a refusal."""
    data, position = _after_header(body)
    (subscription_id, available) = struct.unpack_from("<Ii", data, position)
    position += 8 + 4 * max(available, 0)
    more, sequence_number, _, count = struct.unpack_from("<?Iqi", data, position)
    position += 17
    result = Published(subscription_id, sequence_number, more, max(count, 0), [], [])
    for _ in range(count):
        hardening.take(body, _STEPS_OF_A_NOTIFICATION)
        buffer = hardening.view(body, data, position)
        kind = nodeid_from_binary(buffer)
        encoding = buffer.read(1)[0]
        if kind == _DATA_CHANGE and encoding == 1:
            body_at = buffer.cur_pos + 4
            (length,) = _I32.unpack_from(data, buffer.cur_pos)
            (items,) = _I32.unpack_from(data, body_at)
            columns, end = _values(body, data, body_at + 4, max(items, 0), handles=True)
            result.changes.append(columns)
            position = body_at + length if length >= 0 else end + 4
        else:
            buffer = hardening.view(body, data, position)
            result.others.append(extensionobject_from_binary(buffer))
            position = buffer.cur_pos
    return result


def _after_header(body: Buffer) -> tuple[bytes, int]:
    nodeid_from_binary(body)
    struct_from_binary(ua.ResponseHeader, body).ServiceResult.check()
    return body.read(len(body)), 0


def _values(message: Buffer, data: bytes, position: int, count: int, *, handles: bool) -> tuple[DataColumns, int]:
    """`count` data values of a message from `position` on, each after its client handle if `handles`; and where they
    end."""
    smallest = _SMALLEST_ITEM if handles else _SMALLEST_VALUE
    if count * smallest > len(data) - position:
        raise Malformed(f"{count} values cannot be in {len(data) - position} bytes")
    if handles:
        hardening.take(message, count // _ITEMS_PER_STEP)
    layouts = _ITEMS if handles else _VALUES
    shift = 4 if handles else 0
    values: list[float] = []
    status: list[int] = []
    ticks: list[int] = []
    numbers: list[int] = []
    texts: dict[int, str] = {}
    parts: list[DataColumns] = []

    def flush() -> None:
        if values:
            part = DataColumns(
                np.array(values, dtype=np.float64),
                np.array(status, dtype=np.uint32),
                np.array(ticks, dtype=np.int64),
                dict(texts),
                np.array(numbers, dtype=np.uint32),
            )
            parts.append(part)
            for column in (values, status, ticks, numbers, texts):
                column.clear()

    left = count
    probing = True
    while left:
        key = data[position + shift : position + shift + 2]
        layout = layouts.get(key)
        if layout is None:
            if handles:
                numbers.append(struct.unpack_from("<I", data, position)[0])
            hardening.take(message, _STEPS_OF_AN_UNUSUAL_VALUE)
            buffer = hardening.view(message, data, position + shift)
            value, code, tick, text = plain(struct_from_binary(ua.DataValue, buffer))
            if text is not None:
                texts[len(values)] = text
            values.append(value)
            status.append(code)
            ticks.append(tick)
            position = buffer.cur_pos
            left -= 1
            continue
        size = layout.unpack.size
        if probing and left >= _RUN_WORTH_NUMPY:
            ahead = position + shift
            if all(data[ahead + size * step : ahead + size * step + 2] == key for step in range(1, _PROBE)):
                run = _run(data, position, min(left, (len(data) - position) // size), layout, key)
                if len(run):
                    flush()
                    parts.append(run)
                    position += size * len(run)
                    left -= len(run)
                    continue
            # Mixed encodings alternate: looking ahead at every item would cost more than it gains.
            probing = left % 16 == 0
        else:
            probing = left % 16 == 0
        row = layout.unpack.unpack_from(data, position)
        value = row[layout.value] if layout.value >= 0 else _NOT_A_NUMBER
        values.append((value - EPOCH_TICKS) // TICKS_PER_MS if layout.is_time else value)
        status.append(row[layout.status] if layout.status >= 0 else 0)
        ticks.append(row[layout.source] if layout.source >= 0 else 0)
        if handles:
            numbers.append(row[0])
        position += size
        left -= 1
    flush()
    return DataColumns.joined(parts), position


def _run(data: bytes, position: int, most: int, layout: _Layout, key: bytes) -> DataColumns:
    """As many values of one layout as follow each other, at most `most`."""
    records = np.frombuffer(data, dtype=layout.record, count=most, offset=position)
    same = records["key"] == int.from_bytes(key, "little")
    length = most if same.all() else int(np.argmin(same))
    records = records[:length]
    names = layout.record.names or ()
    values = records["value"].astype(np.float64) if "value" in names else np.full(length, np.nan)
    if layout.is_boolean:
        # Whatever is not 0 is true (OPC 10000-6, 5.2.2.1), and some servers write it as 255.
        values = np.not_equal(records["value"], 0).astype(np.float64)
    elif layout.is_time:
        values = ((records["value"] - EPOCH_TICKS) // TICKS_PER_MS).astype(np.float64)
    return DataColumns(
        values,
        records["status"].astype(np.uint32) if "status" in names else np.zeros(length, dtype=np.uint32),
        records["source"].astype(np.int64) if "source" in names else np.zeros(length, dtype=np.int64),
        {},
        records["handle"].astype(np.uint32) if "handle" in names else np.empty(0, dtype=np.uint32),
    )


def _layouts(*, handles: bool) -> dict[bytes, _Layout]:
    result: dict[bytes, _Layout] = {}
    for mask in range(1, 16, 2):
        for kind, (code, column) in _SCALARS.items():
            codes = "I" if handles else ""
            columns: list[tuple[str, str]] = [("handle", "<u4")] if handles else []
            value = status = source = -1
            codes += "BB" + code
            columns += [("key", "<u2"), ("value", column)]
            value = len(codes) - 1
            if mask & _HAS_STATUS:
                codes += "I"
                columns.append(("status", "<u4"))
                status = len(codes) - 1
            if mask & _HAS_SOURCE:
                codes += "q"
                columns.append(("source", "<i8"))
                source = len(codes) - 1
            if mask & _HAS_SERVER:
                codes += "q"
                columns.append(("server", "<i8"))
            layout = _Layout(
                struct.Struct("<" + codes),
                np.dtype(columns),
                value,
                status,
                source,
                is_time=kind == _DATETIME,
                is_boolean=kind == _BOOLEAN,
            )
            assert layout.record.itemsize == layout.unpack.size
            result[bytes((mask, kind))] = layout
    return result


_VALUES: Final = _layouts(handles=False)
_ITEMS: Final = _layouts(handles=True)
