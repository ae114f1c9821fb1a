"""What the page shows of cabinets, overrides, meters and savings, out of the services' messages. Pure.

Energy in Wh, money as decimal text, levels in per mille, instants in UTC. Not here: words and number formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from lichtbuch.ledger.v1 import ledger_pb2
from lichtbuch.lighting.v1 import control_pb2, inventory_pb2
from lichtbuch.metering.v1 import metering_pb2
from lichtbuch.registry.v1 import registry_pb2
from lichtbuch.type.v1 import types_pb2


def id_of(name: str) -> str:
    """The last part of a resource name."""
    return name.rsplit("/", 1)[-1]


def instant(stamp: Timestamp) -> datetime:
    """A timestamp as an aware datetime."""
    return stamp.ToDatetime(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Facts:
    """The municipality."""

    name: str
    display_name: str
    time_zone: str
    synthetic: bool = False
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    """Where the sun is computed for, WGS84; None where that is not known."""

    @property
    def id(self) -> str:
        """The last part of its name, as it stands in addresses."""
        return id_of(self.name)


def facts_from_proto(message: registry_pb2.Municipality) -> Facts:
    """A municipality."""
    return Facts(
        name=message.name,
        display_name=message.display_name or id_of(message.name),
        time_zone=message.time_zone or "Europe/Berlin",
        synthetic=message.synthetic,
        latitude_deg=message.position.latitude_deg if message.HasField("position") else None,
        longitude_deg=message.position.longitude_deg if message.HasField("position") else None,
    )


@dataclass(frozen=True, slots=True)
class Group:
    """A plan group."""

    name: str
    display_name: str
    luminaires: int


def group_from_proto(message: inventory_pb2.Group) -> Group:
    """A plan group."""
    return Group(message.name, message.display_name or id_of(message.name), message.luminaire_count)


@dataclass(frozen=True, slots=True)
class CabinetPlace:
    """A cabinet as the inventory knows it. Degrees, WGS84."""

    name: str
    display_name: str
    street: str
    latitude_deg: float
    longitude_deg: float


def cabinet_from_proto(message: inventory_pb2.Cabinet) -> CabinetPlace:
    """A cabinet."""
    return CabinetPlace(
        name=message.name,
        display_name=message.display_name or id_of(message.name),
        street=message.street,
        latitude_deg=message.position.latitude_deg,
        longitude_deg=message.position.longitude_deg,
    )


@dataclass(frozen=True, slots=True)
class CabinetNow:
    """A cabinet's state."""

    name: str
    switch: int
    """A SwitchPosition of the contract."""
    door_open: bool
    feeders: int
    energised: int
    answers: bool
    """False while its controller does not answer; the rest is old then."""


def cabinet_now_from_proto(message: control_pb2.CabinetState) -> CabinetNow:
    """A cabinet's state."""
    return CabinetNow(
        name=message.name,
        switch=int(message.switch_position),
        door_open=message.door_open,
        feeders=len(message.feeders),
        energised=sum(message.energised),
        answers=message.quality not in (types_pb2.QUALITY_MISSING, types_pb2.QUALITY_BAD),
    )


@dataclass(frozen=True, slots=True)
class OverrideNow:
    """An override that holds or will."""

    name: str
    targets: tuple[str, ...]
    level_permille: int
    priority: int
    """An OverridePriority of the contract."""
    start_at: datetime
    expires_at: datetime
    reason: str
    author: str


def override_from_proto(message: control_pb2.Override) -> OverrideNow:
    """An override."""
    return OverrideNow(
        name=message.name,
        targets=tuple(message.targets),
        level_permille=message.level_permille,
        priority=int(message.priority),
        start_at=instant(message.start_time),
        expires_at=instant(message.expire_time),
        reason=message.reason,
        author=message.author,
    )


HOURLY_OR_MORE: Final = (
    metering_pb2.READING_CYCLE_QUARTER_HOUR,
    metering_pb2.READING_CYCLE_HALF_HOUR,
    metering_pb2.READING_CYCLE_HOUR,
)
"""Cycles of meters of which the last 24 hours tell something, whenever they are looked at."""
POOR_COVERAGE: Final = 950
"""Per mille below which somebody should look why."""


