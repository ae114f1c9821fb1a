"""QueryValues: mean, least and greatest value of sensors and stocks by steps."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.errors import FailedPrecondition, OutOfLimits
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import current_tenant, scope_aware
from services.metering.api.calls import Calls, Context, meter_name, named_rows
from services.metering.api.periods import bounds_of, step_of
from services.metering.figures.consumption import MAX_CELLS, Step
from services.metering.figures.values import StepValues, values_by_step
from services.metering.meter import Kind
from services.metering.reading import Int64
from services.metering.store.amounts import Metered
from services.metering.store.figures import metered
from services.metering.store.limits import limits_of
from services.metering.store.readings import with_neighbours

_KINDS = (Kind.INSTANT, Kind.STOCK)


class ValueCalls(Calls):
    """Values of sensors."""

    @scope_aware
    async def QueryValues(self, request: pb.QueryValuesRequest, context: Context) -> pb.QueryValuesResponse:
        """Values of each meter in each step that has any."""
        tz: ZoneInfo = zone(current_tenant().time_zone)
        step = step_of(request.step)
        bounds = bounds_of(request, step, tz)
        cells = (len(bounds) - 1) * len(set(request.meters))
        if cells > MAX_CELLS:
            raise OutOfLimits.of("end_time", f"{cells} steps of all meters together, at most {MAX_CELLS} are answered")
        return await self.database.read(lambda session: _query(session, list(request.meters), bounds, step))


def _query(session: Session, names: list[str], bounds: Int64, step: Step) -> pb.QueryValuesResponse:
    rows = named_rows(session, names)
    for _, row in rows:
        if row.kind not in _KINDS:
            raise FailedPrecondition.of("meters", f"{row.meter_id} is no sensor: ask for its consumption")
    found = [_values(session, meter, bounds, step) for meter in metered(session, [row for _, row in rows])]
    known = [np.flatnonzero(one.known) for one in found]
    answer = pb.QueryValuesResponse(
        meters=[meter_name(tenant.id, row) for tenant, row in rows],
        units=[row.unit for _, row in rows],  # type: ignore[misc]  # stored as the contract numbers it
        scale_exponents=[row.scale_exponent for _, row in rows],
    )
    for number, (one, steps) in enumerate(zip(found, known, strict=True)):
        answer.meter_indexes.extend([number] * len(steps))
        answer.starts_unix_ms.extend(one.starts_ms[steps].tolist())
        answer.ends_unix_ms.extend(one.ends_ms[steps].tolist())
        answer.means.extend(one.mean[steps].tolist())
        answer.minima.extend(one.least[steps].tolist())
        answer.maxima.extend(one.greatest[steps].tolist())
        answer.coverages_permille.extend(one.coverage_permille()[steps].tolist())
        answer.estimated_permille.extend(one.estimated_permille()[steps].tolist())
    return answer


def _values(session: Session, meter: Metered, bounds: Int64, step: Step) -> StepValues:
    row = meter.row
    readings = with_neighbours(session, meter.lives, int(bounds[0]), int(bounds[-1]))
    with limits_of(row):
        return values_by_step(
            meter.lives,
            readings,
            bounds,
            step,
            is_polled=bool(row.endpoint_uid),
            cycle=row.reading_cycle,
            exponent=row.scale_exponent,
        )
