"""Commands on OPC UA: written to a variable, or by calling the method that the profile names.

What commands have in common on every protocol (wear protection, confirmation) is commands.py's; reading is device.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from domain.errors import InvalidInput, LichtbuchError, OutOfLimits
from fieldbus.codec import quantise
from fieldbus.commands import Command
from fieldbus.faults import AnswerLost, LinkDown, Malformed, NoAnswer, ServiceFault
from fieldbus.format.formula import index_variables
from fieldbus.format.points import VARIANT_TYPES
from fieldbus.opcua.link import OpcUaLink
from fieldbus.opcua.nodes import node_id
from fieldbus.opcua.session import TOO_MUCH_AT_ONCE, Session, SessionGone, status_name
from fieldbus.opcua.transport import LeanClient
from fieldbus.profile import MethodCall, NodePlace, Profile
from fieldbus.values import Counters, PointAddress, WriteOutcome, WriteResult

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
    "string": ua.VariantType.String,
}
# A server may say so half-way, or after what it says it of took effect: only reading back can tell.
_PERHAPS_DONE: Final = frozenset(
    {
        StatusCodes.BadUnexpectedError,
        StatusCodes.BadInternalError,
        StatusCodes.BadCommunicationError,
        StatusCodes.BadTimeout,
        StatusCodes.BadNoCommunication,
        StatusCodes.BadDeviceFailure,
        StatusCodes.BadOperationAbandoned,
    }
)
_FLOATS: Final = frozenset({"float", "double"})
_METHODS_PER_CALL: Final = 50
Answer = Sequence[tuple[int, str]]  # per command: status code, and what the server says about it


@dataclass(frozen=True, slots=True)
class NodeCommand(Command):
    """A command with the raw number that carries it."""

    number: float | int

    @property
    def place(self) -> NodePlace:
        """Where it goes."""
        assert self.binding.node is not None
        return self.binding.node


class OpcUaWriter:
    """Sends the commands of one device. `answered` and `failed` hear how the server did."""

    def __init__(
        self,
        link: OpcUaLink,
        profile: Profile,
        counters: Counters,
        answered: Callable[[], None],
        failed: Callable[[LichtbuchError], None],
    ) -> None:
        self._link = link
        self._profile = profile
        self._counters = counters
        self._answered = answered
        self._failed = failed
        self._nodes_per_write = profile.opcua.max_nodes_per_write
        self._methods_per_call = _METHODS_PER_CALL

    def prepare(
        self, writes: Sequence[tuple[PointAddress, float]], results: dict[int, WriteResult]
    ) -> list[NodeCommand]:
        """The commands that may go out; `results` gets those that may not. Raises InvalidInput."""
        commands: list[NodeCommand] = []
        seen: set[PointAddress] = set()
        for row, (address, value) in enumerate(writes):
            binding = self._profile.binding(address)
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

    async def send(
        self, commands: list[NodeCommand], results: dict[int, WriteResult], failures: set[int], deadline: float
    ) -> list[NodeCommand]:
        """Send commands in this order, as many at a time as may go together, until the deadline. Returned are those
        whose effect is worth looking for; in `failures` the rows of those with which the server says that it failed,
        perhaps half-way."""
        seen: list[NodeCommand] = []
        link = self._link
        queue = list(self._parts(commands))
        while queue:
            if link.monotonic() >= deadline:
                _not_sent(queue, f"writing took longer than {link.limits.write_deadline_s:g} s", results)
                break
            part = queue.pop(0)
            by_method = part[0].place.method is not None
            try:
                carry = self._call if by_method else self._write
                try:
                    answers = await carry(await link.session(), part)
                except SessionGone:
                    answers = await carry(await link.session(), part)
            except LinkDown as error:
                self._failed(error)
                _not_sent([part, *queue], str(error), results)
                break
            except ServiceFault as error:
                if error.status_code in TOO_MUCH_AT_ONCE and len(part) > 1:
                    if by_method:
                        self._methods_per_call = len(part) // 2
                    else:
                        self._nodes_per_write = len(part) // 2
                    queue[:0] = self._parts(part)
                    continue
                answers = [(error.status_code, "")] * len(part)
            except (NoAnswer, AnswerLost, Malformed) as error:
                self._failed(error)
                for command in part:
                    results[command.row] = command.result(WriteOutcome.UNKNOWN, str(error))
                _not_sent(queue, str(error), results)
                break
            self._answered()
            for command, (status, remark) in zip(part, answers, strict=True):
                if status < 0x8000_0000:
                    results[command.row] = command.result(WriteOutcome.ACCEPTED)
                    seen.append(command)
                elif status in _PERHAPS_DONE:
                    results[command.row] = command.result(WriteOutcome.UNKNOWN, status_name(status) + remark)
                    failures.add(command.row)
                    seen.append(command)
                else:
                    results[command.row] = command.result(WriteOutcome.REFUSED, status_name(status) + remark)
        return seen

    def _parts(self, commands: list[NodeCommand]) -> Iterator[list[NodeCommand]]:
        """Parts that go in one request: never broadcasts with single ones, never writes with calls."""
        part: list[NodeCommand] = []
        for command in commands:
            by_method = command.place.method is not None
            size = self._methods_per_call if by_method else self._nodes_per_write
            if part and not (
                part[0].rank == command.rank and (part[0].place.method is not None) == by_method and len(part) < size
            ):
                yield part
                part = []
            part.append(command)
        if part:
            yield part

    async def _write(self, session: Session, commands: list[NodeCommand]) -> Answer:
        self._nodes_per_write = min(self._nodes_per_write, session.limits.nodes_per_write)
        parameters = ua.WriteParameters()
        sent: list[int] = []
        for position, command in enumerate(commands):
            place = command.place
            node = _node(command, place.write_node or place.node, session)
            if node is None:
                continue
            # Without time stamps: many servers refuse to take ours.
            value = ua.DataValue(ua.Variant(command.number, _VARIANTS[place.variant]))
            parameters.NodesToWrite.append(ua.WriteValue(NodeId=node, AttributeId=AttributeIds.Value, Value=value))
            sent.append(position)
        statuses = [(int(StatusCodes.BadNodeIdUnknown), _absent(command)) for command in commands]
        if sent:
            self._counters.writes_sent += 1
            answers = await self._link.call(session, self._counters, _writing(parameters))
            self._check_count(len(answers), len(sent))
            for position, status in zip(sent, answers, strict=True):
                statuses[position] = (int(status.value), "")
        return statuses

    async def _call(self, session: Session, commands: list[NodeCommand]) -> Answer:
        self._methods_per_call = min(self._methods_per_call, session.limits.nodes_per_call)
        requests: list[ua.CallMethodRequest] = []
        sent: list[int] = []
        for position, command in enumerate(commands):
            method = command.place.method
            assert method is not None
            target, node = _node(command, method.object, session), _node(command, method.node, session)
            if target is None or node is None:
                continue
            requests.append(
                ua.CallMethodRequest(ObjectId=target, MethodId=node, InputArguments=_arguments(command, method))
            )
            sent.append(position)
        statuses = [(int(StatusCodes.BadNodeIdUnknown), _absent(command)) for command in commands]
        if sent:
            self._counters.writes_sent += 1
            answers = await self._link.call(session, self._counters, _calling(requests))
            self._check_count(len(answers), len(sent))
            for position, answer in zip(sent, answers, strict=True):
                statuses[position] = (int(answer.StatusCode.value), _blamed(commands[position], answer))
        return statuses

    def _check_count(self, came: int, sent: int) -> None:
        if came != sent:
            self._counters.discarded += 1
            raise Malformed(f"{came} results came for {sent} commands")


def _not_sent(parts: Sequence[Sequence[NodeCommand]], reason: str, results: dict[int, WriteResult]) -> None:
    results.update({command.row: command.not_sent(reason) for part in parts for command in part})


def _node(command: NodeCommand, identifier: str, session: Session) -> ua.NodeId | None:
    variables = index_variables(command.binding.scope, command.address.index)
    return node_id(command.place.namespace, identifier.format(**variables), session.namespaces)


def _absent(command: NodeCommand) -> str:
    return f": the server has no namespace {command.place.namespace}"


def _arguments(command: NodeCommand, method: MethodCall) -> list[ua.Variant]:
    variables: dict[str, float | int] = dict(index_variables(command.binding.scope, command.address.index))
    variables["value"] = command.number
    return [_argument(variables[name], kind) for name, kind in zip(method.arguments, method.types, strict=True)]


def _argument(value: float | int, kind: str) -> ua.Variant:
    plain: Any = value
    if kind == "string":
        plain = f"{value:g}"
    elif kind == "boolean":
        plain = bool(value)
    elif kind not in _FLOATS:
        plain = round(value)
    else:
        plain = float(value)
    return ua.Variant(plain, _VARIANTS[kind])


def _blamed(command: NodeCommand, answer: ua.CallMethodResult) -> str:
    """Which argument the server did not like, where it says so."""
    method = command.place.method
    names = method.arguments if method is not None else ()
    results = answer.InputArgumentResults or ()
    blamed = [
        f"{name}: {status_name(int(status.value))}"
        for name, status in zip(names, results, strict=False)
        if status.is_bad()
    ]
    return f" ({', '.join(blamed)})" if blamed else ""


# Functions of their own, so that each call keeps its own parameters.


def _writing(parameters: ua.WriteParameters) -> Callable[[LeanClient], Awaitable[list[ua.StatusCode]]]:
    return lambda client: client.services.write(parameters)


def _calling(requests: list[ua.CallMethodRequest]) -> Callable[[LeanClient], Awaitable[list[ua.CallMethodResult]]]:
    return lambda client: client.services.call(requests)
