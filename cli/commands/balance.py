"""lichtbuch balance: what the lamps of a cabinet must have drawn, beside what its meter counted.

Computed energy stands and falls with the inventory: rated watts, curves, levels, and what else hangs on the cabinet.
Where a meter counts, it tells whether these are right. Nothing is posted or corrected here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from cli import parsing
from cli.commands.meters import list_all
from cli.options import Json, Town
from cli.output import console, print_rows
from cli.session import Session, all_pages, online
from domain.errors import InvalidInput
from domain.night import lighting_night
from lichtbuch.lighting.v1 import lighting_pb2, loads_pb2
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from services.scheduler.cabinet_loads import foreign_hours
from services.scheduler.convert_loads import cabinet_from_proto
from services.scheduler.moment import Place
from services.scheduler.preview import Period

ENOUGH: Final = 0.95
"""Least share of the lamps' time and of the period that must be known for a verdict."""
TOLERANCE_PERCENT: Final = 5.0
"""Ours, of no norm: what gear and cables lose is in no curve, and the meter shows whole steps of its last digit."""
MOST_NIGHTS: Final = 400
_AT_ONCE: Final = 8

AGREES = "agrees"
MORE = (
    "the meter counts more: a load that is not in the inventory, watts that are too low, or lamps lit against the plan"
)
LESS = "the meter counts less: dark lamps, watts that are too high, or a wrong transformer ratio"


@dataclass(frozen=True, slots=True)
class Balance:
    """One cabinet over a period. Energies in Wh, shares from 0 to 1."""

    cabinet: str
    luminaires: int
    computed_wh: float
    foreign_wh: float
    metered_wh: float
    known: float
    """Share of the luminaires' time for which their level is known."""
    coverage: float
    """Share of the period that the meter's readings cover."""

    @property
    def expected_wh(self) -> float:
        """What the meter should have counted."""
        return self.computed_wh + self.foreign_wh

    @property
    def difference_percent(self) -> float | None:
        """What was counted beyond that, in per cent of it; None where nothing was to be counted."""
        return 100 * (self.metered_wh / self.expected_wh - 1) if self.expected_wh > 0 else None

    def verdict(self, tolerance_percent: float) -> str:
        """What it means, in words."""
        if self.known < ENOUGH:
            return f"cannot be judged: levels are known for {self.known:.0%} of the time"
        if self.coverage < ENOUGH:
            return f"cannot be judged: readings cover {self.coverage:.0%} of the time"
        difference_wh = self.metered_wh - self.expected_wh
        if abs(difference_wh) <= self.expected_wh * tolerance_percent / 100:
            return AGREES
        return MORE if difference_wh > 0 else LESS

    def row(self, tolerance_percent: float) -> dict[str, Any]:
        """For a table or JSON."""
        difference = self.difference_percent
        return {
            "cabinet": self.cabinet.rsplit("/", 1)[-1],
            "lamps": self.luminaires,
            "computed_kwh": round(self.computed_wh / 1000, 3),
            "other_loads_kwh": round(self.foreign_wh / 1000, 3),
            "metered_kwh": round(self.metered_wh / 1000, 3),
            "difference_percent": None if difference is None else round(difference, 1),
            "verdict": self.verdict(tolerance_percent),
        }


