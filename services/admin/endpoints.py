"""Endpoints in the field as the page shows them: how far each has come into control, by whom, what hangs on it.

Pure: messages of the contracts in. Not here: how they are asked for (commissioning.py), what it looks like (pages/).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from lichtbuch.audit.v1 import audit_pb2
from lichtbuch.lighting.v1 import faults_pb2, inventory_pb2, sensors_pb2
from lichtbuch.registry.v1 import registry_pb2
from services.admin.faults import FaultNow
from services.admin.figures import CabinetNow, MeterNow, id_of, instant
from services.admin.lamps import Lamp, LampTable, Look

STATES: Final = (
    registry_pb2.ENDPOINT_STATE_PLANNED,
    registry_pb2.ENDPOINT_STATE_OBSERVED,
    registry_pb2.ENDPOINT_STATE_TESTED,
    registry_pb2.ENDPOINT_STATE_IN_CONTROL,
)
"""The way into control."""
_SHOWN_PARTS: Final = ("unit", "base", "baud", "parity")
"""What may be shown of what follows the question mark in an address; values of all else are hidden."""


@dataclass(frozen=True, slots=True)
class EndpointNow:
    """An endpoint."""

    name: str
    display_name: str
    address: str
    """Without anything that might be secret."""
    profile: str
    owner: int
    """An EndpointOwner of the contract."""
    state: registry_pb2.EndpointState.ValueType
    """An EndpointState of the contract."""
    released_by: str
    released_at: datetime | None

    @property
    def following(self) -> registry_pb2.EndpointState.ValueType | None:
        """The next state on the way into control."""
        return next((state for state in STATES if state == self.state + 1), None)

    @property
    def previous(self) -> registry_pb2.EndpointState.ValueType | None:
        """The state before."""
        return next((state for state in STATES if state == self.state - 1), None)


@dataclass(frozen=True, slots=True)
class Move:
    """Who brought an endpoint into its state, when, and why."""

    state: int
    at: datetime
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """What is reached at an endpoint."""

    name: str
    """Of a gateway, a cabinet, a sensor or a meter."""
    endpoint: str

    @property
    def collection(self) -> str:
        """gateways, cabinets, sensors or meters."""
        return self.name.split("/")[-2]


@dataclass(frozen=True, slots=True)
class Health:
    """What lighting tells of an endpoint. All empty where it tells nothing."""

    silent_since: datetime | None = None
    """Since when a fault says that there is no connection."""
    answers: bool | None = None
    """Whether the controller of a cabinet answers."""
    lamps: int = 0
    answering: int = 0
    unpowered: int = 0
    """Lamps whose supply is off, and that say nothing for that."""


def endpoint_from_proto(message: registry_pb2.Endpoint) -> EndpointNow:
    """An endpoint."""
    return EndpointNow(
        name=message.name,
        display_name=message.display_name,
        address=shown_address(message.url),
        profile=message.profile,
        owner=int(message.owner),
        state=message.state,
        released_by=message.released_by,
        released_at=instant(message.released_at) if message.HasField("released_at") else None,
    )


def shown_address(url: str) -> str:
    """An address without names, passwords and values that nobody needs to tell devices apart."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    query = "&".join(_shown_part(part) for part in parts.query.split("&") if part)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _shown_part(part: str) -> str:
    key, _, value = part.partition("=")
    return f"{key}={value if key in _SHOWN_PARTS else '…'}"


def moves_from_proto(records: Iterable[audit_pb2.AuditRecord]) -> dict[str, Move]:
    """The last move of each endpoint, by its name. records: the registry's, newest first."""
    found: dict[str, Move] = {}
    for record in records:
        if "/endpoints/" not in record.resource or record.resource in found:
            continue
        before, after = _state_in(record.before_json), _state_in(record.after_json)
        if after and before != after:
            found[record.resource] = Move(after, instant(record.domain_at), record.actor, record.reason)
    return found


