"""Raw OPC UA nodes without a profile: what the command line names, read as it is, written by the node's own type."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import typer

from cli.errors import PARTIAL
from cli.field.addressing import number_word
from cli.field.advice import Advice, recognise
from cli.field.connection import now, on_device
from cli.field.display import Row, local_time, result_rows, shown_results
from cli.field.telling import fail, fail_because
from cli.output import note, print_json, print_rows
from domain.errors import FailedPrecondition, InvalidInput, RetryableError
from fieldbus import profile as profiles
from fieldbus.device import Device
from fieldbus.profile import Conversion, NodePlace, PointBinding, Profile
from fieldbus.values import PointAddress, Quality, WriteResult
from fieldbus.vocabulary import Direction, Point, PointType, Scope

if TYPE_CHECKING:
    from fieldbus.opcua.browse import NodeValue

# Built-in types of OPC UA by the names of profiles, with what they hold and we can carry exactly.
_WRITABLE: Final = {
    "boolean": (0.0, 1.0),
    "sbyte": (-(2.0**7), 2.0**7 - 1),
    "byte": (0.0, 2.0**8 - 1),
    "int16": (-(2.0**15), 2.0**15 - 1),
    "uint16": (0.0, 2.0**16 - 1),
    "int32": (-(2.0**31), 2.0**31 - 1),
    "uint32": (0.0, 2.0**32 - 1),
    "int64": (-(2.0**53), 2.0**53),
    "uint64": (0.0, 2.0**53),
    "float": (-math.inf, math.inf),
    "double": (-math.inf, math.inf),
}


@runtime_checkable
class NodeReader(Protocol):
    """A device whose nodes can be read by name."""

    async def read_nodes(self, names: Sequence[str]) -> list[NodeValue]:
        """Values in the order asked. Raises Unavailable or TimedOut when the server does not answer."""
        ...


def parse_nodes(texts: Sequence[str]) -> list[str]:
    """Node ids as the command line has them, checked. Raises InvalidInput."""
    from fieldbus.opcua.nodes import NodeName

    return list(dict.fromkeys(str(NodeName.parse(text.strip())) for text in texts))


def raw_profile(points: dict[str, PointBinding] | None = None) -> Profile:
    """A profile in memory: opens a server whose nodes are only read by name, or written as `points` says."""
    return Profile(
        name="raw nodes",
        kind="nodes",
        vendor="",
        product="",
        protocol=profiles.Protocol.OPCUA,
        source="the command line",
        points=points or {},
    )


async def read_nodes(device: Device, names: Sequence[str]) -> list[Row]:
    """One row per node: value, type, quality, time, and the status where it is not good."""
    return [_row(value) for value in await _values(device, names)]


async def _values(device: Device, names: Sequence[str]) -> list[NodeValue]:
    if not isinstance(device, NodeReader):
        raise FailedPrecondition.of("node", "this device has no nodes")
    return await device.read_nodes(names)


def _row(value: NodeValue) -> Row:
    stamp = value.source_time
    observed = now() if stamp is None else stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    return {
        "node": value.node,
        "value": _plain(value.value),
        "type": value.data_type,
        "quality": value.quality.name.lower(),
        "status": "" if value.quality is Quality.GOOD else value.status,
        "observed_at": observed.isoformat(),
        "time_of": "ours" if stamp is None else "device",
    }


def _plain(value: Any) -> Any:
    """What JSON knows as it is, anything else as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


def shown_node(row: Row) -> str:
    """A value on one line."""
    if row["value"] is None:
        return "-"
    return ("true" if row["value"] else "false") if isinstance(row["value"], bool) else str(row["value"])


def read_and_end(url: str, texts: Sequence[str], timeout: float, security: Path | None, as_json: bool) -> None:
    """What `field read --node` does."""
    names = parse_nodes(texts)

    async def ask(device: Device) -> list[Row]:
        return await read_nodes(device, names)

    try:
        rows = on_device(url, raw_profile(), ask, timeout_s=timeout, security=security)
    except RetryableError as error:
        fail_because(url, error)
    if as_json:
        print_json(rows)
    else:
        print_rows([_shown_row(row) for row in rows], False)
    _end_reading(rows)


