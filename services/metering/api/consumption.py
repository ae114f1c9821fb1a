"""QueryConsumption: what meters used, in steps, with how much of it was measured and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.errors import InvalidInput, OutOfLimits
from domain.intervals import Consumption
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import current_tenant, scope_aware
from services.metering.api.calls import Calls, Context, meter_name, named_rows
from services.metering.api.convert import bounds_from_proto
from services.metering.figures.consumption import MAX_CELLS, Step, boundaries, is_coarse
from services.metering.figures.evidence import evidence_hash
from services.metering.reading import Int64
from services.metering.store.amounts import Metered, amounts
from services.metering.store.energy import energy_of, is_converted
from services.metering.store.figures import Found, from_readings, general_in, metered
from services.metering.store.rollups import seals


class ConsumptionCalls(Calls):
    """Consumption."""

    @scope_aware
    async def QueryConsumption(
        self, request: pb.QueryConsumptionRequest, context: Context
    ) -> pb.QueryConsumptionResponse:
        """Consumption of each meter in each step."""
        tenant = current_tenant()
        step = next((one for one in Step if one.value == request.step), None)
        if step is None:
            raise InvalidInput.of("step", f"{request.step} is not a step known here")
        start, end = bounds_from_proto(request)
        tz = zone(tenant.time_zone)
        bounds = boundaries(start, end, step, tz)
        cells = (len(bounds) - 1) * len(set(request.meters))
        if cells > MAX_CELLS:
            raise OutOfLimits.of("end_time", f"{cells} steps of all meters together, at most {MAX_CELLS} are answered")
        return await self.database.read(lambda session: _query(session, request, bounds, step, tz))


def _query(
    session: Session, request: pb.QueryConsumptionRequest, bounds: Int64, step: Step, tz: ZoneInfo
) -> pb.QueryConsumptionResponse:
    rows = named_rows(session, list(request.meters))
    meters = metered(session, [row for _, row in rows])
    beside: Found | None = None
    if not request.without_evidence and not seals(session, [row.uid for _, row in rows], int(bounds[0])):
        beside = Found()
    found = _amounts(session, request, meters, bounds, step, tz, beside)
    if beside is not None and seals(session, {one.uid for one in beside.evidence}, int(bounds[0])):
        # A term of a sum: what it rests on is gone in part, and only what is kept of it tells the whole.
        beside, found = None, _amounts(session, request, meters, bounds, step, tz, None)
    coarse = [is_coarse(meter.row.reading_cycle, bounds, step) for meter in meters]
    return pb.QueryConsumptionResponse(
        meters=[meter_name(tenant.id, row) for tenant, row in rows],
        meter_indexes=np.repeat(np.arange(len(rows)), len(bounds) - 1).tolist(),
        starts_unix_ms=_all([one.starts_ms for one in found]),
        ends_unix_ms=_all([one.ends_ms for one in found]),
        amounts=_all([one.amount for one in found]),
        coverages_permille=_all([one.coverage_permille() for one in found]),
        estimated_amounts=_all([one.estimated_amount for one in found]),
        evidence_hash=evidence_hash({one.uid: one for one in beside.evidence}.values()) if beside else "",
        units=[
            pb.UNIT_WH if request.as_energy and is_converted(row) else row.unit  # type: ignore[misc]  # as stored
            for _, row in rows
        ],
        coarse_meter_indexes=np.flatnonzero(coarse).tolist(),
    )


def _amounts(
    session: Session,
    request: pb.QueryConsumptionRequest,
    meters: Sequence[Metered],
    bounds: Int64,
    step: Step,
    tz: ZoneInfo,
    beside: Found | None,
) -> list[Consumption]:
    """Consumption of each meter. Where nobody asks what it rests on, by the shortest way."""
    converted = [request.as_energy and is_converted(meter.row) for meter in meters]
    plain = [meter for meter, other in zip(meters, converted, strict=True) if not other]
    if beside is None:
        short = iter(amounts(session, plain, bounds, step, tz, general=general_in(tz)))
    else:
        short = (from_readings(session, meter, bounds, step, tz, beside) for meter in plain)
    return [
        energy_of(session, meter.row, bounds, step, tz, beside) if other else next(short)
        for meter, other in zip(meters, converted, strict=True)
    ]


def _all(columns: Sequence[Int64]) -> list[int]:
    numbers: list[int] = np.concatenate(columns).tolist()
    return numbers