def balance(
    cabinet: Annotated[list[str] | None, typer.Argument(help="Only these; default: all that have a meter.")] = None,
    start: Annotated[
        str, typer.Option("--from", help="First night, by the day of its evening. Default: the last.")
    ] = "",
    nights: Annotated[int, typer.Option("--nights", help="How many nights, each from noon to noon.")] = 1,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Per cent that meter and computation may differ by.")
    ] = TOLERANCE_PERCENT,
    municipality: Town = "",
    as_json: Json = False,
) -> None:
    """Compare what the lamps of cabinets must have drawn with what their meters counted."""
    if not 1 <= nights <= MOST_NIGHTS:
        raise InvalidInput.of("nights", f"must be 1 to {MOST_NIGHTS}")
    if not 0 < tolerance <= 100:
        raise InvalidInput.of("tolerance", "must be above 0 and at most 100 per cent")

    async def ask(session: Session) -> tuple[Period, list[Balance]]:
        wanted = {await session.name("cabinets", item) for item in cabinet or ()}
        meters: dict[str, list[metering_pb2.Meter]] = {}
        for meter in await list_all(session):
            if meter.cabinet and meter.unit == metering_pb2.UNIT_WH and (not wanted or meter.cabinet in wanted):
                meters.setdefault(meter.cabinet, []).append(meter)
        if without := sorted(wanted - set(meters)):
            raise InvalidInput.of("cabinet", f"no meter counts what {without[0]} draws")
        period = await _period(session, [meter for found in meters.values() for meter in found], start, nights)
        return period, await _balances(session, meters, period) if meters else []

    period, found = online(ask, municipality)
    rows = [item.row(tolerance) for item in sorted(found, key=lambda item: item.cabinet)]
    if not as_json and rows:
        first, last = (edge.astimezone(period.tz).strftime("%Y-%m-%d %H:%M %Z") for edge in period.bounds)
        console.print(f"{first} to {last}", markup=False)
    print_rows(rows, as_json, empty="no cabinet has a meter")


async def _period(session: Session, meters: Sequence[metering_pb2.Meter], start: str, nights: int) -> Period:
    """The nights asked for; by default the last ones of which there are readings until their end."""
    tz: ZoneInfo = await session.zone()
    if start:
        return Period(parsing.day(start, "from"), nights, tz)
    # The night that the newest reading lies in has not ended; the one before has.
    newest = [meter.latest_slot.ToDatetime(tzinfo=UTC) for meter in meters if meter.HasField("latest_slot")]
    if not newest:
        newest = [datetime.now(UTC)]
    return Period(lighting_night(max(newest), tz) - timedelta(days=nights), nights, tz)


async def _balances(session: Session, meters: dict[str, list[metering_pb2.Meter]], period: Period) -> list[Balance]:
    begin, end = period.bounds
    parent, town = await session.parent(), await session.municipality()
    place = Place(town.position.latitude_deg, town.position.longitude_deg, period.tz)
    request = lighting_pb2.ListCabinetsRequest(parent=parent)
    known = {item.name: item for item in await all_pages(session.lighting.ListCabinets, request, "cabinets")}
    answer = await session.metering.QueryConsumption(
        metering_pb2.QueryConsumptionRequest(
            parent=parent,
            meters=sorted(meter.name for found in meters.values() for meter in found),
            start_time=timestamp_to_proto(begin),
            end_time=timestamp_to_proto(end),
            step=metering_pb2.STEP_TOTAL,
        )
    )
    counted = {
        answer.meters[meter]: (answer.amounts[row], answer.coverages_permille[row] / 1000)
        for row, meter in enumerate(answer.meter_indexes)
    }
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> Balance:
        async with turns:
            drawn = await session.lighting.ComputeEnergy(
                lighting_pb2.ComputeEnergyRequest(
                    parent=parent,
                    cabinets=[name],
                    start_time=timestamp_to_proto(begin),
                    end_time=timestamp_to_proto(end),
                )
            )
        columns, seconds = drawn.energies, (end - begin).total_seconds()
        lamps = len(columns.names)
        cabinet = known[name]
        loads = loads_pb2.CabinetLoad(cabinet=name, foreign_loads=cabinet.foreign_loads)
        if cabinet.HasField("position"):
            loads.position.CopyFrom(cabinet.position)
        figures = [counted.get(meter.name, (0, 0.0)) for meter in meters[name]]
        return Balance(
            name,
            lamps,
            sum(columns.energies_mwh) / 1000,
            sum(hours.energy_wh for hours in foreign_hours(cabinet_from_proto(loads), place, period)),
            float(sum(amount for amount, _ in figures)),
            sum(columns.known_seconds) / (lamps * seconds) if lamps else 1.0,
            min(coverage for _, coverage in figures),
        )

    return list(await asyncio.gather(*(one(name) for name in meters)))
