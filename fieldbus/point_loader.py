"""One [points.<name>] table of a profile: its keys checked and turned into a binding.

The rest of the file is profile_loader.py's; what a point means is the vocabulary's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from domain.errors import InvalidInput, Violation
from domain.level import DALI, DALI_LINEAR, PERCENT, PERMILLE
from fieldbus.formula import VARIABLES, Formula
from fieldbus.profile import Conversion, ModbusPlace, NodePlace, PointBinding, Protocol, RawFormat, Table
from fieldbus.toml_source import TomlSource
from fieldbus.vocabulary import Direction, Point, PointType, Scope, point_named

_COMMON_KEYS: Final = {
    "access",
    "index",
    "scale",
    "offset",
    "level",
    "curve",
    "not_available",
    "special",
    "raw_minimum",
    "raw_maximum",
    "minimum",
    "maximum",
    "write_on_change",
    "confirm",
    "confirm_tolerance",
    "confirm_timeout_ms",
    "type",
    "note",
}
MODBUS_KEYS: Final = _COMMON_KEYS | {
    "table",
    "address",
    "write_table",
    "write_address",
    "bit",
    "byte_order",
    "word_order",
}
OPCUA_KEYS: Final = _COMMON_KEYS | {"node", "namespace"}

_REGISTER_TYPES: Final = {
    "uint16": ("u", 2),
    "int16": ("i", 2),
    "uint32": ("u", 4),
    "int32": ("i", 4),
    "uint64": ("u", 8),
    "int64": ("i", 8),
    "float32": ("f", 4),
    "float64": ("f", 8),
}
# OPC UA built-in types: kind as in numpy and bytes.
VARIANT_TYPES: Final = {
    "boolean": ("b", 1),
    "byte": ("u", 1),
    "sbyte": ("i", 1),
    "float": ("f", 4),
    "double": ("f", 8),
    **{name: kind for name, kind in _REGISTER_TYPES.items() if not name.startswith("float")},
}
_LEVEL_SCALES: Final = {"percent": PERCENT, "permille": PERMILLE, "dali_log": DALI, "dali_linear": DALI_LINEAR}
_NODE_ID: Final = re.compile(r"[si]=.+\Z")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_HIGHEST_ADDRESS: Final = 65535


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a point takes from its profile when it says nothing."""

    table: Table
    byte_order: str
    word_order: str
    namespace: str


