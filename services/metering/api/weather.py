"""IngestTemperatures and QueryDegreeDays: daily means of stations, and degree days out of them or of a sensor."""

from __future__ import annotations

from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.degree_days import DailyMeans, Rule
from domain.errors import FailedPrecondition, InvalidInput
from domain.names import ResourceName
from domain.night import local_date, local_day_bounds, unix_ms, zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_tenant, scope_aware
from servicekit.convert import timestamp_from_proto, timestamp_to_proto
from services.metering.api.calls import Calls, Context, named_rows
from services.metering.figures.weather import (
    DayStep,
    WarmthOfStep,
    check_days,
    means_of_sensor,
    refuse_contradictions,
    warmth,
    whole_days,
)
from services.metering.meter import Kind, Unit
from services.metering.reading import Refusals, column
from services.metering.store import weather as store
from services.metering.store.feed import Source
from services.metering.store.lives import lives_of
from services.metering.store.readings import fetch_lives

_BASE_CENTI_C: Final = 2_000
_LIMIT_CENTI_C: Final = 1_500


class WeatherCalls(Calls):
    """Weather."""

    async def IngestTemperatures(
        self, request: pb.IngestTemperaturesRequest, context: Context
    ) -> pb.IngestTemperaturesResponse:
        """Stores what is new or corrected, says what is refused; all that is stored is stored together."""
        tenant, source = current_tenant(), self.source(request.source)
        if len(request.days) != len(request.mean_centidegrees):
            raise InvalidInput.of(
                "mean_centidegrees",
                f"{len(request.mean_centidegrees)} elements where there are {len(request.days)} days",
            )
        today = local_date(self.clock.now(), zone(tenant.time_zone))
        return await self.database.run(lambda session: _ingest(session, tenant, request, source, today))

    @scope_aware
    async def QueryDegreeDays(self, request: pb.QueryDegreeDaysRequest, context: Context) -> pb.QueryDegreeDaysResponse:
        """Degree days of each step, as far as its days are known."""
        tenant = current_tenant()
        tz = zone(tenant.time_zone)
        step = next((one for one in DayStep if one.value == request.step), None)
        if step is None:
            raise InvalidInput.of("step", "degree days are told by local day, month, year or in total")
        start = timestamp_from_proto(request.start_time, "start_time")
        first, end = whole_days(start, timestamp_from_proto(request.end_time, "end_time"), tz)
        rule = rule_of(request.base_centidegrees, request.limit_centidegrees)

        def ask(session: Session) -> tuple[DailyMeans, list[str]]:
            found = means_for(session, tenant, request.weather, first, end)
            return found, [] if bool(found.known.any()) else store.stations(session, tenant.uid)

        means, stations = await self.database.read(ask)
        steps = [warmth_to_proto(one, tz) for one in warmth(means, rule, step)]
        return pb.QueryDegreeDaysResponse(degree_days=steps, stations=stations)


def rule_of(base_centi_c: int = 0, limit_centi_c: int = 0) -> Rule:
    """Base and limit of a request, 0 for those of GTZ20/15. Raises InvalidInput that blames the request's fields."""
    try:
        return Rule(base_centi_c or _BASE_CENTI_C, limit_centi_c or _LIMIT_CENTI_C)
    except InvalidInput as error:
        blamed = error.violations[0]
        raise InvalidInput.of(f"{blamed.field}_centidegrees", blamed.reason) from error


def means_for(session: Session, tenant: Tenant, weather: str, first: date, end: date) -> DailyMeans:
    """Daily means from `first` on and before `end`, of a station, or of a temperature meter that is given by its name.

    Raises NotFound for a meter that is not there or not to be seen, FailedPrecondition for one that is no such sensor.
    """
    if "/" not in weather:
        return store.means(session, tenant.uid, weather, first, end)
    ResourceName.parse(weather, field="weather", collection="meters")
    [(_, row)] = named_rows(session, [weather])
    tz = zone(tenant.time_zone)
    if row.kind != Kind.INSTANT or row.unit != Unit.CELSIUS:
        raise FailedPrecondition.of("weather", f"{weather} is no meter of momentary temperatures in °C")
    lives = [life for life in lives_of(session, [row.uid])[row.uid] if life.unit == Unit.CELSIUS]
    begin_ms, end_ms = unix_ms(local_day_bounds(first, tz)[0]), unix_ms(local_day_bounds(end, tz)[0])
    readings = fetch_lives(session, lives, begin_ms, end_ms)
    return means_of_sensor(readings, {life.key: life.scale_exponent for life in lives}, first, end, tz)


def warmth_to_proto(step: WarmthOfStep, tz: ZoneInfo) -> pb.DegreeDays:
    """Degree days of a step; without a known day its mean is 0 and means nothing."""
    found = step.degree_days
    return pb.DegreeDays(
        start_time=timestamp_to_proto(local_day_bounds(step.first, tz)[0]),
        end_time=timestamp_to_proto(local_day_bounds(step.end, tz)[0]),
        degree_days_centi=found.centi_kd,
        heating_days=found.heating_days,
        known_days=found.known_days,
        days=found.days,
        mean_centidegrees=step.mean_centi_c or 0,
    )


def _ingest(
    session: Session, tenant: Tenant, request: pb.IngestTemperaturesRequest, source: Source, today: date
) -> pb.IngestTemperaturesResponse:
    days, means = column(request.days), column(request.mean_centidegrees)
    refusals = Refusals(len(days))
    check_days(days, means, today, refusals)
    refuse_contradictions(days, means, refusals)
    good = np.flatnonzero(~refusals.mask)
    written = store.write(
        session, tenant.uid, request.station, days[good], means[good], source, dry_run=request.dry_run
    )
    answer = pb.IngestTemperaturesResponse(
        stored=written.stored,
        unchanged=written.unchanged,
        corrected=written.corrected,
        refused=refusals.count,
        refusals=refusals.sentences(),
    )
    if (written.stored or written.corrected) and not request.dry_run:
        summary = {
            "source": source.source,
            "stored": written.stored,
            "corrected": written.corrected,
            "refused": refusals.count,
        }
        resource = f"{tenant.name}/weather/{request.station}"
        audit.record(session, "", resource, request.station, tenant.uid, after=summary)
    return answer
