"""Where a point lies in an OPC UA address space, and how it is read and written there: the keys checked.

Places on Modbus are registers.py's. Node ids are looked up in the server by the driver.
"""

from __future__ import annotations

import re
from typing import Final

from fieldbus.format.formula import VARIABLES, index_variables, telling_indexes
from fieldbus.format.tables import NUMBER_TYPES, wrong_type
from fieldbus.format.toml_entry import Entry, did_you_mean
from fieldbus.profile import Deadband, MethodCall, NodePlace
from fieldbus.vocabulary import Direction, Point, PointType

NODE_KEYS: Final = {"type", "node", "namespace", "write_node", "timestamp_node", "deadband", "method"}
DEADBAND_KEYS: Final = {"absolute", "percent"}
METHOD_KEYS: Final = {"object", "node", "arguments", "types"}
# OPC UA built-in types: kind as in numpy and bytes; "s" is a text.
VARIANT_TYPES: Final = {
    "boolean": ("b", 1),
    "byte": ("u", 1),
    "sbyte": ("i", 1),
    "float": ("f", 4),
    "double": ("f", 8),
    **{name: kind for name, kind in NUMBER_TYPES.items() if not name.startswith("float")},
    "string": ("s", 0),
}
_NODE_ID: Final = re.compile(r"(s=.+|i=(\d+|.*\{.*))\Z")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def read_node(
    entry: Entry, point: Point, direction: Direction, index_range: tuple[int, int] | None, default_namespace: str
) -> NodePlace | None:
    """The place of a point, or None when an error keeps it from being built."""
    before = len(entry.violations)
    namespace = entry.data.get("namespace", default_namespace)
    variant = entry.data.get("type")
    if not isinstance(namespace, str) or not namespace:
        entry.wrong("an OPC UA point needs a namespace URI, here or in [opcua]", "namespace")
    if not isinstance(variant, str) or variant not in VARIANT_TYPES:
        wrong_type(entry, variant, tuple(VARIANT_TYPES))
    elif (variant == "string") != (point.type is PointType.TEXT):
        entry.wrong(f"{point.name} is {'a' if point.type is PointType.TEXT else 'no'} text", "type")
    method = _read_method(entry, point, direction)
    many = index_range if index_range is not None and index_range[1] > index_range[0] else None
    write_node = _read_node_id(entry, "write_node", point, many=many) if "write_node" in entry else ""
    written_elsewhere = direction is Direction.WRITE and (method is not None or bool(write_node))
    node = "" if written_elsewhere and "node" not in entry else _read_node_id(entry, "node", point, many=many)
    # One time may stand for all lamps of a server, so it need not differ from index to index.
    timestamp_node = _read_node_id(entry, "timestamp_node", point) if "timestamp_node" in entry else ""
    if write_node and not direction.writable:
        entry.wrong("is for points that can be written", "write_node")
    if write_node and method is not None:
        entry.wrong("a command goes to a node or to a method, not to both", "write_node")
    place = NodePlace(
        namespace=str(namespace),
        node=node,
        variant=str(variant),
        write_node=write_node,
        timestamp_node=timestamp_node,
        deadband=_read_deadband(entry, point),
        method=method,
    )
    return place if len(entry.violations) == before else None


def _read_node_id(entry: Entry, key: str, point: Point, *, many: tuple[int, int] | None = None) -> str:
    """A node id. `many` is the range of indexes that need a node each."""
    before = len(entry.violations)
    node = entry.data.get(key)
    if not isinstance(node, str) or not _NODE_ID.match(node):
        entry.wrong('is not "s=<text>" or "i=<number>"', key)
        return ""
    placeholders = set(_PLACEHOLDER.findall(node))
    for name in sorted(placeholders - VARIABLES[point.scope]):
        meant = did_you_mean(name, VARIABLES[point.scope])
        entry.wrong(f"{{{name}}} is no variable of a {point.scope.value} point{meant}", key)
    if set("{}") & set(re.sub(_PLACEHOLDER, "", node)):
        entry.wrong("has a brace without its partner", key)
    if many is not None and not placeholders:
        entry.wrong("is the same for every index: use {index}", key)
    if many is not None and len(entry.violations) == before:
        seen: dict[str, int] = {}
        for index in telling_indexes(*many):
            name = node.format(**index_variables(point.scope, index))
            if seen.setdefault(name, index) != index:
                entry.wrong(f"{name!r} is the node of index {seen[name]} and of {index}: each needs its own", key)
                break
    return node


def _read_deadband(entry: Entry, point: Point) -> Deadband | None:
    deadband = entry.table("deadband")
    if deadband is None:
        return None
    deadband.only(DEADBAND_KEYS)
    if point.type not in (PointType.NUMBER, PointType.COUNTER):
        entry.wrong(f"{point.name} is no quantity", "deadband")
    absolute, percent = deadband.positive("absolute"), deadband.positive("percent")
    if ("absolute" in deadband) == ("percent" in deadband):
        entry.wrong("is { absolute = ... } in the node's unit or { percent = ... } of its EURange", "deadband")
    if percent is not None and percent > 100:
        deadband.wrong("is more than the whole range", "percent")
    return Deadband(absolute, percent)


def _read_method(entry: Entry, point: Point, direction: Direction) -> MethodCall | None:
    method = entry.table("method")
    if method is None:
        return None
    method.only(METHOD_KEYS)
    if not direction.writable:
        entry.wrong("is for points that can be written", "method")
    arguments, types = method.elements("arguments"), method.elements("types")
    allowed = VARIABLES[point.scope] | {"value"}
    for argument in arguments:
        if not isinstance(argument, str) or argument not in allowed:
            method.wrong(f"{argument!r} is none of {', '.join(sorted(allowed))}", "arguments")
    if "value" not in arguments:
        method.wrong('has no "value": the command would not say what to do', "arguments")
    for name in types:
        if not isinstance(name, str) or name not in VARIANT_TYPES or name == "string":
            method.wrong(f"{name!r} is none of {', '.join(one for one in VARIANT_TYPES if one != 'string')}", "types")
    if len(types) != len(arguments):
        method.wrong(f"{len(types)} types for {len(arguments)} arguments", "types")
    return MethodCall(
        object=_read_node_id(method, "object", point),
        node=_read_node_id(method, "node", point),
        arguments=tuple(map(str, arguments)),
        types=tuple(map(str, types)),
    )
