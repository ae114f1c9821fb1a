"""Consumption of meters of every kind out of what is stored, and what it rests on.

Counters, intervals and stocks have readings of their own; a virtual meter has those of its terms. A register of another
unit than the meter's (a gas meter that counted litres before it counted kWh) tells nothing in the meter's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.errors import FailedPrecondition, OutOfLimits
from domain.gas import GasFactors
from domain.intervals import Consumption
from services.metering.figures.consumption import Step, consumption, usable
from services.metering.figures.evidence import MeterEvidence, converted, evidence_of
from services.metering.figures.kinds import interval_amounts, stock_amounts
from services.metering.figures.losses import taken_down
from services.metering.figures.stock import StockFinding
from services.metering.figures.virtual import combined
from services.metering.life import RegisterLife
from services.metering.meter import Kind
from services.metering.reading import Int64, Readings
from services.metering.store import deliveries
from services.metering.store.amounts import Metered, amounts
from services.metering.store.limits import limits_of
from services.metering.store.lives import lives_of
from services.metering.store.readings import with_context, with_neighbours
from services.metering.store.relations import check_size, rows_by_uid, terms_of
from services.metering.store.tables import MeterRow

MAX_EVIDENCE: Final = 10_000_000
"""Readings that one evidence is made of at most, half a gigabyte: a month of three thousand meters."""


@dataclass(slots=True)
class Found:
    """What readings came to: by the way what it rests on, and where stocks do not add up."""

    evidence: list[MeterEvidence] = field(default_factory=list)
    stock_findings: list[StockFinding] = field(default_factory=list)
    readings: int = 0

    def rests_on(self, evidence: MeterEvidence) -> None:
        """Keeps what a meter's figures rest on. Raises OutOfLimits for more than one answer may hold in memory."""
        self.readings += len(evidence.readings)
        if self.readings > MAX_EVIDENCE:
            raise OutOfLimits.of(
                "meters",
                f"more than {MAX_EVIDENCE} readings of all meters together: ask for fewer, or without evidence",
            )
        self.evidence.append(evidence)

    def rests_on_conversion(self, factors: GasFactors, worth: Mapping[str, str]) -> None:
        """Adds to what was kept last by what it became energy."""
        self.evidence[-1] = converted(self.evidence[-1], factors, worth)


def metered(session: Session, rows: Sequence[MeterRow], *, all_units: bool = False) -> list[Metered]:
    """Meters with those of their lives that count in the meter's unit, or with all of them.

    Raises FailedPrecondition for a sum of too many parts.
    """
    for row in rows:
        if row.kind == Kind.VIRTUAL:
            check_size(session, row)
    lives = lives_of(session, [row.uid for row in rows])
    if all_units:
        return [Metered(row, lives[row.uid]) for row in rows]
    return [_of_its_unit(row, lives[row.uid]) for row in rows]


def _of_its_unit(row: MeterRow, lives: Sequence[RegisterLife]) -> Metered:
    unit = row.unit
    others = [life for life in lives if life.unit != unit]
    return Metered(row, [life for life in lives if life.unit == unit] if others else lives, others)


def consumption_of(
    session: Session, rows: Sequence[MeterRow], bounds_ms: Int64, step: Step, tz: ZoneInfo
) -> list[Consumption]:
    """Consumption of meters of any kind but sensors, by the shortest way. Raises FailedPrecondition for a sensor."""
    return amounts(session, metered(session, rows), bounds_ms, step, tz, general=general_in(tz))


def sub_meters_consumption(
    session: Session, subs: Sequence[MeterRow], bounds_ms: Int64, step: Step, tz: ZoneInfo
) -> list[Consumption]:
    """Consumption of sub-meters, to be held against their main meter's: what was taken down counts nothing since."""
    meters = metered(session, subs)
    found = amounts(session, meters, bounds_ms, step, tz, general=general_in(tz))
    return [
        part if meter.removed_ms is None else taken_down(part, meter.removed_ms)
        for meter, part in zip(meters, found, strict=True)
    ]


def general_in(tz: ZoneInfo, found: Found | None = None) -> Callable[[Session, Metered, Int64, Step], Consumption]:
    """The general way of working out a meter from every reading, on a local clock; `found` is told what it rests on."""

    def general(session: Session, meter: Metered, bounds_ms: Int64, step: Step) -> Consumption:
        return from_readings(session, meter, bounds_ms, step, tz, found)

    return general


def from_readings(
    session: Session, meter: Metered, bounds_ms: Int64, step: Step, tz: ZoneInfo, found: Found | None = None
) -> Consumption:
    """Consumption of one meter of any kind between boundaries. Raises OutOfLimits, which names meter and instant, for
    readings that are more than can be counted."""
    row = meter.row
    if row.kind == Kind.VIRTUAL:
        return _sum(session, meter, bounds_ms, step, tz, found)
    check_counts(row)
    readings = usable(with_neighbours(session, meter.lives, int(bounds_ms[0]), int(bounds_ms[-1])))
    if row.kind == Kind.COUNTER:
        readings = with_context(session, meter.lives, readings)
    brought = deliveries.that_hold(session, row.uid) if row.kind == Kind.STOCK else []
    if found is not None:
        found.rests_on(evidence_of(row.uid, meter.lives, readings, _span(bounds_ms), brought))
    with limits_of(row):
        if row.kind == Kind.INTERVAL:
            return interval_amounts(meter.lives, readings, bounds_ms, step, row.reading_cycle, tz)
        if row.kind == Kind.STOCK:
            return _used(row, meter.lives, readings, brought, bounds_ms, step, found)
        return consumption(
            meter.lives, readings, bounds_ms, step, is_polled=bool(row.endpoint_uid), cycle=row.reading_cycle
        )


def check_counts(row: MeterRow, name: str = "meters") -> None:
    """Raises FailedPrecondition for a sensor: it has values, and uses nothing."""
    if row.kind == Kind.INSTANT:
        raise FailedPrecondition.of(name, f"{row.meter_id} is a sensor and counts nothing: ask for its values")


def _used(
    row: MeterRow,
    lives: Sequence[RegisterLife],
    readings: Readings,
    brought: list[tuple[int, int]],
    bounds_ms: Int64,
    step: Step,
    found: Found | None,
) -> Consumption:
    stored = stock_amounts(
        lives, readings, brought, bounds_ms, step, cycle=row.reading_cycle, scale_exponent=row.scale_exponent
    )
    if found is not None:
        found.stock_findings += stored.findings
    return stored.used


def _sum(
    session: Session, meter: Metered, bounds_ms: Int64, step: Step, tz: ZoneInfo, found: Found | None
) -> Consumption:
    terms = terms_of(meter.row)
    rows = rows_by_uid(session, [uid for uid, _ in terms])
    parts = {one.row.uid: one for one in metered(session, list(rows.values()))}
    if found is None:
        # Nobody asks for every reading: each part by its own shortest way.
        mine = [parts[uid] for uid, _ in terms]
        sums = amounts(session, mine, bounds_ms, step, tz, general=general_in(tz))
    else:
        sums = [from_readings(session, parts[uid], bounds_ms, step, tz, found) for uid, _ in terms]
    with limits_of(meter.row):
        return combined([(factor, one) for (_, factor), one in zip(terms, sums, strict=True)])


def _span(bounds_ms: Int64) -> tuple[int, int]:
    return int(bounds_ms[0]), int(bounds_ms[-1])
