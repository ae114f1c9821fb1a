"""Files of meters: each line a meter, each column a field of the contract, and what has to be done about it.

A column that is there counts, an empty cell in it takes the value away; what no column tells of stays as it is stored.
What goes together is checked by metering's own rules before anything is sent; what depends on stored readings and on
other meters the service checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from cli.importing.kinds import Column, Kind, columns_of, is_instant, last, with_offset
from cli.importing.luminaires import Refusal, resource_id
from cli.importing.tables import Row, Table
from domain.errors import InvalidInput
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.interceptors.rules import validate
from services.metering.meter import DEFAULT_POINT
from services.metering.meter_rules import MeterFacts, check, check_installation

METERS: Final = Kind("meters", "meter_id", "meter", "meters", pb.Meter, ("lives", "latest_value", "latest_slot"))
HOUSING: Final = ("endpoint", "serial_number", "transformer_ratio")
"""What a register in the housing of another meter has from that one."""
_PREFIX: Final = "meter."


@dataclass(frozen=True)
class Line:
    """A line: the meter as the file tells of it, and which fields it tells of."""

    number: int
    meter: pb.Meter
    told: tuple[str, ...]


@dataclass
class MeterSheet:
    """What a file of meters holds."""

    lines: list[Line] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Columns that no field is called by."""


def read_meters(table: Table, parent: str, tz: ZoneInfo) -> MeterSheet:
    """The meters of a municipality that a table tells of; instants without an offset are on its clock. Raises
    InvalidInput where no column holds ids."""
    found = MeterSheet()
    columns = {column.name: column for column in columns_of(METERS)}
    given = {re.sub(r"\s*\(.*", "", header).strip().casefold(): header for header in table.columns}
    if METERS.id_column not in given:
        raise InvalidInput.of("file", f"has no column {METERS.id_column}; it has {', '.join(table.columns)}")
    headers = {columns[name]: header for name, header in given.items() if name in columns}
    found.unknown = [header for name, header in given.items() if name not in columns and name != METERS.id_column]
    seen: dict[str, int] = {}
    for row in table.rows:
        refusals, meter = _read(row, given[METERS.id_column], headers, parent, tz)
        if not refusals and meter.name in seen:
            refusals = [Refusal(row.line, METERS.id_column, f"is the id of line {seen[meter.name]} already")]
        seen.setdefault(meter.name, row.line)
        found.refusals += refusals
        if not refusals:
            found.lines.append(Line(row.line, meter, tuple(column.field.name for column in headers)))
    return found


def _read(
    row: Row, id_header: str, headers: Mapping[Column, str], parent: str, tz: ZoneInfo
) -> tuple[list[Refusal], pb.Meter]:
    if row.refusal:
        return [Refusal(row.line, "", row.refusal)], pb.Meter()
    text = row.cells.get(id_header, "")
    identifier = resource_id(text)
    meter = pb.Meter(name=f"{parent}/{METERS.collection}/{identifier}")
    refusals = [] if identifier else [Refusal(row.line, METERS.id_column, "is missing", text[:100])]
    for column, header in headers.items():
        cell = row.cells.get(header, "").strip()
        try:
            column.take(meter, with_offset(cell, tz) if is_instant(column.field) else cell, parent)
        except ValueError as error:
            refusals.append(Refusal(row.line, column.name, str(error), cell[:100]))
    return refusals, meter


def ordered(lines: Iterable[Line], stored: Iterable[str]) -> tuple[list[Line], list[Refusal]]:
    """Lines in an order in which each meter comes after those that it names; refused are those that name nobody, or
    themselves in a circle."""
    waiting = {line.meter.name: line for line in lines}
    there, refusals, done = set(stored), [], []
    for line in list(waiting.values()):
        for column, name in _named(line.meter):
            if name not in there and name not in waiting:
                refusals.append(Refusal(line.number, column, "is no meter of the town nor of the file", last(name)))
                waiting.pop(line.meter.name, None)
    while waiting:
        ready = [line for line in waiting.values() if not any(name in waiting for _, name in _named(line.meter))]
        if not ready:
            refusals += [
                Refusal(line.number, METERS.id_column, "names meters that name it again, or such as are refused")
                for line in waiting.values()
            ]
            break
        done += ready
        for line in ready:
            del waiting[line.meter.name]
    return done, refusals


