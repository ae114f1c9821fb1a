"""A device on OPC UA: nodes by namespace URI, batched reads, the source's own time.

The session is link.py's, columns are columns.py's, commands write.py's, subscriptions
subscription.py's; history, alarms and browsing have files of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from domain.errors import InvalidInput, LichtbuchError
from fieldbus.commands import confirm, count_outcomes, drop_unchanged
from fieldbus.device import AlarmCallback, BrowsedNode, Limits, Subscription
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, OverBudget, ServiceFault
from fieldbus.opcua.alarms import AlarmWatch
from fieldbus.opcua.browse import Browsing, NodeValue, read_named
from fieldbus.opcua.columns import NEVER_CAME, NodeColumns
from fieldbus.opcua.costs import NODE_READ_BYTES, REQUEST_BYTES, least_interval_s, read_cost
from fieldbus.opcua.data import DataColumns
from fieldbus.opcua.history import HistoryRequest
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.session import TOO_MUCH_AT_ONCE, Session
from fieldbus.opcua.subscription import OpcUaSubscription
from fieldbus.opcua.transport import LeanClient
from fieldbus.opcua.write import OpcUaWriter
from fieldbus.profile import Profile
from fieldbus.raw import told
from fieldbus.url import Endpoint
from fieldbus.values import (
    BatchCallback,
    Counters,
    DeviceHealth,
    DeviceState,
    Identity,
    PointAddress,
    ValueBatch,
    WriteResult,
    unix_ms,
)

_PLANS_KEPT: Final = 64


class OpcUaDevice:
    """A server seen through a profile. Implements `fieldbus.device.Device`."""

    def __init__(
        self,
        link: OpcUaLink,
        endpoint: Endpoint,
        profile: Profile,
        limits: Limits,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        """`release` is called once, on close, to give the link back."""
        self.endpoint = endpoint
        self.profile = profile
        self.limits = limits
        self._link = link
        self._now = now
        self._monotonic = monotonic
        self._release = release
        self._counters = Counters()
        self._plans: dict[tuple[PointAddress, ...], NodeColumns] = {}
        self._nodes_per_read = profile.opcua.max_nodes_per_read
        self._writer = OpcUaWriter(link, profile, self._counters, self._answered, self._failed)
        self._subscriptions: list[OpcUaSubscription | AlarmWatch] = []
        self._answered_at: float | None = None
        self._last_error = ""
        self._over_budget = False
        self._failures = 0
        self._closed = False

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """See `Device.read`."""
        self._check_open()
        return await self._read_points(points if isinstance(points, tuple) else tuple(points))

    async def _read_points(self, points: tuple[PointAddress, ...], *, for_command: bool = False) -> ValueBatch:
        """What a command has to know before it goes is read whatever the link may carry."""
        columns = self._columns(points)
        deadline = self._monotonic() + self.limits.read_deadline_s
        try:
            if self._link.budget is not None and not for_command:
                self._link.reading(read_cost(columns.identifiers[: self._nodes_per_read]))
            session = await self._link.session()
            try:
                answers = await self._read(session, columns, deadline)
            except AnswerLost:
                # The server forgot the session (its time-out, a restart): a new one may be had at once.
                session = await self._link.session()
                answers = await self._read(session, columns, deadline)
        except OverBudget as error:
            self._held_back(error)
            return ValueBatch.missing(points, self._now())
        except (LinkDown, AnswerLost) as error:
            self._failed(error)
            return ValueBatch.missing(points, self._now())
        if columns.unknown_namespaces:
            self._last_error = f"the server has no namespace {', '.join(columns.unknown_namespaces)}"
        return columns.read(answers, unix_ms(self._now()))

    async def _read(self, session: Session, columns: NodeColumns, deadline: float) -> DataColumns:
        """Everything the columns ask for; NEVER_CAME where there was no answer. Raises AnswerLost only at the start."""
        nodes = columns.encoded(session)
        self._nodes_per_read = min(self._nodes_per_read, session.limits.nodes_per_read)
        parts: list[DataColumns] = []
        position = 0
        while position < len(nodes):
            if self._monotonic() > deadline:
                self._last_error = f"reading took longer than {self.limits.read_deadline_s:g} s"
                break
            part = nodes[position : position + self._nodes_per_read]
            try:
                if position:
                    self._link.reading(REQUEST_BYTES + len(part) * NODE_READ_BYTES)
                answer = await self._link.call(session, self._counters, _Reading(part))
            except ServiceFault as error:
                self._last_error = str(error)
                if error.status_code in TOO_MUCH_AT_ONCE and len(part) > 1:
                    self._nodes_per_read = len(part) // 2
                    self._counters.blocks_split += 1
                    continue
                answer = DataColumns.blank(len(part), NEVER_CAME)
            except AnswerLost as error:
                if not parts:
                    raise
                self._failed(error)
                break
            except OverBudget as error:
                self._held_back(error)
                break
            except (NoAnswer, Malformed) as error:
                self._failed(error)
                break
            else:
                self._answered()
            parts.append(answer)
            position += len(part)
        if position < len(nodes):
            parts.append(DataColumns.blank(len(nodes) - position, NEVER_CAME))
        return DataColumns.joined(parts)

    def _columns(self, points: tuple[PointAddress, ...]) -> NodeColumns:
        columns = self._plans.get(points)
        if columns is None:
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            columns = self._plans[points] = NodeColumns.of(self.profile, points)
        return columns

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(self, writes: Sequence[tuple[PointAddress, float]], verify: bool = True) -> list[WriteResult]:
        """See `Device.write`."""
        self._check_open()
        deadline = self._monotonic() + self.limits.write_deadline_s
        results: dict[int, WriteResult] = {}
        failures: set[int] = set()
        commands = self._writer.prepare(writes, results)
        commands = await drop_unchanged(commands, results, partial(self._read_points, for_command=True))
        commands.sort(key=lambda command: command.rank)
        sent = await self._writer.send(commands, results, failures, deadline)
        if verify:
            await confirm(sent, results, self.read, self.limits, self._monotonic, self.profile, failures)
        count_outcomes(self._counters, results)
        return [results[row] for row in range(len(writes))]

    # --- subscribing, the device itself ---------------------------------------------------------------------------

    async def subscribe(
        self, points: Sequence[PointAddress], callback: BatchCallback, *, interval_s: float | None = None
    ) -> Subscription:
        """See `Device.subscribe`: the server reports changes with its own time."""
        self._check_open()
        subscription = OpcUaSubscription(
            self._link,
            NodeColumns.of(self.profile, tuple(points)),
            callback,
            self._counters,
            self._now,
            self.limits.poll_interval_s if interval_s is None else interval_s,
            self._noticed,
            self._answered,
        )
        self._keep(subscription)
        return subscription

    async def watch_alarms(self, callback: AlarmCallback) -> Subscription:
        """See `AlarmSource.watch_alarms`: events of the server's own notifier."""
        self._check_open()
        watch = AlarmWatch(
            self._link,
            self.profile,
            callback,
            self._counters,
            self._now,
            self.limits.poll_interval_s,
            self._noticed,
            self._answered,
        )
        self._keep(watch)
        return watch

    async def history(self, points: Sequence[PointAddress], start: datetime, end: datetime) -> list[ValueBatch]:
        """See `HistoryReader.history`. FailedPrecondition when none of the points has a history on the server."""
        self._check_open()
        request = HistoryRequest(self._link, NodeColumns.of(self.profile, tuple(points)), self._counters, start, end)
        batches = await request.run()
        for row, reason in request.without.items():
            self._noticed(f"no history of {points[row]}: {reason}")
        return batches

    async def browse(self, node: str = "", *, depth: int = 1, limit: int = 1000) -> list[BrowsedNode]:
        """See `Browser.browse`; at most `limit` nodes."""
        self._check_open()
        return await Browsing(self._link, self._counters, limit).run(node, depth)

    async def read_nodes(self, names: Sequence[str]) -> list[NodeValue]:
        """Nodes by name ("nsu=URI;s=..."), whatever the profile says. Raises InvalidInput for a name that is none, and
        Unavailable or TimedOut when the server does not answer."""
        self._check_open()
        return await read_named(self._link, self._counters, names)

    def least_interval_s(self, points: Sequence[PointAddress]) -> float:
        """See `Device.least_interval_s`."""
        identifiers = self._columns(tuple(points)).identifiers
        return least_interval_s(self._link.budget, identifiers, -(-len(identifiers) // self._nodes_per_read))

    def health(self) -> DeviceHealth:
        """See `Device.health`."""
        if self._closed:
            state = DeviceState.CLOSED
        elif self._link.not_simulator:
            state = DeviceState.REFUSED
        elif self._failures or self._link.backoff.failures:
            state = DeviceState.BACKING_OFF
        else:
            state = DeviceState.UNTRIED if self._answered_at is None else DeviceState.ONLINE
        return DeviceHealth(
            state=state,
            consecutive_failures=max(self._failures, self._link.backoff.failures),
            last_error=self._last_error,
            seconds_since_answer=None if self._answered_at is None else self._monotonic() - self._answered_at,
            seconds_to_next_attempt=self._link.backoff.remaining_s,
            counters=replace(self._counters),
            over_budget=self._over_budget,
        )

    async def identify(self) -> Identity:
        """See `Device.identify`: the server's BuildInfo."""
        self._check_open()
        if not self._link.connected:
            self._link.reading(REQUEST_BYTES)
        return (await self._link.session()).identity

    async def close(self) -> None:
        """See `Device.close`."""
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.cancel()
        await self._release()

    def _keep(self, subscription: OpcUaSubscription | AlarmWatch) -> None:
        self._subscriptions = [other for other in self._subscriptions if not other.cancelled]
        self._subscriptions.append(subscription)

    def _noticed(self, reason: str) -> None:
        self._last_error = told(reason)

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInput.of("device", f"{self.endpoint} was closed")

    def _answered(self) -> None:
        self._failures = 0
        self._over_budget = False
        self._answered_at = self._monotonic()

    def _held_back(self, error: OverBudget) -> None:
        self._over_budget = True
        self._last_error = str(error)

    def _failed(self, error: LichtbuchError) -> None:
        self._over_budget = False
        self._failures += 1
        self._last_error = told(str(error))


class _Reading:
    """A read of nodes that are encoded already. A class rather than a closure: it is made for every request."""

    __slots__ = ("_nodes",)

    def __init__(self, nodes: tuple[bytes, ...]) -> None:
        self._nodes = nodes

    def __call__(self, client: LeanClient) -> Awaitable[DataColumns]:
        return client.read_columns(self._nodes)