def _state_in(text: str) -> int:
    """The state that an endpoint had by the audit trail; 0 where it says nothing."""
    try:
        word = json.loads(text).get("state", "") if text else ""
        return int(registry_pb2.EndpointState.Value(word)) if word else 0
    except (ValueError, AttributeError):
        return 0


def last_move(endpoint: EndpointNow, moves: Mapping[str, Move]) -> Move | None:
    """How an endpoint came into its state, as far as it is known to this person."""
    if endpoint.released_at is not None:
        said = moves.get(endpoint.name)
        reason = said.reason if said and said.state == endpoint.state else ""
        return Move(endpoint.state, endpoint.released_at, endpoint.released_by, reason)
    move = moves.get(endpoint.name)
    return move if move is not None and move.state == endpoint.state else None


def attached_from_proto(
    gateways: Iterable[inventory_pb2.Gateway],
    cabinets: Iterable[inventory_pb2.Cabinet],
    sensors: Iterable[sensors_pb2.Sensor],
) -> tuple[Attached, ...]:
    """What lighting reaches at endpoints."""
    return (
        *(Attached(gateway.name, gateway.endpoint) for gateway in gateways if gateway.endpoint),
        *(Attached(cabinet.name, cabinet.controller) for cabinet in cabinets if cabinet.controller),
        *(Attached(sensor.name, sensor.endpoint) for sensor in sensors if sensor.endpoint),
    )


def by_endpoint(lighting: Iterable[Attached], meters: Iterable[MeterNow]) -> dict[str, tuple[Attached, ...]]:
    """What hangs on each endpoint, by its name."""
    found: dict[str, list[Attached]] = {}
    for each in (*lighting, *(Attached(meter.name, meter.endpoint) for meter in meters if meter.endpoint)):
        found.setdefault(each.endpoint, []).append(each)
    return {endpoint: tuple(things) for endpoint, things in found.items()}


def lamps_behind(lamps: Iterable[Lamp]) -> Counter[str]:
    """How many lamps a gateway or a cabinet has, by its name."""
    return Counter(owner for lamp in lamps for owner in (lamp.gateway, lamp.cabinet) if owner)


def rows_behind(lamps: Sequence[Lamp]) -> dict[str, list[int]]:
    """Rows of the lamps of each gateway, by its name."""
    found: dict[str, list[int]] = {}
    for row, lamp in enumerate(lamps):
        if lamp.gateway:
            found.setdefault(lamp.gateway, []).append(row)
    return found


def health_of(
    attached: Iterable[Attached],
    table: LampTable,
    behind: Mapping[str, Sequence[int]],
    faults: Iterable[FaultNow],
    cabinets: Iterable[CabinetNow],
) -> Health:
    """What lighting tells of what hangs on one endpoint. behind: rows of the table by gateway."""
    names = {each.name for each in attached}
    lost = [
        fault.raised_at
        for fault in faults
        if fault.kind == faults_pb2.FAULT_KIND_COMMUNICATION_LOSS and fault.subject in names
    ]
    states = [cabinet.answers for cabinet in cabinets if cabinet.name in names]
    rows = np.array([row for name in names for row in behind.get(name, ())], dtype=np.int64)
    looks = table.looks(rows) if rows.size else np.zeros(0, np.uint8)
    unpowered = int((looks == int(Look.UNPOWERED)).sum())
    return Health(
        silent_since=min(lost, default=None),
        answers=all(states) if states else None,
        lamps=int(rows.size),
        answering=int(rows.size) - unpowered - int((looks == int(Look.UNKNOWN)).sum()),
        unpowered=unpowered,
    )


def chosen(endpoints: Iterable[EndpointNow], *, state: int = 0, text: str = "") -> tuple[EndpointNow, ...]:
    """Endpoints in a state (0: in any) of which id, name, address or profile hold a text; by state, then by id."""
    wanted = text.strip().casefold()
    fitting = [
        each
        for each in endpoints
        if state in (0, each.state)
        and wanted in f"{id_of(each.name)}\n{each.display_name}\n{each.address}\n{each.profile}".casefold()
    ]
    return tuple(sorted(fitting, key=lambda each: (each.state, id_of(each.name))))
