"""What an OPC UA server has recorded itself: raw values read back to fill a gap (OPC 10000-11, HistoryRead).

Requests and continuation points only; columns are columns.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from domain.errors import FailedPrecondition, InvalidInput, OutOfLimits, Violation
from fieldbus.faults import Malformed, ServiceFault
from fieldbus.opcua.browse import read_attributes
from fieldbus.opcua.columns import NodeColumns
from fieldbus.opcua.costs import NODE_READ_BYTES, REQUEST_BYTES, VALUE_BYTES
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.session import Session, check_count, status_name
from fieldbus.opcua.transport import LeanClient
from fieldbus.values import Counters, ValueBatch, unix_ms

# An answer is to come within the time of an ordinary request.
_NODES_PER_REQUEST: Final = 10
_VALUES_PER_ANSWER: Final = 1000  # per node; the rest comes with the continuation point
_MOST_VALUES: Final = 2_000_000
_EMPTY_ANSWERS: Final = 100  # in a row, each of which promises more
_MOST_ANSWERS: Final = 5_000
_HISTORY_READABLE: Final = 4  # bit of the access level
# The server has no history of a node, or none at all.
_WITHOUT_HISTORY: Final = frozenset(
    {
        StatusCodes.BadHistoryOperationUnsupported,
        StatusCodes.BadHistoryOperationInvalid,
        StatusCodes.BadServiceUnsupported,
        StatusCodes.BadNotSupported,
        StatusCodes.BadNotImplemented,
    }
)


@dataclass(frozen=True, slots=True)
class _Next:
    """Where to go on with one row."""

    row: int
    start: datetime
    point: bytes | None = None


@dataclass(slots=True)
class HistoryRequest:
    """One reading of the past. `without` tells, afterwards, which rows have none and why."""

    link: OpcUaLink
    columns: NodeColumns
    counters: Counters
    start: datetime
    end: datetime
    without: dict[int, str] = field(default_factory=dict)
    _values: int = 0
    _empty: int = 0
    _answers: int = 0

    async def run(self) -> list[ValueBatch]:
        """Recorded values from `start` (inclusive) to `end` (exclusive), oldest first per point.

        Raises FailedPrecondition, with a violation per point, when none of the points has a history; LinkDown,
        NoAnswer and their like when the server does not answer; OutOfLimits for more than two million values;
        OverBudget when the link's bytes do not suffice: a shorter time may do.
        """
        if unix_ms(self.end) <= unix_ms(self.start):
            raise InvalidInput.of("end", "is not after start")
        self.link.reading(REQUEST_BYTES + NODE_READ_BYTES)
        session = await self.link.session()
        nodes = self.columns.nodes(session)[: len(self.columns.points)]
        for row, node in enumerate(nodes):
            if node is None:
                self.without[row] = f"the server has no namespace {self.columns.places[row][0]}"
        rows = [row for row, node in enumerate(nodes) if node is not None]
        size = min(_NODES_PER_REQUEST, session.limits.nodes_per_history)
        batches: list[ValueBatch] = []
        for at in range(0, len(rows), size):
            waiting = [_Next(row, self.start) for row in rows[at : at + size]]
            while waiting:
                # A request has one start for all of its nodes.
                now = [item for item in waiting if item.start == waiting[0].start]
                waiting = [item for item in waiting if item.start != waiting[0].start]
                batch, more = await self._round(session, nodes, now)
                waiting += more
                if batch is not None:
                    batches.append(batch)
        await self._look_for_history(session, nodes, batches)
        if self.without and len(self.without) == len(nodes):
            points = self.columns.points
            raise FailedPrecondition(
                f"{self.link.endpoint} has no history of these points",
                [Violation(str(points[row]), reason) for row, reason in sorted(self.without.items())],
            )
        return batches

    async def _round(
        self, session: Session, nodes: list[ua.NodeId | None], asked: list[_Next]
    ) -> tuple[ValueBatch | None, list[_Next]]:
        """One answer, and what has more to come."""
        self._answers += 1
        if self._answers > _MOST_ANSWERS:
            raise Malformed("the history goes on and on in small pieces")
        most = self.link.affords(VALUE_BYTES * len(asked), _VALUES_PER_ANSWER)
        parameters = _parameters(self.end, nodes, asked, most)
        self.link.reading(REQUEST_BYTES + len(asked) * NODE_READ_BYTES)
        try:
            results = await self.link.call(session, self.counters, _reading(parameters))
        except ServiceFault as error:
            if error.status_code not in _WITHOUT_HISTORY:
                raise
            self.without.update((item.row, status_name(error.status_code)) for item in asked)
            return None, []
        check_count(results, len(asked))
        parts: list[DataColumns] = []
        places: list[int] = []
        more: list[_Next] = []
        for item, result in zip(asked, results, strict=True):
            if result.StatusCode.is_bad():
                self.without[item.row] = status_name(int(result.StatusCode.value))
                continue
            values = getattr(result.HistoryData, "DataValues", None) or []
            parts.append(DataColumns.of(values))
            places += [item.row] * len(values)
            if result.ContinuationPoint:
                self._empty = 0 if values else self._empty + 1
                if self._empty > _EMPTY_ANSWERS:
                    raise Malformed("the history goes on and on without a value")
                more.append(_Next(item.row, item.start, result.ContinuationPoint))
            elif len(values) >= most and values[-1].SourceTimestamp is not None:
                # Some servers take the number per answer for the number in all: ask on behind the last one.
                last = values[-1].SourceTimestamp
                last = last if last.tzinfo is not None else last.replace(tzinfo=UTC)
                if item.start <= last < self.end:
                    more.append(_Next(item.row, last + timedelta(microseconds=1)))
        self._values += len(places)
        if self._values > _MOST_VALUES:
            await self._release(session, nodes, [item for item in more if item.point])
            raise OutOfLimits.of("end", f"more than {_MOST_VALUES} values are recorded: ask for a shorter time")
        return self._batch(parts, np.array(places, dtype=np.intp)), more

    async def _look_for_history(
        self, session: Session, nodes: list[ua.NodeId | None], batches: list[ValueBatch]
    ) -> None:
        """Whether points of which nothing came keep a history at all: some servers give an empty one for any node."""
        told = {point for batch in batches for point in batch.points}
        silent = [row for row, point in enumerate(self.columns.points) if point not in told and row not in self.without]
        wanted = [ua.ReadValueId(NodeId=nodes[row], AttributeId=AttributeIds.AccessLevel) for row in silent]
        answers = await read_attributes(self.link, session, self.counters, wanted)
        for row, answer in zip(silent, answers, strict=True):
            level = answer.Value.Value if answer.Value is not None else None
            if isinstance(level, int) and not level & _HISTORY_READABLE:
                self.without[row] = "the node keeps no history (its access level is without HistoryRead)"

    def _batch(self, parts: list[DataColumns], rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> ValueBatch | None:
        if not len(rows):
            return None
        changes = DataColumns.joined(parts)
        first, last = (ua.datetime_to_win_epoch(instant) for instant in (self.start, self.end))
        # What has no time of its own tells nothing about the past; some servers add bounds outside of what was asked.
        within = (changes.source_ticks >= first) & (changes.source_ticks < last)
        order = np.flatnonzero(within)
        order = order[np.argsort(changes.source_ticks[order], kind="stable")]
        return self.columns.recorded(changes.take(order), rows[order]) if len(order) else None

    async def _release(self, session: Session, nodes: list[ua.NodeId | None], unfinished: list[_Next]) -> None:
        if unfinished:
            parameters = _parameters(self.end, nodes, unfinished)
            parameters.ReleaseContinuationPoints = True
            await self.link.call(session, self.counters, _reading(parameters))


def _parameters(
    end: datetime, nodes: list[ua.NodeId | None], asked: list[_Next], most: int = _VALUES_PER_ANSWER
) -> ua.HistoryReadParameters:
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False,
        StartTime=asked[0].start,
        EndTime=end,
        NumValuesPerNode=ua.UInt32(most),
        ReturnBounds=False,
    )
    return ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Source,
        ReleaseContinuationPoints=False,
        NodesToRead=[ua.HistoryReadValueId(NodeId=nodes[item.row], ContinuationPoint=item.point) for item in asked],
    )


def _reading(
    parameters: ua.HistoryReadParameters,
) -> Callable[[LeanClient], Awaitable[list[ua.HistoryReadResult]]]:
    return lambda client: client.services.history_read(parameters)