@dataclass(frozen=True, slots=True)
class MeterNow:
    """A meter's newest value, in its scale, and its last day in whole units."""

    name: str
    display_name: str
    place: str
    """Cabinet's id or building's name."""
    unit: int
    latest_value: int | None
    latest_slot: datetime | None
    day_amount: int | None
    """Consumption of the last 24 hours; None where it is not known."""
    coverage: int | None
    """Share of the last 24 hours that readings cover, in per mille; None where that tells nothing."""
    endpoint: str = ""
    """Where it is read; empty for meters read by hand."""
    medium: int = 0
    kind: int = 0
    scale_exponent: int = 0


class LastDay(Protocol):
    """Figures of the last 24 hours by name of the meter."""

    @property
    def coverages(self) -> Mapping[str, int]:
        """Per mille."""

    @property
    def amounts(self) -> Mapping[str, int]:
        """Whole units."""


def meters_from_proto(meters: Iterable[metering_pb2.Meter], day: LastDay) -> tuple[MeterNow, ...]:
    """The meters with the figures of their last day; coverage of those only that are read every hour or more often."""
    return tuple(
        MeterNow(
            name=meter.name,
            display_name=meter.display_name or id_of(meter.name),
            place=id_of(meter.cabinet) or meter.building,
            unit=int(meter.unit),
            latest_value=meter.latest_value if meter.HasField("latest_slot") else None,
            latest_slot=instant(meter.latest_slot) if meter.HasField("latest_slot") else None,
            day_amount=day.amounts.get(meter.name),
            coverage=_told(meter, day.coverages.get(meter.name)),
            endpoint=meter.endpoint,
            medium=int(meter.medium),
            kind=int(meter.kind),
            scale_exponent=meter.scale_exponent,
        )
        for meter in meters
    )


def _told(meter: metering_pb2.Meter, coverage: int | None) -> int | None:
    """Coverage of a last day, where it tells something."""
    if meter.reading_cycle in HOURLY_OR_MORE or (not meter.reading_cycle and meter.endpoint):
        return coverage
    # Of a sum, and of what nobody said how often it is read, nobody knows what to expect.
    return coverage or None if not meter.reading_cycle else None


@dataclass(frozen=True, slots=True)
class SavingsLine:
    """A measure's savings, or the sum of all."""

    name: str
    display_name: str
    entries: int
    actual_wh: int
    baseline_wh: int
    saved_wh: int
    saved_eur: Decimal
    avoided_co2_g: int
    uncertainty_wh: int


def line_from_proto(message: ledger_pb2.StatementLine) -> SavingsLine:
    """A line of a statement."""
    return SavingsLine(
        name=message.measure,
        display_name=message.display_name or id_of(message.measure),
        entries=message.entries,
        actual_wh=message.actual_wh,
        baseline_wh=message.baseline_wh,
        saved_wh=message.saved_wh,
        saved_eur=_decimal(message.saved_eur),
        avoided_co2_g=message.avoided_co2_g,
        uncertainty_wh=message.uncertainty_wh,
    )


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text or "0")
    except InvalidOperation:
        return Decimal(0)


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The signed head of the book's log."""

    tree_size: int
    root_hex: str
    signed_at: datetime


def head_from_proto(message: ledger_pb2.Checkpoint) -> TreeHead:
    """A checkpoint."""
    return TreeHead(message.tree_size, message.root_hash.hex(), instant(message.signed_at))


@dataclass(frozen=True, slots=True)
class Night:
    """What lighting used in a night, and what it would have used before. Named by the day of its noon."""

    day: date
    entries: int
    actual_wh: int
    saved_wh: int


def night_from_proto(day: date, message: ledger_pb2.Statement) -> Night:
    """The sum of a night's entries."""
    total = message.total
    return Night(day, total.entries, total.actual_wh, total.saved_wh)


@dataclass(frozen=True, slots=True)
class Savings:
    """The statement since the beginning, the last nights, and the tree head they rest on."""

    lines: tuple[SavingsLine, ...]
    total: SavingsLine
    nights: tuple[Night, ...]
    head: TreeHead | None


def savings_from_proto(statement: ledger_pb2.Statement, nights: Sequence[Night]) -> Savings:
    """The savings."""
    return Savings(
        lines=tuple(line_from_proto(line) for line in statement.lines),
        total=line_from_proto(statement.total),
        nights=tuple(nights),
        head=head_from_proto(statement.checkpoint) if statement.HasField("checkpoint") else None,
    )


@dataclass(frozen=True, slots=True)
class LogCheck:
    """What the server found when it verified its log."""

    valid: bool
    leaves: int
    problems: tuple[str, ...]
    checked_at: datetime
    """Real time."""
