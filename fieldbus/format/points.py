"""One [points.<name>] table of a profile: its keys checked and turned into a binding.

Where the point lies is registers.py's and nodes.py's, how it is stored tables.py's, the rest of the
file profile_loader.py's; what a point means is the vocabulary's.
"""

from __future__ import annotations

import re
from typing import Any, Final

from domain.errors import InvalidInput, Violation
from fieldbus.format.nodes import NODE_KEYS, VARIANT_TYPES, read_node
from fieldbus.format.registers import PLACE_KEYS, Defaults, PlaceReader
from fieldbus.format.tables import CONVERSION_KEYS, read_conversion
from fieldbus.format.toml_entry import Entry, did_you_mean
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import Conversion, Discovery, ModbusPlace, ModelPlace, NodePlace, PointBinding, Protocol
from fieldbus.vocabulary import VOCABULARY, Direction, Point, PointType, Scope, point_named

__all__ = ["MODBUS_KEYS", "MODEL_KEYS", "OPCUA_KEYS", "VARIANT_TYPES", "Defaults", "PointReader"]

_COMMAND_KEYS: Final = {"write_on_change", "confirm", "confirm_tolerance", "confirm_timeout_ms"}
_COMMON_KEYS: Final = CONVERSION_KEYS | _COMMAND_KEYS | {"access", "index", "minimum", "maximum", "note", "shares"}
MODBUS_KEYS: Final = _COMMON_KEYS | PLACE_KEYS | {"models"}
MODEL_KEYS: Final = CONVERSION_KEYS | PLACE_KEYS | {"note"}
OPCUA_KEYS: Final = _COMMON_KEYS | NODE_KEYS
_HIGHEST_MODEL: Final = 65534
_INDEXED_NAME: Final = re.compile(r"(\w+)\s*[\[(/.:]\s*\d+")


class PointReader:
    """Reads one point. `violations` holds what is wrong with it."""

    def __init__(
        self,
        source: TomlSource,
        name: str,
        protocol: Protocol,
        defaults: Defaults,
        index_ranges: dict[Scope, tuple[int, int]],
        discovery: Discovery = Discovery.NONE,
    ) -> None:
        self.violations: list[Violation] = []
        self._source = source
        self._name = name
        self._protocol = protocol
        self._defaults = defaults
        self._index_ranges = index_ranges
        self._discovery = discovery

    def read(self, data: Any) -> PointBinding | None:
        """The binding, or None when an error keeps it from being built."""
        entry = Entry(self._source, ("points", self._name), data, self.violations)
        try:
            point = point_named(self._name)
        except InvalidInput as error:
            plain = _INDEXED_NAME.match(self._name)
            if plain and plain[1] in VOCABULARY:
                entry.wrong(f"the point is {plain[1]}: indexes are given by [index], not in the name")
            else:
                meant = did_you_mean(self._name, VOCABULARY)
                entry.wrong(f"{error.violations[0].reason}{meant or ':'} docs/points.md lists all points")
            return None
        if self.violations:
            return None
        entry.only(MODBUS_KEYS if self._protocol is Protocol.MODBUS else OPCUA_KEYS)
        direction = self._direction(entry, point)
        index_range = self._index_range(entry, point)
        modbus: ModbusPlace | None = None
        node: NodePlace | None = None
        conversion = Conversion()
        models: tuple[tuple[int, ModelPlace], ...] = ()
        if self._protocol is Protocol.OPCUA:
            node = read_node(entry, point, direction, index_range, self._defaults.namespace)
            conversion = read_conversion(entry, point, *VARIANT_TYPES.get(node.variant if node else "", ("u", 2)))
        elif "models" in entry:
            models = self._models(entry, point, direction, index_range)
        else:
            modbus = PlaceReader(point, direction, index_range, self._defaults).read(entry)
            conversion = _conversion_at(entry, point, modbus)
        minimum, maximum = _limits(entry, point)
        confirm = entry.data.get("confirm", self._name if direction is Direction.READ_WRITE else "")
        if not isinstance(confirm, str):
            entry.wrong("is not the name of a point", "confirm")
        for key in _COMMAND_KEYS:
            if key in entry and not direction.writable:
                entry.wrong("is for points that can be written", key)
        tolerance = entry.not_negative("confirm_tolerance", 0.0) or 0.0
        timeout_ms = entry.not_negative("confirm_timeout_ms")
        on_change = entry.flag("write_on_change")
        if on_change and direction.writable and not confirm:
            entry.wrong("needs a point that shows what the register holds (confirm)", "write_on_change")
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
            write_on_change=on_change,
            confirm=confirm if direction.writable else "",
            confirm_tolerance=tolerance,
            confirm_timeout_s=None if timeout_ms is None else timeout_ms / 1000,
            models=models,
        )

    def _direction(self, entry: Entry, point: Point) -> Direction:
        direction = entry.choice("access", Direction, Direction.READ)
        if direction.writable and not point.direction.writable:
            entry.wrong(f"{point.name} is read only in the vocabulary", "access")
        return direction

    def _index_range(self, entry: Entry, point: Point) -> tuple[int, int] | None:
        if point.scope is Scope.DEVICE:
            if "index" in entry:
                entry.wrong(f"{point.name} is a point of the device and has no index", "index")
            return None
        return entry.range("index") or self._index_ranges[point.scope]

    def _models(
        self, entry: Entry, point: Point, direction: Direction, index_range: tuple[int, int] | None
    ) -> tuple[tuple[int, ModelPlace], ...]:
        table = entry.table("models")
        if self._discovery is not Discovery.SUNSPEC:
            entry.wrong('needs discovery = "sunspec" in [modbus]', "models")
        for key in entry:
            if key in PLACE_KEYS | CONVERSION_KEYS:
                entry.wrong("belongs into each of the models", key)
        models: list[tuple[int, ModelPlace]] = []
        if table is None or not table.data:
            entry.wrong("is a table of model ids, each with its address", "models")
            return ()
        reader = PlaceReader(point, direction, index_range, self._defaults)
        for key in table:
            model = table.table(key)
            assert model is not None
            if not key.isdecimal() or len(key) > 5 or not 1 <= int(key) <= _HIGHEST_MODEL:
                model.wrong("is no model id")
                continue
            model.only(MODEL_KEYS)
            place = reader.read(model)
            conversion = _conversion_at(model, point, place)
            if place is not None:
                models.append((int(key), ModelPlace(place, conversion)))
        return tuple(models)


def _conversion_at(entry: Entry, point: Point, place: ModbusPlace | None) -> Conversion:
    if place is None:
        # What is said of the conversion can still be checked against the widest register there is.
        return read_conversion(entry, point, "u", 8)
    return read_conversion(entry, point, place.format.kind, place.format.size)


def _limits(entry: Entry, point: Point) -> tuple[float, float]:
    minimum = entry.number("minimum", point.minimum)
    maximum = entry.number("maximum", point.maximum)
    assert minimum is not None
    assert maximum is not None
    if minimum < point.minimum or maximum > point.maximum or minimum > maximum:
        entry.wrong(
            f"limits {minimum:g}..{maximum:g} are not within the vocabulary's {point.minimum:g}..{point.maximum:g}",
            "minimum" if "minimum" in entry else "maximum",
        )
    if point.type in (PointType.BOOLEAN, PointType.TEXT):
        for key in ("minimum", "maximum"):
            if key in entry:
                entry.wrong("a yes/no point or a text has no limits", key)
    return minimum, maximum
