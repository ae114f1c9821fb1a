"""A device on OPC UA: nodes by namespace URI, batched reads and writes, the source's own time.

The session is opcua_link.py's, subscriptions are opcua_subscription.py's, wear protection and confirmation
commands.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from domain.errors import InvalidInput, LichtbuchError, OutOfLimits
from fieldbus.codec import quantise
from fieldbus.commands import Command, confirm, count_outcomes, drop_unchanged
from fieldbus.device import Limits, Subscription
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.opcua_columns import NodeColumns
from fieldbus.opcua_link import OpcUaLink, Session, status_name
from fieldbus.opcua_subscription import OpcUaSubscription
from fieldbus.point_loader import VARIANT_TYPES
from fieldbus.profile import PointBinding, Profile
from fieldbus.url import Endpoint
from fieldbus.values import (
    BatchCallback,
    Counters,
    DeviceHealth,
    DeviceState,
    Identity,
    PointAddress,
    ValueBatch,
    WriteOutcome,
    WriteResult,
    unix_ms,
)

_PLANS_KEPT: Final = 64
_TOO_MUCH_AT_ONCE: Final = frozenset(
    {
        StatusCodes.BadTooManyOperations,
        StatusCodes.BadEncodingLimitsExceeded,
        StatusCodes.BadResponseTooLarge,
        StatusCodes.BadRequestTooLarge,
        StatusCodes.BadTcpMessageTooLarge,
    }
)
_VARIANTS: Final = {
    "boolean": ua.VariantType.Boolean,
    "sbyte": ua.VariantType.SByte,
    "byte": ua.VariantType.Byte,
    "int16": ua.VariantType.Int16,
    "uint16": ua.VariantType.UInt16,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "int64": ua.VariantType.Int64,
    "uint64": ua.VariantType.UInt64,
    "float": ua.VariantType.Float,
    "double": ua.VariantType.Double,
}


@dataclass(frozen=True, slots=True)
class NodeCommand(Command):
    """A command with the raw number that carries it."""

    number: float | int


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
        self._nodes_per_write = profile.opcua.max_nodes_per_write
        self._subscriptions: list[OpcUaSubscription] = []
        self._answered_at: float | None = None
        self._last_error = ""
        self._failures = 0
        self._closed = False

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(self, points: Sequence[PointAddress]) -> ValueBatch:
        """See `Device.read`."""
        self._check_open()
        points = points if isinstance(points, tuple) else tuple(points)
        columns = self._columns(points)
        try:
            session = await self._link.session()
        except LinkDown as error:
            self._failed(error)
            return ValueBatch.missing(points, self._now())
        answers: list[ua.DataValue | None] = [None] * len(points)
        nodes = columns.nodes(session)
        deadline = self._monotonic() + self.limits.read_deadline_s
        rows = [row for row, node in enumerate(nodes) if node is not None]
        position = 0
        while position < len(rows):
            if self._monotonic() > deadline:
                self._last_error = f"reading took longer than {self.limits.read_deadline_s:g} s"
                break
            part = rows[position : position + self._nodes_per_read]
            try:
                values = await self._read_nodes(session, [nodes[row] for row in part])
            except ServiceFault as error:
                self._last_error = str(error)
                if error.status_code in _TOO_MUCH_AT_ONCE and len(part) > 1:
                    self._nodes_per_read = len(part) // 2
                    self._counters.blocks_split += 1
                    continue
                position += len(part)
                continue
            except (NoAnswer, AnswerLost, Malformed) as error:
                self._failed(error)
                break
            self._answered()
            for row, value in zip(part, values, strict=True):
                answers[row] = value
            position += len(part)
        absent = [row for row, node in enumerate(nodes) if node is None]
        if absent:
            self._last_error = f"the server has no namespace {columns.places[absent[0]].namespace}"
        return columns.batch(answers, unix_ms(self._now()), absent)

    async def _read_nodes(self, session: Session, nodes: list[ua.NodeId | None]) -> list[ua.DataValue]:
        parameters = ua.ReadParameters()
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes]
        values = await self._link.call(session, self._counters, lambda services: services.read(parameters))
        if len(values) != len(nodes):
            self._counters.discarded += 1
            raise Malformed(f"{len(values)} values came for {len(nodes)} nodes")
        return values

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
        results: dict[int, WriteResult] = {}
        commands = self._prepare(writes, results)
        commands = await drop_unchanged(commands, results, self.read)
        accepted = await self._send(sorted(commands, key=lambda command: command.rank), results)
        if verify:
            await confirm(accepted, results, self.read, self.limits, self._monotonic)
        count_outcomes(self._counters, results)
        return [results[row] for row in range(len(writes))]

    def _prepare(
        self, writes: Sequence[tuple[PointAddress, float]], results: dict[int, WriteResult]
    ) -> list[NodeCommand]:
        commands: list[NodeCommand] = []
        seen: set[PointAddress] = set()
        for row, (address, value) in enumerate(writes):
            binding = self.profile.binding(address)
            if address in seen:
                raise InvalidInput.of("writes", f"{address} is commanded twice")
            seen.add(address)
            if not binding.direction.writable or binding.node is None:
                results[row] = WriteResult(address, WriteOutcome.REFUSED, "can only be read")
                continue
            try:
                raw = quantise(binding, value, *VARIANT_TYPES[binding.node.variant])
            except OutOfLimits as error:
                results[row] = WriteResult(address, WriteOutcome.REFUSED, str(error))
                continue
            commands.append(NodeCommand(row, address, binding, raw.value, raw.number))
        return commands

    async def _send(self, commands: list[NodeCommand], results: dict[int, WriteResult]) -> list[NodeCommand]:
        accepted: list[NodeCommand] = []
        queue = _by_rank(commands, self._nodes_per_write)
        while queue:
            part = queue.pop(0)
            try:
                session = await self._link.session()
                statuses = await self._write_nodes(session, part)
            except LinkDown as error:
                self._failed(error)
                for command in (command for rest in (part, *queue) for command in rest):
                    results[command.row] = command.not_sent(str(error))
                break
            except ServiceFault as error:
                if error.status_code in _TOO_MUCH_AT_ONCE and len(part) > 1:
                    self._nodes_per_write = len(part) // 2
                    queue[:0] = _by_rank(part, self._nodes_per_write)
                    continue
                for command in part:
                    results[command.row] = command.result(WriteOutcome.REFUSED, str(error))
                continue
            except (NoAnswer, AnswerLost, Malformed) as error:
                self._failed(error)
                for command in part:
                    results[command.row] = command.result(WriteOutcome.UNKNOWN, str(error))
                for command in (command for rest in queue for command in rest):
                    results[command.row] = command.not_sent(str(error))
                break
            self._answered()
            for command, status in zip(part, statuses, strict=True):
                if status.is_bad():
                    results[command.row] = command.result(WriteOutcome.REFUSED, status_name(status.value))
                else:
                    results[command.row] = command.result(WriteOutcome.ACCEPTED)
                    accepted.append(command)
        return accepted

    async def _write_nodes(self, session: Session, commands: list[NodeCommand]) -> list[ua.StatusCode]:
        bindings = [command.binding for command in commands]
        columns = NodeColumns.of(self.profile, tuple(command.address for command in commands))
        nodes = columns.nodes(session)
        parameters = ua.WriteParameters()
        sent: list[int] = []
        for position, (command, node) in enumerate(zip(commands, nodes, strict=True)):
            if node is None:
                continue
            variant = ua.Variant(command.number, _variant_type(bindings[position]))
            # Without time stamps: many servers refuse to take ours.
            parameters.NodesToWrite.append(
                ua.WriteValue(NodeId=node, AttributeId=AttributeIds.Value, Value=ua.DataValue(variant))
            )
            sent.append(position)
        statuses = [ua.StatusCode(ua.UInt32(StatusCodes.BadNodeIdUnknown))] * len(commands)
        if sent:
            self._counters.writes_sent += 1
            answers = await self._link.call(session, self._counters, lambda services: services.write(parameters))
            if len(answers) != len(sent):
                self._counters.discarded += 1
                raise Malformed(f"{len(answers)} results came for {len(sent)} writes")
            for position, status in zip(sent, answers, strict=True):
                statuses[position] = status
        return statuses

    # --- subscribing, the device itself ---------------------------------------------------------------------------

    async def subscribe(
        self, points: Sequence[PointAddress], callback: BatchCallback, *, interval_s: float | None = None
    ) -> Subscription:
        """See `Device.subscribe`: the server reports changes with its own time."""
        self._check_open()
        subscription = OpcUaSubscription(
            self._link,
            self._columns(tuple(points)),
            callback,
            self._counters,
            self._now,
            self.limits.poll_interval_s if interval_s is None else interval_s,
        )
        self._subscriptions.append(subscription)
        return subscription

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
        )

    async def identify(self) -> Identity:
        """See `Device.identify`: the server's BuildInfo."""
        self._check_open()
        return (await self._link.session()).identity

    async def close(self) -> None:
        """See `Device.close`."""
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.cancel()
        await self._release()

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidInput.of("device", f"{self.endpoint} was closed")

    def _answered(self) -> None:
        self._failures = 0
        self._answered_at = self._monotonic()

    def _failed(self, error: LichtbuchError) -> None:
        self._failures += 1
        self._last_error = str(error)


def _by_rank(commands: list[NodeCommand], size: int) -> list[list[NodeCommand]]:
    """Parts of at most `size` commands, none mixing broadcasts with single ones."""
    parts: list[list[NodeCommand]] = []
    for command in commands:
        if parts and parts[-1][0].rank == command.rank and len(parts[-1]) < size:
            parts[-1].append(command)
        else:
            parts.append([command])
    return parts


def _variant_type(binding: PointBinding) -> ua.VariantType:
    assert binding.node is not None
    return _VARIANTS[binding.node.variant]