class PointReader:
    """Reads one point. `violations` holds what is wrong with it."""

    def __init__(
        self,
        source: TomlSource,
        name: str,
        protocol: Protocol,
        defaults: Defaults,
        index_ranges: dict[Scope, tuple[int, int]],
    ) -> None:
        self.violations: list[Violation] = []
        self._source = source
        self._name = name
        self._protocol = protocol
        self._defaults = defaults
        self._index_ranges = index_ranges
        self._entry: dict[str, Any] = {}

    def read(self, entry: Any) -> PointBinding | None:
        """The binding, or None when an error keeps it from being built."""
        try:
            point = point_named(self._name)
        except InvalidInput as error:
            self._wrong(error.violations[0].reason)
            return None
        if not isinstance(entry, dict):
            self._wrong("is not a table")
            return None
        self._entry = entry
        known = MODBUS_KEYS if self._protocol is Protocol.MODBUS else OPCUA_KEYS
        for key in sorted(entry.keys() - known):
            self._wrong(f"unknown key, known are {', '.join(sorted(known))}", key)
        direction = self._direction(point)
        index_range = self._index_range(point)
        if self._protocol is Protocol.MODBUS:
            modbus, node = self._modbus_place(point, direction, index_range), None
            kind = modbus.format.kind if modbus else "u"
            size = modbus.format.size if modbus else 2
        else:
            modbus, node = None, self._node_place(point, index_range)
            kind, size = VARIANT_TYPES.get(node.variant, ("u", 2)) if node else ("u", 2)
        conversion = self._conversion(point, kind, size)
        minimum, maximum = self._limits(point)
        confirm = entry.get("confirm", self._name if direction is Direction.READ_WRITE else "")
        if not isinstance(confirm, str):
            self._wrong("is not the name of a point", "confirm")
            confirm = ""
        timeout_ms = self._number("confirm_timeout_ms", None)
        if self.violations:
            return None
        return PointBinding(
            point=point,
            direction=direction,
            index_range=index_range,
            conversion=conversion,
            minimum=minimum,
            maximum=maximum,
            modbus=modbus,
            node=node,
            write_on_change=self._flag("write_on_change"),
            confirm=confirm if direction.writable else "",
            confirm_tolerance=self._number("confirm_tolerance", 0.0) or 0.0,
            confirm_timeout_s=None if timeout_ms is None else timeout_ms / 1000,
        )

    def _direction(self, point: Point) -> Direction:
        value = self._entry.get("access", Direction.READ.value)
        if value not in set(Direction):
            self._wrong(f"{value!r} is none of {', '.join(Direction)}", "access")
            return Direction.READ
        direction = Direction(value)
        if direction.writable and not point.direction.writable:
            self._wrong(f"{point.name} is read only in the vocabulary", "access")
        return direction

    def _index_range(self, point: Point) -> tuple[int, int] | None:
        value = self._entry.get("index")
        if point.scope is Scope.DEVICE:
            if value is not None:
                self._wrong(f"{point.name} is a point of the device and has no index", "index")
            return None
        if value is None:
            return self._index_ranges[point.scope]
        match value:
            case [int(low), int(high)] if 0 <= low <= high:
                return low, high
            case _:
                self._wrong("is not [first, last]", "index")
                return self._index_ranges[point.scope]

    def _modbus_place(
        self, point: Point, direction: Direction, index_range: tuple[int, int] | None
    ) -> ModbusPlace | None:
        table = self._table("table", self._defaults.table)
        write_table = self._table("write_table", table)
        raw_format = self._register_format(table)
        address = self._formula("address", point)
        write_address = self._formula("write_address", point)
        if raw_format is None:
            return None
        if direction.readable and address is None:
            self._wrong("is missing", "address")
        if not direction.readable and write_address is None:
            write_address = address
        if direction.writable:
            if write_address is None:
                write_address = address
            if not write_table.writable:
                self._wrong(f"the {write_table.value} table cannot be written", "access")
            if raw_format.bit >= 0:
                self._wrong("a bit of a register cannot be written: it would need the other bits", "access")
        for key, formula in (("address", address), ("write_address", write_address)):
            self._check_range(key, formula, point, index_range, raw_format.registers)
        return ModbusPlace(
            table,
            address if direction.readable else None,
            write_table,
            write_address if direction.writable else None,
            raw_format,
        )

    def _register_format(self, table: Table) -> RawFormat | None:
        name = self._entry.get("type")
        if table.is_bits:
            if name not in (None, "bit"):
                self._wrong(f"an address of the {table.value} table is a bit", "type")
            return RawFormat("b", 1)
        byte_order = self._order("byte_order", self._defaults.byte_order)
        word_order = self._order("word_order", self._defaults.word_order)
        bit = self._entry.get("bit")
        if name == "bit":
            if isinstance(bit, bool) or not isinstance(bit, int) or not 0 <= bit <= 15:
                self._wrong("a bit of a register needs bit = 0..15", "bit")
                return None
            return RawFormat("u", 2, byte_order, word_order, bit)
        if bit is not None:
            self._wrong('belongs to type = "bit"', "bit")
        if name not in _REGISTER_TYPES:
            self._wrong(f"{name!r} is none of bit, {', '.join(_REGISTER_TYPES)}", "type")
            return None
        kind, size = _REGISTER_TYPES[name]
        return RawFormat(kind, size, byte_order, word_order)

    def _formula(self, key: str, point: Point) -> Formula | None:
        if key not in self._entry:
            return None
        try:
            return Formula.parse(self._entry[key], point.scope)
        except ValueError as error:
            self._wrong(str(error), key)
            return None

    def _check_range(
        self, key: str, formula: Formula | None, point: Point, index_range: tuple[int, int] | None, length: int
    ) -> None:
        if formula is None:
            return
        low, high = index_range or (0, 0)
        for index in {low, high}:
            address = formula.at(point.scope, None if index_range is None else index)
            if not 0 <= address <= _HIGHEST_ADDRESS - length + 1:
                self._wrong(f"address {address} at index {index} is not within 0..{_HIGHEST_ADDRESS}", key)
        if index_range is not None and high > low and not formula.factors:
            self._wrong("is the same for every index: use a formula, or narrow index to one", key)

    def _node_place(self, point: Point, index_range: tuple[int, int] | None) -> NodePlace | None:
        node = self._entry.get("node")
        namespace = self._entry.get("namespace", self._defaults.namespace)
        variant = self._entry.get("type")
        if not isinstance(namespace, str) or not namespace:
            self._wrong("an OPC UA point needs a namespace URI, here or in [opcua]", "namespace")
        if variant not in VARIANT_TYPES:
            self._wrong(f"{variant!r} is none of {', '.join(VARIANT_TYPES)}", "type")
        if not isinstance(node, str) or not _NODE_ID.match(node):
            self._wrong('is not "s=<text>" or "i=<number>"', "node")
            return None
        placeholders = set(_PLACEHOLDER.findall(node))
        for name in placeholders - VARIABLES[point.scope]:
            self._wrong(f"{{{name}}} is no variable of a {point.scope.value} point", "node")
        if index_range is not None and index_range[1] > index_range[0] and not placeholders:
            self._wrong("is the same for every index: use {index}", "node")
        if self.violations:
            return None
        return NodePlace(str(namespace), node, str(variant))

    def _conversion(self, point: Point, kind: str, size: int) -> Conversion:
        level = self._entry.get("level")
        if level is not None and (level not in _LEVEL_SCALES or point.unit != "permille" or kind == "f"):
            self._wrong(f"is one of {', '.join(_LEVEL_SCALES)}, for levels held as integers", "level")
            level = None
        scale = self._number("scale", 1.0) or 0.0
        if scale == 0.0:
            self._wrong("is a number other than 0", "scale")
            scale = 1.0
        curve = self._pairs("curve")
        if [raw for raw, _ in curve] != sorted({raw for raw, _ in curve}):
            self._wrong("raw values must rise", "curve")
        if (level is not None) + bool(curve) + (scale != 1.0 or "offset" in self._entry) > 1:
            self._wrong("level, curve and scale/offset exclude each other", "level" if level else "curve")
        return Conversion(
            scale=scale,
            offset=self._number("offset", 0.0) or 0.0,
            level_scale=_LEVEL_SCALES[level] if level is not None else None,
            curve=curve,
            not_available=self._patterns("not_available", size),
            special=self._special(kind, size),
            raw_minimum=self._number("raw_minimum", None),
            raw_maximum=self._number("raw_maximum", None),
        )

    def _special(self, kind: str, size: int) -> tuple[tuple[int, float], ...]:
        entries = self._pairs("special")
        if entries and kind == "f":
            self._wrong("is for integers", "special")
        for pattern, _ in entries:
            self._check_pattern("special", pattern, size)
        return tuple((int(pattern), value) for pattern, value in entries)

    def _patterns(self, key: str, size: int) -> tuple[int, ...]:
        value = self._entry.get(key, [])
        if not isinstance(value, list):
            self._wrong("is not a list of bit patterns", key)
            return ()
        for pattern in value:
            self._check_pattern(key, pattern, size)
        return tuple(pattern for pattern in value if isinstance(pattern, int))

    def _check_pattern(self, key: str, pattern: Any, size: int) -> None:
        whole = isinstance(pattern, int | float) and not isinstance(pattern, bool) and pattern == int(pattern)
        if not whole or not 0 <= pattern < 1 << (8 * size):
            self._wrong(f"{pattern!r} is no bit pattern of {size} bytes (unsigned)", key)

    def _pairs(self, key: str) -> tuple[tuple[float, float], ...]:
        value = self._entry.get(key, [])
        pairs: list[tuple[float, float]] = []
        for entry in value if isinstance(value, list) else [None]:
            match entry:
                case [int() | float() as raw, int() | float() as meaning]:
                    pairs.append((raw, float(meaning)))
                case _:
                    self._wrong("is a list of [raw, value]", key)
        return tuple(pairs)

    def _limits(self, point: Point) -> tuple[float, float]:
        minimum = self._number("minimum", point.minimum)
        maximum = self._number("maximum", point.maximum)
        assert minimum is not None
        assert maximum is not None
        if minimum < point.minimum or maximum > point.maximum or minimum > maximum:
            self._wrong(
                f"limits {minimum:g}..{maximum:g} are not within the vocabulary's {point.minimum:g}..{point.maximum:g}",
                "minimum" if "minimum" in self._entry else "maximum",
            )
        if point.type is PointType.BOOLEAN and ("minimum" in self._entry or "maximum" in self._entry):
            self._wrong("a yes/no point has no limits", "minimum")
        return minimum, maximum

    def _number(self, key: str, default: float | None) -> float | None:
        value = self._entry.get(key, default)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            self._wrong(f"{value!r} is not a number", key)
            return default
        return value

    def _flag(self, key: str) -> bool:
        value = self._entry.get(key, False)
        if not isinstance(value, bool):
            self._wrong("is not true or false", key)
            return False
        return value

    def _order(self, key: str, default: str) -> str:
        value = self._entry.get(key, default)
        if value not in ("big", "little"):
            self._wrong(f"{value!r} is neither big nor little", key)
            return default
        return str(value)

    def _table(self, key: str, default: Table) -> Table:
        value = self._entry.get(key, default.value)
        if value not in set(Table):
            self._wrong(f"{value!r} is none of {', '.join(Table)}", key)
            return default
        return Table(value)

    def _wrong(self, reason: str, *key: str) -> None:
        self.violations.append(self._source.violation(reason, "points", self._name, *key))
