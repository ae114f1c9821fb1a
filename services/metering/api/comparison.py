"""CompareConsumption: a period against another one, plainly, per square metre and with the weather taken out."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.degree_days import GTZ20_15
from domain.errors import InvalidInput
from domain.intervals import Consumption
from domain.night import local_date, local_day_bounds, zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import Tenant, current_tenant, scope_aware
from servicekit.convert import optional_timestamp_from_proto, timestamp_to_proto
from services.metering.api.calls import Calls, Context, clamped, meter_name, named_rows
from services.metering.api.periods import period_of
from services.metering.api.weather import means_for, warmth_to_proto
from services.metering.figures.comparison import (
    Comparison,
    Period,
    Used,
    as_long,
    check_answerable,
    compare,
    year_before,
)
from services.metering.figures.consumption import Step, boundaries, check_years
from services.metering.figures.weather import DayStep, WarmthOfStep, warmth
from services.metering.meter import Unit
from services.metering.store.energy import energy_of, is_converted
from services.metering.store.figures import check_counts, consumption_of
from services.metering.store.limits import limits_of
from services.metering.store.tables import MeterRow


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is compared: both periods on a local clock."""

    period: Period
    reference: Period
    tz: ZoneInfo

    @property
    def days(self) -> int:
        """Local days of the period, cut ones too."""
        return (local_date(self.period.end, self.tz) - local_date(self.period.start, self.tz)).days


class CompareCalls(Calls):
    """Comparisons."""

    @scope_aware
    async def CompareConsumption(
        self, request: pb.CompareConsumptionRequest, context: Context
    ) -> pb.CompareConsumptionResponse:
        """Each meter in the period and in the one before, or in one that is given."""
        tenant = current_tenant()
        asked = _asked(request, zone(tenant.time_zone))
        return await self.database.read(lambda session: _compare(session, tenant, request, asked))


def _asked(request: pb.CompareConsumptionRequest, tz: ZoneInfo) -> _Asked:
    period = Period(*period_of(request))
    start = optional_timestamp_from_proto(request, "reference_start_time")
    end = optional_timestamp_from_proto(request, "reference_end_time")
    given = {
        "start_time": period.start,
        "end_time": period.end,
        "reference_start_time": start,
        "reference_end_time": end,
    }
    for field, instant in given.items():
        if instant is not None:
            check_years(instant, field)
    if start is None and end is not None:
        raise InvalidInput.of("reference_start_time", "it is needed where reference_end_time is given")
    if start is None:
        return _Asked(period, year_before(period, tz), tz)
    if end is None:
        return _Asked(period, as_long(period, start, tz), tz)
    if end <= start:
        raise InvalidInput.of("reference_end_time", "it does not lie after reference_start_time")
    return _Asked(period, Period(start, end), tz)


def _compare(
    session: Session, tenant: Tenant, request: pb.CompareConsumptionRequest, asked: _Asked
) -> pb.CompareConsumptionResponse:
    rows = named_rows(session, list(request.meters))
    for _, row in rows:
        check_counts(row)
    now, before = (
        _used(session, [row for _, row in rows], period, asked.tz, as_energy=request.as_energy)
        for period in (asked.period, asked.reference)
    )
    answer = pb.CompareConsumptionResponse(
        reference_start_time=timestamp_to_proto(asked.reference.start),
        reference_end_time=timestamp_to_proto(asked.reference.end),
    )
    warm: list[WarmthOfStep | None] = [None, None]
    if request.weather:
        warm = [_warmth(session, tenant, request.weather, one, asked.tz) for one in (asked.period, asked.reference)]
        for known, field in zip(warm, (answer.period_degree_days, answer.reference_degree_days), strict=True):
            if known is not None:
                field.CopyFrom(warmth_to_proto(known, asked.tz))
    for (town, row), used, reference in zip(rows, now, before, strict=True):
        found = compare(
            used,
            reference,
            days=asked.days,
            floor_area_m2=row.floor_area_m2,
            warmth=warm[0].degree_days if warm[0] else None,
            reference_warmth=warm[1].degree_days if warm[1] else None,
            base_share_permille=request.base_share_permille,
        )
        unit = int(Unit.WH) if request.as_energy and is_converted(row) else row.unit
        with limits_of(row):
            check_answerable(found)
        answer.comparisons.append(_to_proto(meter_name(town.id, row), unit, found))
    return answer


def _used(session: Session, rows: list[MeterRow], period: Period, tz: ZoneInfo, *, as_energy: bool) -> list[Used]:
    bounds = boundaries(period.start, period.end, Step.TOTAL, tz)
    converted = {row.uid for row in rows if as_energy and is_converted(row)}
    plain = iter(consumption_of(session, [row for row in rows if row.uid not in converted], bounds, Step.TOTAL, tz))
    return [
        _total(energy_of(session, row, bounds, Step.TOTAL, tz) if row.uid in converted else next(plain)) for row in rows
    ]


def _total(found: Consumption) -> Used:
    return Used(int(found.amount[0]), int(found.estimated_amount[0]), int(found.coverage_permille()[0]))


def _warmth(session: Session, tenant: Tenant, weather: str, period: Period, tz: ZoneInfo) -> WarmthOfStep:
    first, end = local_date(period.start, tz), local_date(period.end, tz)
    if (local_day_bounds(first, tz)[0], local_day_bounds(end, tz)[0]) != (period.start, period.end):
        raise InvalidInput.of("weather", "degree days are of whole local days: both periods begin and end at midnight")
    [whole] = warmth(means_for(session, tenant, weather, first, end), GTZ20_15, DayStep.TOTAL)
    return whole


def _to_proto(name: str, unit: int, found: Comparison) -> pb.Comparison:
    return pb.Comparison(
        meter=name,
        unit=unit,  # type: ignore[arg-type]  # as the contract numbers it
        amount=found.used.amount,
        estimated_amount=found.used.estimated_amount,
        coverage_permille=found.used.coverage_permille,
        reference_amount=found.reference.amount,
        reference_estimated_amount=found.reference.estimated_amount,
        reference_coverage_permille=found.reference.coverage_permille,
        change_permille=_fitting(found.change_permille),
        milli_amount_per_m2=found.milli_amount_per_m2,
        weather_adjusted_reference_amount=found.adjusted_reference,
        weather_adjusted_change_permille=_fitting(found.adjusted_change_permille),
        is_provisional=found.is_provisional,
        milli_amount_per_degree_day=found.milli_amount_per_degree_day,
        reference_milli_amount_per_degree_day=found.reference_milli_amount_per_degree_day,
    )


def _fitting(permille: int | None) -> int | None:
    return None if permille is None else clamped(permille)
