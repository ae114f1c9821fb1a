"""From OPC UA data values to columns: status to quality, source time to observed time, raw numbers to units.

Pure but for asyncua's types; requests are opcua.py's, notifications opcua_subscription.py's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from asyncua import ua

from domain.errors import InvalidInput
from fieldbus.codec import UnitColumns, convert
from fieldbus.formula import index_variables
from fieldbus.opcua_link import Session
from fieldbus.profile import Conversion, NodePlace, Profile
from fieldbus.values import PointAddress, Quality, TimeSource, ValueBatch

# The two highest bits of a status code: good, uncertain, bad, reserved (OPC 10000-4, 7.39).
_QUALITY_OF_SEVERITY: Final = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)
_SEVERITY_SHIFT: Final = 30
_NOT_A_NUMBER: Final = float("nan")
_EARLIEST_TIME_MS: Final = 946_684_800_000  # 2000-01-01: clocks that were never set are no clocks


@dataclass(slots=True)
class NodeColumns:
    """The rows of one list of points."""

    points: tuple[PointAddress, ...]
    places: list[NodePlace]
    units: UnitColumns
    conversions: list[tuple[Conversion, npt.NDArray[np.intp]]]
    max_age_ms: float | None
    _nodes: list[ua.NodeId | None] = field(default_factory=list)
    _generation: int = 0

    @classmethod
    def of(cls, profile: Profile, points: tuple[PointAddress, ...]) -> NodeColumns:
        """Raises InvalidInput for points that the profile does not have or that can only be written."""
        bindings = [profile.binding(address) for address in points]
        places: list[NodePlace] = []
        rows: dict[Conversion, list[int]] = defaultdict(list)
        for row, (binding, address) in enumerate(zip(bindings, points, strict=True)):
            if binding.node is None:
                raise InvalidInput.of("point", f"{address} has no node in profile {profile.name}")
            variables = index_variables(binding.scope, address.index)
            node = binding.node.node.format(**variables) if variables else binding.node.node
            places.append(NodePlace(binding.node.namespace, node, binding.node.variant))
            if not binding.conversion.is_linear:
                rows[binding.conversion].append(row)
        age = profile.opcua.max_age_s
        return cls(
            points=points,
            places=places,
            units=UnitColumns.of(bindings),
            conversions=[(conversion, np.array(where, dtype=np.intp)) for conversion, where in rows.items()],
            max_age_ms=None if age is None else age * 1000,
        )

    def nodes(self, session: Session) -> list[ua.NodeId | None]:
        """Node ids on this server; None where it does not know the namespace."""
        if self._generation != session.generation:
            self._nodes = [_node_id(place, session.namespaces) for place in self.places]
            self._generation = session.generation
        return self._nodes

    def batch(
        self,
        answers: Sequence[ua.DataValue | None],
        now_ms: int,
        absent: Sequence[int] = (),
        rows: npt.NDArray[np.intp] | None = None,
    ) -> ValueBatch:
        """Values of all rows, or of `rows` only (answers given in that order). None is a missing answer."""
        count = len(answers)
        raw = np.empty(count)
        quality = np.empty(count, dtype=np.uint8)
        observed_at = np.full(count, now_ms, dtype=np.int64)
        source = np.full(count, TimeSource.OURS, dtype=np.uint8)
        for position, answer in enumerate(answers):
            if answer is None:
                raw[position] = _NOT_A_NUMBER
                quality[position] = Quality.MISSING
                continue
            status = answer.StatusCode
            quality[position] = _QUALITY_OF_SEVERITY[status.value >> _SEVERITY_SHIFT if status is not None else 0]
            variant = answer.Value
            value = variant.Value if variant is not None else None
            raw[position] = value if isinstance(value, float | int) else _NOT_A_NUMBER
            stamp = answer.SourceTimestamp
            if stamp is not None:
                milliseconds = round(stamp.timestamp() * 1000)
                if milliseconds >= _EARLIEST_TIME_MS:
                    observed_at[position] = milliseconds
                    source[position] = TimeSource.DEVICE
        quality[list(absent)] = Quality.BAD
        units = self.units if rows is None else self.units.select(rows)
        for conversion, where in self.conversions:
            here = where if rows is None else np.flatnonzero(np.isin(rows, where))
            raw[here] = convert(conversion, raw[here])
        quality = units.finish(raw, quality)
        if self.max_age_ms is not None:
            stale = (source == TimeSource.DEVICE) & (now_ms - observed_at > self.max_age_ms)
            quality[stale & (quality == Quality.GOOD)] = Quality.UNCERTAIN
        points = self.points if rows is None else [self.points[int(row)] for row in rows]
        return ValueBatch(points, raw, quality, observed_at, source)


def _node_id(place: NodePlace, namespaces: dict[str, int]) -> ua.NodeId | None:
    index = namespaces.get(place.namespace)
    if index is None:
        return None
    kind, _, identifier = place.node.partition("=")
    if kind == "i":
        return ua.NodeId(ua.Int32(identifier), ua.Int16(index))
    return ua.NodeId(ua.String(identifier), ua.Int16(index), ua.NodeIdType.String)
