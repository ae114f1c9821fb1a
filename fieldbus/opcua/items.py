"""The monitored items of one session: as many subscriptions as the server's limits ask for, with deadbands where it has
them.

A server that refuses a deadband gets the item without: more notifications, but no value lost. What the notifications
mean is subscription.py's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from fieldbus.faults import ServiceFault
from fieldbus.opcua.columns import NodeColumns
from fieldbus.opcua.costs import publishing_interval_s, reported_cost
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.publisher import Handler
from fieldbus.opcua.pulse import Pulse
from fieldbus.opcua.session import Session, check_count, status_name
from fieldbus.opcua.transport import LeanClient
from fieldbus.profile import Deadband
from fieldbus.values import Counters
from fieldbus.vocabulary import PointType

_ITEMS_PER_REQUEST: Final = 1000
_ITEMS_PER_SUBSCRIPTION: Final = 1000
_FILTER_REFUSED: Final = frozenset(
    {
        StatusCodes.BadDeadbandFilterInvalid,
        StatusCodes.BadMonitoredItemFilterUnsupported,
        StatusCodes.BadMonitoredItemFilterInvalid,
        StatusCodes.BadFilterNotAllowed,
    }
)
_NO_ROOM: Final = frozenset({StatusCodes.BadTooManyMonitoredItems})
# A quantity is wanted as it is now; of a state that changes and changes back (a door, a failure) both are wanted.
_STATES: Final = frozenset({PointType.BOOLEAN, PointType.ENUM})
_QUEUE_OF_STATES: Final = 10

Rows = npt.NDArray[np.intp]


@dataclass(slots=True)
class Refused:
    """What the server did not take, by place."""

    absent: dict[int, int] = field(default_factory=dict)  # to the status given
    no_room: dict[int, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def by_status(self) -> Iterator[tuple[int, Rows]]:
        """Places that are absent, one column per status."""
        groups: dict[int, list[int]] = defaultdict(list)
        for place, status in self.absent.items():
            groups[status].append(place)
        for status, places in groups.items():
            yield status, np.array(places, dtype=np.intp)


class Items:
    """Items within one session. Made, used and thrown away with it."""

    def __init__(
        self, link: OpcUaLink, session: Session, counters: Counters, interval_s: float, handler: Handler
    ) -> None:
        self._link = link
        self._session = session
        self._counters = counters
        self._pulse = Pulse(link, session, counters, interval_s)
        self._handler = handler
        self._sampling_s = interval_s  # that costs the link nothing, and what changes and changes back is not missed
        self._reported_bytes = 0

    async def create(self, columns: NodeColumns, places: Rows) -> Refused:
        """Monitor the nodes at these places of the columns. Raises as `OpcUaLink.call`."""
        if self._link.budget is not None:
            self._reported_bytes = reported_cost(len(places))
            self._link.budget.reported_bytes += self._reported_bytes
        self._pulse.interval_s = publishing_interval_s(self._link.budget, self._sampling_s)
        refused = Refused()
        nodes = columns.nodes(self._session)
        known: list[int] = []
        for place in places.tolist():
            if nodes[place] is None:
                refused.absent[place] = StatusCodes.BadNodeIdUnknown
            else:
                known.append(place)
        limits = self._session.limits
        size = min(max(_ITEMS_PER_SUBSCRIPTION, -(-len(known) // limits.subscriptions)), limits.items_per_subscription)
        for start in range(0, len(known), size):
            try:
                subscription_id = await self._pulse.subscribe(self._handler)
            except ServiceFault as error:
                if error.status_code != StatusCodes.BadTooManySubscriptions:
                    raise
                refused.no_room.update(dict.fromkeys(known[start:], error.status_code))
                break
            await self._monitor(subscription_id, columns, known[start : start + size], refused)
        return refused

    async def until_lost(self) -> str:
        """Wait until the session, or a subscription in it, is gone or has gone silent, and say so."""
        return await self._pulse.until_lost()

    async def delete(self) -> None:
        """Give the subscriptions back to the server, if it is still there."""
        if self._link.budget is not None:
            self._link.budget.reported_bytes -= self._reported_bytes
            self._reported_bytes = 0
        await self._pulse.end()

    async def _monitor(self, subscription_id: int, columns: NodeColumns, places: list[int], refused: Refused) -> None:
        without_filter: list[int] = []
        filtered = True
        size = min(_ITEMS_PER_REQUEST, self._session.limits.items_per_call)
        queue = [places[start : start + size] for start in range(0, len(places), size)]
        while queue:
            part = queue.pop(0)
            request = ua.CreateMonitoredItemsParameters()
            request.SubscriptionId = ua.UInt32(subscription_id)
            request.TimestampsToReturn = ua.TimestampsToReturn.Source
            request.ItemsToCreate = [self._item(columns, place, filtered=filtered) for place in part]
            results = await self._link.call(self._session, self._counters, _creation(request))
            check_count(results, len(part))
            for place, result in zip(part, results, strict=True):
                code = int(result.StatusCode.value)
                if not result.StatusCode.is_bad():
                    continue
                if filtered and code in _FILTER_REFUSED and _deadband(columns, place) is not None:
                    without_filter.append(place)
                    refused.reasons.append(_without(columns, place, code))
                elif code in _NO_ROOM:
                    refused.no_room[place] = code
                else:
                    refused.absent[place] = code
            if not queue and without_filter:
                queue = [without_filter[start : start + size] for start in range(0, len(without_filter), size)]
                without_filter, filtered = [], False

    def _item(self, columns: NodeColumns, place: int, *, filtered: bool) -> ua.MonitoredItemCreateRequest:
        item = ua.MonitoredItemCreateRequest()
        item.ItemToMonitor = ua.ReadValueId(NodeId=columns.nodes(self._session)[place], AttributeId=AttributeIds.Value)
        item.MonitoringMode = ua.MonitoringMode.Reporting
        is_state = place < len(columns.points) and columns.bindings[place].point.type in _STATES
        item.RequestedParameters = ua.MonitoringParameters(
            ClientHandle=ua.UInt32(place + 1),
            SamplingInterval=self._sampling_s * 1000,
            QueueSize=ua.UInt32(_QUEUE_OF_STATES if is_state else 1),
            DiscardOldest=True,
        )
        deadband = _deadband(columns, place) if filtered else None
        if deadband is not None:
            item.RequestedParameters.Filter = _filter(deadband)
        return item


def _deadband(columns: NodeColumns, place: int) -> Deadband | None:
    node = columns.bindings[place].node if place < len(columns.points) else None
    return None if node is None else node.deadband


def _filter(deadband: Deadband) -> ua.DataChangeFilter:
    result = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValue)
    if deadband.percent is not None:
        result.DeadbandType, result.DeadbandValue = ua.UInt32(ua.DeadbandType.Percent), deadband.percent
    else:
        result.DeadbandType, result.DeadbandValue = ua.UInt32(ua.DeadbandType.Absolute), deadband.absolute or 0.0
    return result


def _without(columns: NodeColumns, place: int, code: int) -> str:
    return f"{columns.points[place]} is reported without deadband, the server refuses it: {status_name(code)}"


# Functions of their own, so that each call keeps its own parameters.


def _creation(
    items: ua.CreateMonitoredItemsParameters,
) -> Callable[[LeanClient], Awaitable[list[ua.MonitoredItemCreateResult]]]:
    return lambda client: client.services.create_monitored_items(items)
