"""What control rests on as a local file, so that a restart without the database still has the town. Written atomically.

Two parts, as they change at different rates: the inventory, and the orders (plans, overrides, lock-outs, waivers). Rows
are lists in the order of the records' fields. Not here: when it is written and read (memory.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import astuple, fields
from math import isnan, nan
from pathlib import Path
from typing import Any, Final, TypeVar

from domain.canonical import sha256_hex
from domain.errors import Corrupted
from domain.plan import Plan
from domain.plan_rule import SensorKind, rule_from_document, rule_to_document
from domain.priority import Priority
from services.lighting.records import (
    CabinetRecord,
    EndpointRecord,
    EndpointState,
    FeederRecord,
    FeederSupply,
    GatewayRecord,
    GroupRecord,
    IdentificationRecord,
    Inventory,
    Known,
    LockoutRecord,
    LuminaireRecord,
    Orders,
    OverrideRecord,
    SensorRecord,
    SwitchingOwner,
    TownRecord,
    WaiverRecord,
)

_SCHEMA: Final = "lichtbuch-lighting-known/1"
_TABLES: Final[dict[str, type[Any]]] = {
    "towns": TownRecord,
    "cabinets": CabinetRecord,
    "feeders": FeederRecord,
    "gateways": GatewayRecord,
    "groups": GroupRecord,
    "luminaires": LuminaireRecord,
    "endpoints": EndpointRecord,
    "sensors": SensorRecord,
    "overrides": OverrideRecord,
    "lockouts": LockoutRecord,
    "waivers": WaiverRecord,
    "identifications": IdentificationRecord,
}
_ENUMS: Final[dict[str, type[Any]]] = {
    "switching_owner": SwitchingOwner,
    "supply": FeederSupply,
    "state": EndpointState,
    "priority": Priority,
    "kind": SensorKind,
}
_ORDERS: Final = ("overrides", "lockouts", "waivers", "identifications")
_INVENTORY: Final = tuple(f.name for f in fields(Inventory) if f.name != "revision")

Record = TypeVar("Record")


class SnapshotFiles:
    """The two files in a folder. Only the process that holds the field writes them."""

    def __init__(self, folder: Path) -> None:
        self._inventory = folder / "inventory.json"
        self._orders = folder / "orders.json"

    def save_inventory(self, inventory: Inventory) -> None:
        """Writes the inventory."""
        body = {name: _rows(getattr(inventory, name)) for name in _INVENTORY}
        _write(self._inventory, {"revision": inventory.revision, **body})

    def save_orders(self, orders: Orders) -> None:
        """Writes plans, overrides, lock-outs and waivers."""
        plans = [
            [uid, p.valid_from_ms, p.valid_until_ms, p.instants_ms, p.levels_permille, p.ramps_s]
            + ([[rule_to_document(rule) for rule in p.rules]] if p.rules else [])
            for uid, p in orders.plans.items()
        ]
        body: dict[str, Any] = {"plans": plans}
        body |= {name: _rows(getattr(orders, name)) for name in _ORDERS}
        _write(self._orders, {"revision": orders.revision, **body})

    def load(self) -> Known:
        """What was written last; empty where nothing was. Raises Corrupted for a file that is not whole."""
        inventory, orders = _read(self._inventory), _read(self._orders)
        if inventory and not orders:
            # Nobody can tell what is locked out: a town without orders must not be switched.
            raise Corrupted(f"{self._inventory.name} is there, but {self._orders.name} is not")
        return Known(
            Inventory(
                revision=inventory.get("revision", 0),
                **{name: _records(name, inventory.get(name, ())) for name in _INVENTORY},
            ),
            Orders(
                revision=orders.get("revision", 0),
                plans={row[0]: _plan(row) for row in orders.get("plans", ())},
                **{name: _records(name, orders.get(name, ())) for name in _ORDERS},
            ),
        )


def _plan(row: list[Any]) -> Plan:
    """A plan of a row; one without rules has no seventh element."""
    rules = tuple(rule_from_document(document) for document in row[6]) if len(row) > 6 else ()
    return Plan(row[1], row[2], tuple(row[3]), tuple(row[4]), tuple(row[5]), rules)


def _rows(records: Iterable[Any]) -> list[list[Any]]:
    return [[None if isinstance(v, float) and isnan(v) else v for v in astuple(record)] for record in records]


def _records(name: str, rows: Iterable[list[Any]]) -> tuple[Any, ...]:
    kind = _TABLES[name]
    converters = [_converter(f.name) for f in fields(kind)]
    # A row may lack the last fields: an older version wrote it, and they have a default. One that is too long is wrong.
    return tuple(kind(*(c(v) for c, v in zip(converters[: len(row)], row, strict=True))) for row in rows)


def _converter(field: str) -> Any:
    if field in _ENUMS:
        return _ENUMS[field]
    if field.endswith("_deg"):
        return lambda value: nan if value is None else value
    if field in ("targets", "group_uids"):
        return tuple
    if field == "gear_groups":
        return lambda value: tuple((number, tuple(addresses)) for number, addresses in value)
    return lambda value: value


def _write(path: Path, body: dict[str, Any]) -> None:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    document = json.dumps({"schema": _SCHEMA, "sha256": sha256_hex(text.encode())}) + "\n" + text
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    # Readable by the service alone: addresses of field devices stand in it.
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(document)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        head, _, text = path.read_text(encoding="utf-8").partition("\n")
    except FileNotFoundError:
        return {}
    try:
        header = json.loads(head)
        whole = header["schema"] == _SCHEMA and header["sha256"] == sha256_hex(text.encode())
        body = json.loads(text) if whole else None
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupted(f"{path.name} is no snapshot: {error}") from error
    if not isinstance(body, dict):
        raise Corrupted(f"{path.name} is not whole, or of another version")
    return body
