"""Reads device profiles and refuses wrong ones with file, line and reason, all errors of a file at once.

One point is format/points.py's. docs/device-profiles.md describes every key, docs/adding-a-device.md how to begin.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from domain.errors import InvalidInput, NotFound, Violation
from fieldbus.format.checks import check_profile
from fieldbus.format.numbering import what_was_meant
from fieldbus.format.points import Defaults, PointReader
from fieldbus.format.tables import read_order
from fieldbus.format.toml_entry import Entry, did_you_mean, is_whole
from fieldbus.format.toml_source import TomlSource
from fieldbus.profile import (
    Discovery,
    FreshnessRule,
    ModbusLimits,
    OpcUaLimits,
    PointBinding,
    Profile,
    Protocol,
    Table,
    WatchdogMode,
    WatchdogRule,
    WriteMode,
)
from fieldbus.vocabulary import GEAR_PER_LINE, GROUPS_PER_LINE, Scope

PROFILES_DIRECTORY = Path(__file__).parent / "profiles"

_KINDS = ("meter", "lamps", "cabinet", "sensor", "room", "demonstration")
PROFILE_KEYS = {"name", "kind", "vendor", "product", "protocol", "source", "notes"}
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
    "max_in_flight",
    "discovery",
    "wire_addresses",
}
WATCHDOG_KEYS = {"point", "interval_s", "mode", "timeout_point", "timeout_s"}
FRESHNESS_KEYS = {"max_age_s", "frozen_after", "live_point", "live_within_s"}
OPCUA_KEYS = {"namespace", "max_nodes_per_read", "max_nodes_per_write", "max_age_s"}
_TABLES = ("profile", "modbus", "opcua", "index", "watchdog", "freshness", "points")
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
        self._violations: list[Violation] = []
        self._source = source
        self._file = Entry(source, (), source.data, self._violations)

    def load(self) -> Profile:
        for key in self._file:
            if key not in _TABLES and not self._file.is_full:
                meant = did_you_mean(key, _TABLES)
                self._file.wrong(
                    f"unknown table{meant or ','} {'K' if meant else 'k'}nown are {', '.join(_TABLES)}", key
                )
        head = self._table("profile", PROFILE_KEYS, required=True)
        texts = {key: head.text(key) for key in ("name", "kind", "vendor", "product", "source")}
        if texts["kind"] and texts["kind"] not in _KINDS:
            head.wrong(f"'{texts['kind']}' is none of {', '.join(_KINDS)}{did_you_mean(texts['kind'], _KINDS)}", "kind")
        notes = head.text("notes", required=False)
        if "protocol" not in head:
            head.wrong("is missing or empty", "protocol")
        protocol = head.choice("protocol", Protocol, Protocol.MODBUS)
        other = "opcua" if protocol is Protocol.MODBUS else "modbus"
        if "protocol" in head and other in self._file:
            self._file.wrong(f"the profile is for {protocol.value}", other)
        modbus, defaults = self._modbus()
        freshness, opcua = self._freshness()
        profile = Profile(
            **texts,
            protocol=protocol,
            notes=notes,
            points=self._points(protocol, defaults, modbus.discovery),
            modbus=modbus,
            opcua=opcua,
            watchdog=self._watchdog(),
            freshness=freshness,
        )
        check_profile(self._file, profile)
        if self._violations:
            listing = "\n".join(f"{violation.field}: {violation.reason}" for violation in self._violations)
            raise InvalidInput(f"wrong device profile:\n{listing}", self._violations)
        return profile

    def _modbus(self) -> tuple[ModbusLimits, Defaults]:
        entry = self._table("modbus", MODBUS_KEYS)
        table = entry.choice("table", Table, Table.HOLDING)
        byte_order, word_order = read_order(entry, "byte_order", "big"), read_order(entry, "word_order", "big")
        wire_addresses = entry.flag("wire_addresses")
        write_mode = entry.choice("write_mode", WriteMode, WriteMode.AUTO)
        if write_mode is WriteMode.SEQUENCE:
            entry.wrong("is of a point, with its sequence register", "write_mode")
        limits = ModbusLimits(
            max_read_registers=entry.integer("max_read_registers", 125, 1, 125),
            max_read_bits=entry.integer("max_read_bits", 2000, 1, 2000),
            max_write_registers=entry.integer("max_write_registers", 123, 1, 123),
            max_write_bits=entry.integer("max_write_bits", 1968, 1, 1968),
            max_gap=entry.integer("max_gap", 32, 0, 124),
            pause_s=entry.integer("pause_ms", 0, 0, 10_000) / 1000,
            connect_pause_s=entry.integer("connect_pause_ms", 0, 0, 10_000) / 1000,
            write_mode=write_mode,
            illegal=tuple(_illegal(entry, wire_addresses)),
            max_in_flight=entry.integer("max_in_flight", 1, 1, 64),
            discovery=entry.choice("discovery", Discovery, Discovery.NONE),
        )
        opcua = self._source.data.get("opcua")
        namespace = opcua.get("namespace", "") if isinstance(opcua, dict) else ""
        return limits, Defaults(table, byte_order, word_order, namespace, wire_addresses)

    def _freshness(self) -> tuple[FreshnessRule, OpcUaLimits]:
        entry = self._table("freshness", FRESHNESS_KEYS)
        opcua = self._table("opcua", OPCUA_KEYS)
        age = entry.positive("max_age_s")
        if age is not None and "max_age_s" in opcua:
            opcua.wrong("is given in [freshness] too", "max_age_s")
        age = opcua.positive("max_age_s", age)
        limits = OpcUaLimits(
            max_nodes_per_read=opcua.integer("max_nodes_per_read", 1000, 1, 100_000),
            max_nodes_per_write=opcua.integer("max_nodes_per_write", 1000, 1, 100_000),
            max_age_s=age,
        )
        frozen_after = entry.integer("frozen_after", 0, 2, 100_000) if "frozen_after" in entry else 0
        live_point, within_s = entry.text("live_point", required=False), entry.positive("live_within_s")
        if ("live_point" in entry) != ("live_within_s" in entry):
            entry.wrong("live_point and live_within_s belong together", *(set(entry) & {"live_point", "live_within_s"}))
        return FreshnessRule(age, frozen_after, live_point, within_s or 0.0), limits

    def _watchdog(self) -> WatchdogRule | None:
        if "watchdog" not in self._file:
            return None
        entry = self._table("watchdog", WATCHDOG_KEYS)
        mode = entry.choice("mode", WatchdogMode, WatchdogMode.COUNT)
        interval_s, timeout_s = entry.positive("interval_s"), entry.positive("timeout_s")
        if "interval_s" not in entry:
            entry.wrong("is missing: how often the device wants to hear from its master", "interval_s")
        if interval_s is not None and timeout_s is not None and timeout_s <= interval_s:
            entry.wrong("is not longer than interval_s: the device would always fall back", "timeout_s")
        return WatchdogRule(
            point=entry.text("point", required=mode is not WatchdogMode.TOUCH),
            interval_s=interval_s or 1.0,
            mode=mode,
            timeout_point=entry.text("timeout_point", required=False),
            timeout_s=timeout_s,
        )

    def _points(self, protocol: Protocol, defaults: Defaults, discovery: Discovery) -> dict[str, PointBinding]:
        ranges = self._index_ranges()
        entries = self._source.data.get("points")
        if not isinstance(entries, dict) or not entries:
            self._file.wrong("a profile needs at least one [points.<name>]", "points")
            return {}
        points: dict[str, PointBinding] = {}
        for name, entry in entries.items():
            if self._file.is_full:
                break
            reader = PointReader(self._source, name, protocol, defaults, ranges, discovery)
            binding = reader.read(entry)
            self._violations += reader.violations
            if binding is not None:
                points[name] = binding
        return points

    def _index_ranges(self) -> dict[Scope, tuple[int, int]]:
        ranges = dict(_DEFAULT_INDEX)
        entry = self._table("index", {scope.value for scope in _DEFAULT_INDEX})
        for scope in _DEFAULT_INDEX:
            ranges[scope] = entry.range(scope.value) or ranges[scope]
        return ranges

    def _table(self, name: str, allowed: set[str], *, required: bool = False) -> Entry:
        if name not in self._file:
            if required:
                self._file.wrong(f"[{name}] is missing", name)
            return Entry(self._source, (name,), {}, self._violations)
        entry = Entry(self._source, (name,), self._source.data[name], self._violations)
        entry.only(allowed)
        return entry


def _illegal(entry: Entry, wire_addresses: bool) -> list[tuple[Table, int, int]]:
    ranges: list[tuple[Table, int, int]] = []
    value = entry.data.get("illegal", [])
    for one in value if isinstance(value, list) else [None]:
        match one:
            case [str(name), low, high] if name in set(Table) and is_whole(low) and is_whole(high) and 0 <= low <= high:
                if not wire_addresses and (meant := what_was_meant(low, high, Table(name))):
                    entry.wrong(meant, "illegal")
                ranges.append((Table(name), low, high))
            case _:
                entry.wrong('is a list of ["table", first, last]', "illegal")
    return ranges
