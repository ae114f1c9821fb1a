"""From OPC UA data values to batches: status to quality, source time to observed time, raw numbers to units.

Whole columns at a time. Decoding is wire.py's, requests are device.py's, notifications subscription.py's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from domain.errors import InvalidInput
from fieldbus.codec import UnitColumns, convert
from fieldbus.format.formula import index_variables
from fieldbus.freshness import Freshness
from fieldbus.opcua.data import EPOCH_TICKS, TICKS_PER_MS, DataColumns
from fieldbus.opcua.nodes import node_id
from fieldbus.opcua.session import Session
from fieldbus.opcua.wire import node_bytes
from fieldbus.profile import Conversion, PointBinding, Profile
from fieldbus.raw import shown_text
from fieldbus.values import NO_TEXTS, PointAddress, Quality, TimeSource, ValueBatch
from fieldbus.vocabulary import PointType

# No status that a server can mean: stands for values that never came.
NEVER_CAME: Final = 0xFFFF_FFFF
_MISSING_NODE: Final = int(StatusCodes.BadNodeIdUnknown)
# The two highest bits of a status code: good, uncertain, bad, reserved (OPC 10000-4, 7.39).
_QUALITY_OF_SEVERITY: Final = np.array([Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD], dtype=np.uint8)
_SEVERITY_SHIFT: Final = 30
# Info type "data value" with the overflow bit: the server's queue was too short, a value was lost before this one.
_INFO_MASK: Final = 0x0C80
_OVERFLOW: Final = 0x0480
_EARLIEST_TIME_MS: Final = 946_684_800_000  # 2000-01-01: clocks that were never set are no clocks
_LATEST_TIME_MS: Final = 4_102_444_800_000  # 2100-01-01: nor are those that show nonsense


@dataclass(slots=True)
class NodeColumns:
    """The rows of one list of points.

    What is asked of the server are `sources`: the node of every row the server can have, then the nodes that hold
    some rows' time.
    """

    points: tuple[PointAddress, ...]
    bindings: list[PointBinding]
    places: list[tuple[str, str]]  # namespace and node of every row, then of the time nodes
    units: UnitColumns
    freshness: Freshness
    _conversions: list[Conversion]
    _conversion_of: npt.NDArray[np.int16]  # per row an index into _conversions, -1 for linear ones
    _time_of: npt.NDArray[np.intp]  # per row an index into the time nodes, -1 without
    _is_text: npt.NDArray[np.bool_]
    _nodes: list[ua.NodeId | None] = field(default_factory=list)
    _sources: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    _encoded: tuple[bytes, ...] = ()
    _session: Session | None = None

    @classmethod
    def of(cls, profile: Profile, points: tuple[PointAddress, ...]) -> NodeColumns:
        """Raises InvalidInput for points that the profile does not have or that have no node to read."""
        bindings = [profile.binding(address) for address in points]
        places: list[tuple[str, str]] = []
        times: dict[tuple[str, str], int] = {}
        time_of = np.full(len(points), -1, dtype=np.intp)
        for row, (binding, address) in enumerate(zip(bindings, points, strict=True)):
            place = binding.node
            if place is None or not place.node:
                raise InvalidInput.of("point", f"{address} has no node in profile {profile.name}")
            variables = index_variables(binding.scope, address.index)
            places.append((place.namespace, place.node.format(**variables)))
            if place.timestamp_node:
                time = (place.namespace, place.timestamp_node.format(**variables))
                time_of[row] = times.setdefault(time, len(times))
        numbers: dict[Conversion, int] = defaultdict(lambda: len(numbers))
        conversion_of = [-1 if b.conversion.is_linear else numbers[b.conversion] for b in bindings]
        return cls(
            points=points,
            bindings=bindings,
            places=[*places, *times],
            units=UnitColumns.of(bindings),
            freshness=Freshness.of(profile, len(points)),
            _conversions=list(numbers),
            _conversion_of=np.array(conversion_of, dtype=np.int16),
            _time_of=time_of,
            _is_text=np.array([binding.point.type is PointType.TEXT for binding in bindings], dtype=np.bool_),
        )

    def nodes(self, session: Session) -> list[ua.NodeId | None]:
        """Node ids on this server, rows first, then time nodes; None where it does not know the namespace."""
        self._resolve(session)
        return self._nodes

    @property
    def identifiers(self) -> list[str]:
        """What the nodes are called, those that hold the time too."""
        return [node for _, node in self.places]

    def encoded(self, session: Session) -> tuple[bytes, ...]:
        """The nodes that this server can have, ready for a read request."""
        self._resolve(session)
        return self._encoded

    def _resolve(self, session: Session) -> None:
        if self._session is session:
            return
        self._nodes = [node_id(namespace, node, session.namespaces) for namespace, node in self.places]
        self._sources = np.array([at for at, node in enumerate(self._nodes) if node is not None], dtype=np.intp)
        self._encoded = node_bytes([node for node in self._nodes if node is not None])
        self._session = session

    @property
    def unknown_namespaces(self) -> list[str]:
        """Namespaces that the server last asked does not have."""
        return sorted({self.places[at][0] for at, node in enumerate(self._nodes) if node is None})

    def read(self, answers: DataColumns, now_ms: int) -> ValueBatch:
        """The batch of a reading; `answers` in the order of `encoded`."""
        count = len(self.points)
        if len(answers) == len(self.places):
            everything = answers
        else:
            everything = DataColumns.blank(len(self.places), _MISSING_NODE)
            everything.values[self._sources] = answers.values
            everything.status[self._sources] = answers.status
            everything.source_ticks[self._sources] = answers.source_ticks
            everything.texts.update((int(self._sources[at]), text) for at, text in answers.texts.items())
        rows = DataColumns(
            everything.values[:count].copy(),
            everything.status[:count],
            everything.source_ticks[:count],
            {row: text for row, text in everything.texts.items() if row < count},
        )
        times = everything.values[count:].copy()
        times[everything.status[count:] >> _SEVERITY_SHIFT > 1] = np.nan
        batch = self._batch(rows, None, times, now_ms)
        self.freshness.check_frozen(batch)
        return batch

    def notified(
        self, changes: DataColumns, rows: npt.NDArray[np.intp], times: npt.NDArray[np.float64], now_ms: int
    ) -> ValueBatch:
        """The batch of a notification of some rows; `times` are the last known values of the time nodes."""
        return self._batch(changes, rows, times, now_ms)

    def recorded(self, changes: DataColumns, rows: npt.NDArray[np.intp]) -> ValueBatch:
        """The batch of values from the past, each with its own time; age does not count against them."""
        return self._batch(changes, rows, np.empty(0), 0, aged=False)

    def absent(self, rows: npt.NDArray[np.intp], status: int, now_ms: int) -> ValueBatch:
        """A batch that gives some rows a status and no value."""
        return self._batch(DataColumns.blank(len(rows), status), rows, np.full(self.time_nodes, np.nan), now_ms)

    @property
    def time_nodes(self) -> int:
        """How many nodes hold the time of others."""
        return len(self.places) - len(self.points)

    def _batch(
        self,
        data: DataColumns,
        rows: npt.NDArray[np.intp] | None,
        times: npt.NDArray[np.float64],
        now_ms: int,
        *,
        aged: bool = True,
    ) -> ValueBatch:
        status = _QUALITY_OF_SEVERITY[data.status >> _SEVERITY_SHIFT]
        status[data.status == NEVER_CAME] = Quality.MISSING
        observed_at, source = self._times(data, rows, times, now_ms, status)
        raw = data.values
        units = self.units if rows is None else self.units.select(rows)
        if self._conversions:
            which = self._conversion_of if rows is None else self._conversion_of[rows]
            for number, conversion in enumerate(self._conversions):
                here = np.flatnonzero(which == number)
                if len(here):
                    raw[here] = convert(conversion, raw[here])
        quality = units.finish(raw, status)
        texts = self._texts(data, rows, status, quality) or NO_TEXTS
        if aged:
            self.freshness.check_age(quality, observed_at, source, now_ms)
        points = self.points if rows is None else [self.points[row] for row in rows.tolist()]
        return ValueBatch(points, raw, quality, observed_at, source, texts)

    def _times(
        self,
        data: DataColumns,
        rows: npt.NDArray[np.intp] | None,
        times: npt.NDArray[np.float64],
        now_ms: int,
        status: npt.NDArray[np.uint8],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        # Half a millisecond is added after the division: at the ends of the range there is no room for it before.
        observed_at = (data.source_ticks // (TICKS_PER_MS // 2) + 1) // 2 - EPOCH_TICKS // TICKS_PER_MS
        if len(times):
            which = self._time_of if rows is None else self._time_of[rows]
            timed = np.flatnonzero(which >= 0)
            theirs = times[which[timed]]
            known = (theirs >= _EARLIEST_TIME_MS) & (theirs < _LATEST_TIME_MS)
            observed_at[timed] = np.where(known, np.where(known, theirs, 0), 0).astype(np.int64)
            # The product promises a time: without it nobody knows how old the value is.
            doubtful = timed[~known & (status[timed] == Quality.GOOD)]
            status[doubtful] = Quality.UNCERTAIN
        clocked = (observed_at >= _EARLIEST_TIME_MS) & (observed_at < _LATEST_TIME_MS)
        observed_at[~clocked] = now_ms
        return observed_at, np.where(clocked, TimeSource.DEVICE, TimeSource.OURS).astype(np.uint8)

    def _texts(
        self,
        data: DataColumns,
        rows: npt.NDArray[np.intp] | None,
        status: npt.NDArray[np.uint8],
        quality: npt.NDArray[np.uint8],
    ) -> dict[int, str]:
        """Texts of the rows that are texts; such a row without one is BAD, whatever number stands there."""
        is_text = self._is_text if rows is None else self._is_text[rows]
        texts: dict[int, str] = {}
        for row in np.flatnonzero(is_text).tolist():
            text = shown_text(data.texts.get(row))
            data.values[row] = np.nan
            if status[row] > Quality.UNCERTAIN:
                quality[row] = status[row]
            elif text is None:
                quality[row] = Quality.BAD
            else:
                quality[row] = status[row]
                texts[row] = text
        return texts


def overflows(status: npt.NDArray[np.uint32]) -> int:
    """How many of these values say that another one was lost before them."""
    return int(np.count_nonzero((status & _INFO_MASK) == _OVERFLOW))
