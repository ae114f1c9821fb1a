"""Reads device profiles and refuses wrong ones with file, line and reason, all errors of a file at once.

The keys of a profile are described in docs/adding-a-device.md.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from domain.errors import InvalidInput, NotFound, Violation
from fieldbus.point_loader import Defaults, PointReader
from fieldbus.profile import ModbusLimits, OpcUaLimits, PointBinding, Profile, Protocol, Table, WriteMode
from fieldbus.toml_source import TomlSource
from fieldbus.vocabulary import GEAR_PER_LINE, GROUPS_PER_LINE, Scope

Choice = TypeVar("Choice", bound=StrEnum)

PROFILES_DIRECTORY = Path(__file__).parent / "profiles"

_KINDS = ("meter", "lamps", "cabinet", "sensor")
_PROFILE_KEYS = {"name", "kind", "vendor", "product", "protocol", "source", "notes"}
MODBUS_KEYS = {
    "table",
    "byte_order",
    "word_order",
    "max_read_registers",
    "max_read_bits",
    "max_write_registers",
    "max_write_bits",
    "max_gap",
    "pause_ms",
    "connect_pause_ms",
    "write_mode",
    "illegal",
}
OPCUA_KEYS = {"namespace", "max_nodes_per_read", "max_nodes_per_write", "max_age_s"}
_DEFAULT_INDEX = {
    Scope.GEAR: (0, GEAR_PER_LINE - 1),
    Scope.GROUP: (0, GROUPS_PER_LINE - 1),
    Scope.LINE: (0, 0),
    Scope.CHANNEL: (0, 7),
}


@cache
def load_profile(name: str) -> Profile:
    """A shipped profile by name. Raises NotFound, or InvalidInput when the file is wrong."""
    path = PROFILES_DIRECTORY / f"{name}.toml"
    if Path(name).name != name or not path.is_file():
        raise NotFound(f"device profile '{name}'")
    return load_profile_file(path)


def profile_names() -> list[str]:
    """The shipped profiles."""
    return sorted(path.stem for path in PROFILES_DIRECTORY.glob("*.toml"))


def load_profile_file(path: Path) -> Profile:
    """A profile from a file. Raises InvalidInput with a violation per error, field `file:line`."""
    profile = profile_from_toml(TomlSource.read(path))
    if profile.name != path.stem:
        raise InvalidInput.of(f"{path.name}:1", f"profile.name is '{profile.name}', but the file is called {path.name}")
    return profile


def profile_from_toml(source: TomlSource) -> Profile:
    """A profile out of parsed TOML. Raises InvalidInput."""
    return _Loader(source).load()


class _Loader:
    def __init__(self, source: TomlSource) -> None:
        self._source = source
        self._violations: list[Violation] = []

    def load(self) -> Profile:
        for key in self._source.data.keys() - {"profile", "modbus", "opcua", "index", "points"}:
            self._wrong("unknown table", key)
        head = self._table("profile", _PROFILE_KEYS)
        texts = {key: self._text(head, key) for key in ("name", "kind", "vendor", "product", "source")}
        if texts["kind"] and texts["kind"] not in _KINDS:
            self._wrong(f"'{texts['kind']}' is none of {', '.join(_KINDS)}", "profile", "kind")
        protocol = self._choice("profile", "protocol", head.get("protocol"), Protocol, Protocol.MODBUS)
        modbus, defaults = self._modbus(protocol)
        points = self._points(protocol, defaults)
        profile = Profile(
            name=texts["name"],
            kind=texts["kind"],
            vendor=texts["vendor"],
            product=texts["product"],
            protocol=protocol,
            source=texts["source"],
            notes=str(head.get("notes", "")).strip(),
            points=points,
            modbus=modbus,
            opcua=self._opcua(),
        )
        self._check_confirmations(profile)
        if self._violations:
            listing = "\n".join(f"{violation.field}: {violation.reason}" for violation in self._violations)
            raise InvalidInput(f"wrong device profile:\n{listing}", self._violations)
        return profile

    def _modbus(self, protocol: Protocol) -> tuple[ModbusLimits, Defaults]:
        table = self._table("modbus", MODBUS_KEYS, required=protocol is Protocol.MODBUS)
        default_table = self._choice("modbus", "table", table.get("table", "holding"), Table, Table.HOLDING)
        orders: dict[str, str] = {}
        for key in ("byte_order", "word_order"):
            orders[key] = table.get(key, "big")
            if orders[key] not in ("big", "little"):
                self._wrong(f"'{orders[key]}' is neither big nor little", "modbus", key)
        limits = ModbusLimits(
            max_read_registers=self._integer("modbus", "max_read_registers", 125, 1, 125),
            max_read_bits=self._integer("modbus", "max_read_bits", 2000, 1, 2000),
            max_write_registers=self._integer("modbus", "max_write_registers", 123, 1, 123),
            max_write_bits=self._integer("modbus", "max_write_bits", 1968, 1, 1968),
            max_gap=self._integer("modbus", "max_gap", 32, 0, 124),
            pause_s=self._integer("modbus", "pause_ms", 0, 0, 10_000) / 1000,
            connect_pause_s=self._integer("modbus", "connect_pause_ms", 0, 0, 10_000) / 1000,
            write_mode=self._choice("modbus", "write_mode", table.get("write_mode", "auto"), WriteMode, WriteMode.AUTO),
            illegal=tuple(self._illegal(table.get("illegal", []))),
        )
        opcua = self._source.data.get("opcua")
        namespace = opcua.get("namespace", "") if isinstance(opcua, dict) else ""
        return limits, Defaults(default_table, orders["byte_order"], orders["word_order"], namespace)

    def _illegal(self, entries: Any) -> list[tuple[Table, int, int]]:
        ranges: list[tuple[Table, int, int]] = []
        for entry in entries if isinstance(entries, list) else [None]:
            match entry:
                case [str(name), int(low), int(high)] if name in set(Table) and 0 <= low <= high:
                    ranges.append((Table(name), low, high))
                case _:
                    self._wrong('is a list of ["table", first, last]', "modbus", "illegal")
        return ranges

    def _opcua(self) -> OpcUaLimits:
        table = self._table("opcua", OPCUA_KEYS, required=False)
        age = table.get("max_age_s")
        if age is not None and (isinstance(age, bool) or not isinstance(age, int | float) or age <= 0):
            self._wrong("is not a positive number of seconds", "opcua", "max_age_s")
            age = None
        return OpcUaLimits(
            max_nodes_per_read=self._integer("opcua", "max_nodes_per_read", 1000, 1, 100_000),
            max_nodes_per_write=self._integer("opcua", "max_nodes_per_write", 1000, 1, 100_000),
            max_age_s=age,
        )

    def _points(self, protocol: Protocol, defaults: Defaults) -> dict[str, PointBinding]:
        ranges = self._index_ranges()
        entries = self._source.data.get("points")
        if not isinstance(entries, dict) or not entries:
            self._wrong("a profile needs at least one [points.<name>]", "points")
            return {}
        points: dict[str, PointBinding] = {}
        for name, entry in entries.items():
            reader = PointReader(self._source, name, protocol, defaults, ranges)
            binding = reader.read(entry)
            self._violations += reader.violations
            if binding is not None:
                points[name] = binding
        return points

    def _index_ranges(self) -> dict[Scope, tuple[int, int]]:
        ranges = dict(_DEFAULT_INDEX)
        table = self._source.data.get("index", {})
        for key, value in table.items() if isinstance(table, dict) else ():
            if key not in {scope.value for scope in _DEFAULT_INDEX}:
                self._wrong("is no scope of points (gear, group, line, channel)", "index", key)
                continue
            match value:
                case [int(low), int(high)] if 0 <= low <= high:
                    ranges[Scope(key)] = (low, high)
                case _:
                    self._wrong("is not [first, last]", "index", key)
        return ranges

    def _check_confirmations(self, profile: Profile) -> None:
        for name, binding in profile.points.items():
            if not binding.confirm or binding.confirm == name:
                continue
            other = profile.points.get(binding.confirm)
            if other is None or not other.direction.readable or other.scope is not binding.scope:
                reason = f"'{binding.confirm}' is no readable point of the same scope in this profile"
                self._wrong(reason, "points", name, "confirm")

    def _table(self, name: str, allowed: set[str], *, required: bool = True) -> dict[str, Any]:
        table = self._source.data.get(name)
        if not isinstance(table, dict):
            if required or table is not None:
                self._wrong(f"[{name}] is missing", name)
            return {}
        for key in table.keys() - allowed:
            self._wrong(f"unknown key, known are {', '.join(sorted(allowed))}", name, key)
        return table

    def _text(self, table: dict[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            self._wrong("is missing or empty", "profile", key)
            return ""
        return value.strip()

    def _integer(self, table: str, key: str, default: int, low: int, high: int) -> int:
        entries = self._source.data.get(table)
        value = entries.get(key, default) if isinstance(entries, dict) else default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._wrong(f"{value!r} is not an integer {low}..{high}", table, key)
            return default
        return value

    def _choice(self, table: str, key: str, value: Any, choices: type[Choice], default: Choice) -> Choice:
        if value in {choice.value for choice in choices}:
            return choices(value)
        self._wrong(f"{value!r} is none of {', '.join(choice.value for choice in choices)}", table, key)
        return default

    def _wrong(self, reason: str, *path: str) -> None:
        self._violations.append(self._source.violation(reason, *path))
