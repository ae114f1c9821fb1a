"""Events of an OPC UA server as alarms: those that stand when we come (or come back), then every change.

Fields follow OPC 10000-9 (alarms and conditions); plain events of OPC 10000-5 come too, as alarms without condition.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from domain.errors import FailedPrecondition
from fieldbus.device import Alarm, AlarmCallback
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.opcua.costs import REQUEST_BYTES
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.nodes import node_name
from fieldbus.opcua.pulse import Pulse, Renewal
from fieldbus.opcua.session import Session, check_count, status_name
from fieldbus.opcua.transport import LeanClient
from fieldbus.opcua.wire import Published
from fieldbus.profile import Profile
from fieldbus.raw import told
from fieldbus.tasks import end
from fieldbus.values import Counters, PointAddress
from fieldbus.vocabulary import GEAR_PER_LINE, GROUPS_PER_LINE

_LOGGER = logging.getLogger(__name__)
_EVENT_QUEUE: Final = 1000
_LONGEST_NAME: Final = 1000  # of a condition: it is what its reports are told by
_REFRESH_PAUSE_S: Final = 1.0  # between two refreshes, however often the server asks for one
_HIGHEST_SEVERITY: Final = 1000
_MOST_DIGITS: Final = 9  # of an index in the name of a node
_FIRST_YEAR, _YEAR_AFTER = 2000, 2100  # of clocks that can be right
_MOST_STANDING: Final = 10_000  # alarms remembered; a server that invents conditions must not fill our memory

# What is asked of every event: the type that declares the field, and the path to it. No path: the condition's own id.
_FIELDS: Final = (
    ("type", ObjectIds.BaseEventType, ("EventType",)),
    ("source_name", ObjectIds.BaseEventType, ("SourceName",)),
    ("source_node", ObjectIds.BaseEventType, ("SourceNode",)),
    ("time", ObjectIds.BaseEventType, ("Time",)),
    ("message", ObjectIds.BaseEventType, ("Message",)),
    ("severity", ObjectIds.BaseEventType, ("Severity",)),
    ("condition", ObjectIds.ConditionType, ()),
    ("name", ObjectIds.ConditionType, ("ConditionName",)),
    ("retain", ObjectIds.ConditionType, ("Retain",)),
    ("acknowledged", ObjectIds.AcknowledgeableConditionType, ("AckedState", "Id")),
    ("active", ObjectIds.AlarmConditionType, ("ActiveState", "Id")),
)
_SERVER: Final = ua.NodeId(ua.Int32(ObjectIds.Server))


class AlarmWatch:
    """Runs until cancelled, over whatever sessions the link has."""

    def __init__(
        self,
        link: OpcUaLink,
        profile: Profile,
        callback: AlarmCallback,
        counters: Counters,
        now: Callable[[], datetime],
        interval_s: float,
        noticed: Callable[[str], None],
        answered: Callable[[], None],
    ) -> None:
        self.cancelled = False
        self._link = link
        self._points = PointFinder(profile)
        self._callback = callback
        self._counters = counters
        self._now = now
        self._interval_s = interval_s
        self._noticed = noticed
        self._answered = answered
        self._standing: dict[str, Alarm] = {}
        self._refreshed: set[str] | None = None
        self._refresh_wanted = asyncio.Event()
        self._renewal = Renewal(link)
        self._task = asyncio.create_task(self._run(), name="fieldbus OPC UA alarms")

    async def cancel(self) -> None:
        """Stop it; no callback comes after this returns."""
        self.cancelled = True
        await end(self._task)

    async def _run(self) -> None:
        while True:
            had_session = True
            try:
                if not self._link.connected:
                    self._link.reading(REQUEST_BYTES)
                session = await self._link.session()
                pulse = Pulse(self._link, session, self._counters, self._interval_s)
                try:
                    await self._watch(session, pulse)
                finally:
                    await pulse.end()
            except FailedPrecondition as error:
                _LOGGER.warning("watching alarms ended: %s", error)
                return
            except (LinkDown, NoAnswer, AnswerLost, Malformed, ServiceFault) as error:
                self._noticed(f"alarms are not watched: {error}")
                had_session = not isinstance(error, LinkDown)
            except Exception as error:  # nothing that a server says may end the watch without a word
                _LOGGER.exception("alarms could not be watched")
                self._noticed(f"alarms are not watched: {error!r}")
            await self._renewal.pause(had_session=had_session)

    async def _watch(self, session: Session, pulse: Pulse) -> None:
        """Watch until the session or the subscription is lost. Raises as `OpcUaLink.call`."""
        self._refreshed = None
        subscription_id = await pulse.subscribe(lambda answer: self._published(session, answer))
        await self._monitor(session, subscription_id)
        self._renewal.made()
        self._answered()
        reason = ""
        loop = asyncio.get_running_loop()
        while not reason:
            refreshed_at = loop.time()
            await self._refresh(session, subscription_id)
            reason = await pulse.until_lost(self._refresh_wanted)
            if not reason:
                await asyncio.sleep(max(0.0, refreshed_at + _REFRESH_PAUSE_S - loop.time()))
        self._noticed(f"alarms were not watched for a while: {reason}")

    async def _monitor(self, session: Session, subscription_id: int) -> None:
        items = ua.CreateMonitoredItemsParameters()
        items.SubscriptionId = ua.UInt32(subscription_id)
        items.TimestampsToReturn = ua.TimestampsToReturn.Source
        items.ItemsToCreate = [_event_item()]
        results = await self._link.call(session, self._counters, _creation(items))
        check_count(results, 1)
        (created,) = results
        if created.StatusCode.is_bad():
            raise ServiceFault(int(created.StatusCode.value), status_name(int(created.StatusCode.value)))

    async def _refresh(self, session: Session, subscription_id: int) -> None:
        """Have the standing alarms sent once more. A server that cannot do that still sends the coming ones."""
        self._refresh_wanted.clear()
        call = ua.CallMethodRequest(
            ObjectId=ua.NodeId(ua.Int32(ObjectIds.ConditionType)),
            MethodId=ua.NodeId(ua.Int32(ObjectIds.ConditionType_ConditionRefresh)),
            InputArguments=[ua.Variant(subscription_id, ua.VariantType.UInt32)],
        )
        try:
            results = await self._link.call(session, self._counters, _calling(call))
        except ServiceFault as error:
            self._noticed(f"alarms that stand already are not told: {error}")
            return
        check_count(results, 1)
        (answer,) = results
        if answer.StatusCode.is_bad():
            self._noticed(f"alarms that stand already are not told: {status_name(int(answer.StatusCode.value))}")

    def _published(self, session: Session, answer: Published) -> None:
        self._link.account(self._counters)
        self._answered()
        for other in answer.others:
            if isinstance(other, ua.EventNotificationList):
                for event in other.Events or ():
                    self._event(session, [variant.Value for variant in event.EventFields or ()])

    def _event(self, session: Session, values: list[Any]) -> None:
        fields = dict(zip((name for name, _, _ in _FIELDS), values, strict=False))
        kind = fields.get("type")
        identifier = kind.Identifier if isinstance(kind, ua.NodeId) and kind.NamespaceIndex == 0 else None
        if identifier == ObjectIds.RefreshStartEventType:
            self._refreshed = set()
        elif identifier == ObjectIds.RefreshEndEventType:
            self._refresh_ended()
        elif identifier == ObjectIds.RefreshRequiredEventType:
            self._refresh_wanted.set()
        else:
            self._report(self._alarm(session, fields))

    def _alarm(self, session: Session, fields: dict[str, Any]) -> Alarm:
        condition = fields.get("condition")
        name_of_condition = ""
        if isinstance(condition, ua.NodeId) and not condition.is_null():
            name_of_condition = told(str(node_name(condition, session.uris)), _LONGEST_NAME)
        node = fields.get("source_node")
        name = node_name(node, session.uris) if isinstance(node, ua.NodeId) else None
        message = fields.get("message")
        time = fields.get("time")
        active = fields.get("active")
        if active is None:
            active = bool(fields.get("retain")) if name_of_condition else True
        return Alarm(
            source=told(fields.get("source_name")) or told(str(name or "")),
            severity=_severity(fields.get("severity")),
            message=told(message.Text if isinstance(message, ua.LocalizedText) else message),
            active=bool(active),
            acknowledged=bool(fields.get("acknowledged") or False),
            at=_instant(time) or self._now(),
            point=None if name is None else self._points.find(name.namespace, name.identifier),
            condition=name_of_condition,
        )

    def _report(self, alarm: Alarm) -> None:
        if alarm.condition:
            if self._refreshed is not None and len(self._refreshed) < _MOST_STANDING:
                self._refreshed.add(alarm.condition)
            if self._standing.get(alarm.condition) == alarm:
                return
            self._standing.pop(alarm.condition, None)
            if alarm.active and len(self._standing) < _MOST_STANDING:
                self._standing[alarm.condition] = alarm
        if not self.cancelled:
            self._callback(alarm)

    def _refresh_ended(self) -> None:
        """What stood before and is not among those that stand now went away while we could not hear it."""
        told, self._refreshed = self._refreshed, None
        if told is None:
            return
        for condition in [condition for condition in self._standing if condition not in told]:
            gone = self._standing.pop(condition)
            if not self.cancelled:
                self._callback(replace(gone, active=False, at=self._now()))


class PointFinder:
    """Which point of a profile a node is."""

    def __init__(self, profile: Profile) -> None:
        self._patterns = [
            (binding.node.namespace, _pattern(binding.node.node), name, binding.index_range)
            for name, binding in profile.points.items()
            if binding.node is not None and binding.node.node
        ]

    def find(self, namespace: str, identifier: str) -> PointAddress | None:
        """The point, None where the profile has none for the node."""
        for uri, pattern, name, index_range in self._patterns:
            match = pattern.fullmatch(identifier) if uri == namespace else None
            if match is None:
                continue
            index = _index({key: int(value) for key, value in match.groupdict().items()})
            if index is None or index_range is None:
                fits = index is None and index_range is None
            else:
                fits = index_range[0] <= index <= index_range[1]
            if fits:
                return PointAddress(name, index)
        return None


def _pattern(node: str) -> re.Pattern[str]:
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[0-9]{{1,{_MOST_DIGITS}}})"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", group, re.escape(node)))


def _index(variables: dict[str, int]) -> int | None:
    if not variables:
        return None
    if "gear" in variables:
        return variables.get("line", 0) * GEAR_PER_LINE + variables["gear"]
    if "group" in variables:
        return variables.get("line", 0) * GROUPS_PER_LINE + variables["group"]
    return next(iter(variables.values()))


def _severity(said: Any) -> int:
    return max(0, min(said, _HIGHEST_SEVERITY)) if isinstance(said, int) else 0


def _instant(said: Any) -> datetime | None:
    """A time that a clock may show; None for those that were never set."""
    if not isinstance(said, datetime) or not _FIRST_YEAR <= said.year < _YEAR_AFTER:
        return None
    return said if said.tzinfo is not None else said.replace(tzinfo=UTC)


def _event_item() -> ua.MonitoredItemCreateRequest:
    selected = ua.EventFilter()
    for _, declared_by, path in _FIELDS:
        operand = ua.SimpleAttributeOperand()
        operand.TypeDefinitionId = ua.NodeId(ua.Int32(declared_by))
        operand.BrowsePath = [ua.QualifiedName(name, ua.UInt16(0)) for name in path]
        operand.AttributeId = ua.UInt32(AttributeIds.Value if path else AttributeIds.NodeId)
        selected.SelectClauses.append(operand)
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor = ua.ReadValueId(NodeId=_SERVER, AttributeId=AttributeIds.EventNotifier)
    item.MonitoringMode = ua.MonitoringMode.Reporting
    item.RequestedParameters = ua.MonitoringParameters(
        ClientHandle=ua.UInt32(1), SamplingInterval=0, Filter=selected, QueueSize=ua.UInt32(_EVENT_QUEUE)
    )
    return item


# Functions of their own, so that each call keeps its own parameters.


def _creation(
    items: ua.CreateMonitoredItemsParameters,
) -> Callable[[LeanClient], Awaitable[list[ua.MonitoredItemCreateResult]]]:
    return lambda client: client.services.create_monitored_items(items)


def _calling(request: ua.CallMethodRequest) -> Callable[[LeanClient], Awaitable[list[ua.CallMethodResult]]]:
    return lambda client: client.services.call([request])