def _shown_row(row: Row) -> Row:
    return {
        "node": row["node"],
        "value": shown_node(row),
        "type": row["type"] or "-",
        "quality": row["quality"],
        "time": local_time(row["observed_at"]),
        "by": "device" if row["time_of"] == "device" else "our clock",
    }


def _end_reading(rows: Sequence[Row]) -> None:
    doubtful = [row for row in rows if row["quality"] != "good"]
    if not doubtful:
        return
    status = f"{doubtful[0]['node']}: {doubtful[0]['status']}"
    advice = recognise(status) or Advice("BAD_STATUS", status, "The server itself does not trust this value.", True)
    if len(doubtful) == len(rows) and all(row["value"] is None for row in rows):
        fail(advice, field="node")
    note(f"{len(doubtful)} of {len(rows)} nodes have no good value, the first: {status}")
    note(advice.hint)
    raise typer.Exit(PARTIAL)


def write_and_end(
    url: str,
    assignments: Sequence[tuple[str, str]],
    timeout: float,
    security: Path | None,
    as_json: bool,
    permit: Callable[[Device, Profile], Awaitable[None]],
    end: Callable[[str, Sequence[WriteResult]], None],
) -> None:
    """What `field write --node` does: the type of each node is asked for first, and the value written as that."""
    names = parse_nodes([node for node, _ in assignments])
    if len(names) != len(assignments):
        raise InvalidInput.of("node", "a node is commanded twice")

    async def ask(device: Device) -> dict[str, str]:
        return {value.node: type_of(value) for value in await _values(device, names)}

    try:
        types = on_device(url, raw_profile(), ask, timeout_s=timeout, security=security)
    except RetryableError as error:
        fail_because(url, error)
    profile = writing_profile(types)
    writes = [
        (PointAddress(name), value_for(name, types[name], text))
        for name, (_, text) in zip(names, assignments, strict=True)
    ]

    async def work(device: Device) -> list[WriteResult]:
        await permit(device, profile)
        return await device.write(writes, verify=True)

    results = on_device(url, profile, work, timeout_s=timeout, security=security)
    if as_json:
        print_json(result_rows(results))
    else:
        print_rows(shown_results(profile, results), False)
    end(url, results)


def type_of(value: NodeValue) -> str:
    """The type of a variable by its name in profiles. Ends the command for a node that is not there, raises
    InvalidInput for a type that cannot be written."""
    if value.value is None and value.quality is Quality.BAD:
        sentence = f"{value.node}: {value.status}"
        fail(
            recognise(sentence) or Advice("NO_SUCH_NODE", sentence, "Look for it with `field scan`.", True),
            field="node",
        )
    kind = value.data_type.lower()
    if kind not in _WRITABLE or isinstance(value.value, (list, tuple)):
        found = (
            "an array" if isinstance(value.value, (list, tuple)) else f"a {value.data_type or 'node without a value'}"
        )
        raise InvalidInput.of("node", f"{value.node} holds {found}; numbers and booleans can be written here")
    return kind


def value_for(name: str, kind: str, text: str) -> float:
    """A value as typed, checked against the node's type. Raises InvalidInput."""
    number = number_word(text, kind, is_flag=kind == "boolean", is_float=kind in ("float", "double"), where=name)
    low, high = _WRITABLE[kind]
    if not low <= number <= high:
        raise InvalidInput.of("value", f"{text} does not fit into {kind}, which {name} holds")
    return number


def writing_profile(types: dict[str, str]) -> Profile:
    """A profile in memory to write nodes of known types and read them back."""
    from fieldbus.opcua.nodes import NodeName

    points: dict[str, PointBinding] = {}
    for name, kind in types.items():
        parsed = NodeName.parse(name)
        low, high = _WRITABLE[kind]
        point_type = PointType.BOOLEAN if kind == "boolean" else PointType.NUMBER
        points[name] = PointBinding(
            point=Point(name, "", point_type, Direction.READ_WRITE, Scope.DEVICE, low, high, "a raw node"),
            direction=Direction.READ_WRITE,
            index_range=None,
            conversion=Conversion(),
            minimum=low,
            maximum=high,
            node=NodePlace(namespace=parsed.namespace, node=parsed.identifier, variant=kind),
            confirm=name,
        )
    return raw_profile(points)