def independent(lines: Iterable[Line], stored: Mapping[str, pb.Meter]) -> list[list[Line]]:
    """Lines in groups within which they may come in any order: what comes of them is what would come line by line.

    In different groups, in the order given, are lines of which one names the other's meter (as it is to be or as it is
    stored), that claim or give up the same serial number, or that sit in the same housing.
    """
    groups: list[list[Line]] = []
    claimed: dict[str, int] = {}
    named: dict[str, int] = {}
    for line in lines:
        states = [line.meter, *(one for one in [stored.get(line.meter.name)] if one is not None)]
        claims = {line.meter.name}
        claims |= {f"serial number {state.serial_number.casefold()}" for state in states if state.serial_number}
        claims |= {f"housing {state.device}" for state in states if state.device}
        names = {name for state in states for _, name in _named(state)}
        before = [claimed.get(key, -1) for key in claims | names] + [named.get(key, -1) for key in claims]
        place = max(before) + 1
        if place == len(groups):
            groups.append([])
        groups[place].append(line)
        claimed |= dict.fromkeys(claims, place)
        named |= {name: max(place, named.get(name, -1)) for name in names}
    return groups


def _named(meter: pb.Meter) -> list[tuple[str, str]]:
    named = [
        ("device", meter.device),
        ("main_meter", meter.main_meter),
        *(("terms", term.meter) for term in meter.terms),
    ]
    return [(column, name) for column, name in named if name]


def as_told(line: Line, before: pb.Meter | None) -> pb.Meter:
    """The meter as it is to be: what is stored, with what the line tells of."""
    wanted = pb.Meter(name=line.meter.name)
    if before is not None:
        wanted.CopyFrom(before)
    for name in line.told:
        wanted.ClearField(name)  # type: ignore[arg-type]  # names of fields
    told = pb.Meter()
    told.CopyFrom(line.meter)
    wanted.MergeFrom(told)
    wanted.kind = wanted.kind or pb.READING_KIND_COUNTER
    wanted.point = wanted.point or DEFAULT_POINT
    wanted.transformer_ratio = wanted.transformer_ratio or 1
    wanted.loss_tolerance_permille = wanted.loss_tolerance_permille or 30
    return wanted


def without_housing(meter: pb.Meter, housing: pb.Meter | None) -> None:
    """Leaves out of a register what its housing has; what the file says otherwise stays, for the service to refuse."""
    for name in HOUSING if housing is not None else ():
        if getattr(meter, name) in (getattr(pb.Meter(), name), 1, getattr(housing, name)):
            meter.ClearField(name)


def checked(line: Line, wanted: pb.Meter) -> list[Refusal]:
    """What the contract's and metering's rules do not allow of a meter; codes and ids are brought into the one way of
    writing that is stored."""
    facts = MeterFacts(
        medium=int(wanted.medium),
        unit=int(wanted.unit),
        endpoint=last(wanted.endpoint),
        cabinet=last(wanted.cabinet),
        building=wanted.building,
        point=wanted.point,
        rollover=wanted.rollover,
        transformer_ratio=wanted.transformer_ratio or 1,
        kind=int(wanted.kind),
        reading_cycle=int(wanted.reading_cycle),
        flow=int(wanted.flow),
        purpose=int(wanted.purpose),
        # A register is told of by the endpoint of its housing, which may be in the file or not.
        acquisition=0 if wanted.device else int(wanted.acquisition),
        obis_code=wanted.obis_code,
        market_location=wanted.market_location,
        metering_location=wanted.metering_location,
        serial_number=wanted.serial_number,
        has_device=bool(wanted.device),
        gas_factors=[
            (one.valid_from, one.calorific_value_wh_per_m3, one.state_number_e4) for one in wanted.gas_factors
        ],
        terms=[(last(one.meter), -1 if one.is_subtracted else 1) for one in wanted.terms],
        counted_in=frozenset(int(life.unit) for life in wanted.lives),
    )
    sent = pb.Meter()
    sent.CopyFrom(wanted)
    sent.ClearField("lives")
    try:
        validate(pb.UpdateMeterRequest(meter=sent))
        normal = check(facts)
        first = wanted.first_reading if wanted.HasField("first_reading") else None
        wrong = check_installation(int(wanted.kind), wanted.HasField("installed_at"), first)
        if wrong:
            raise InvalidInput(violations=wrong)
    except InvalidInput as error:
        return refusals_of(line, error)
    wanted.obis_code, wanted.market_location = normal.obis_code, normal.market_location
    wanted.metering_location = normal.metering_location
    return []


def refusals_of(line: Line, error: InvalidInput) -> list[Refusal]:
    """What is wrong with a line, by column."""
    return [
        Refusal(line.number, violation.field.removeprefix(_PREFIX), violation.reason) for violation in error.violations
    ]


def differing(wanted: pb.Meter, before: pb.Meter) -> list[str]:
    """The fields in which a meter is to become another."""
    fields = {column.field.name: column.field for column in columns_of(METERS)}

    def told(meter: pb.Meter, name: Any) -> Any:
        is_set = not fields[name].has_presence or meter.HasField(name)
        return getattr(meter, name) if is_set else None

    return sorted(name for name in fields if told(wanted, name) != told(before, name))
