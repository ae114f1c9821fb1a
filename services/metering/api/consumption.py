"""QueryConsumption: what meters used, in steps, with how much of it was measured and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlmodel import Session

from domain.errors import InvalidInput, OutOfLimits
from domain.intervals import Consumption
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import current_tenant, scope_aware
from services.metering.api.calls import Calls, Context, meter_name, named_rows
from services.metering.api.convert import bounds_from_proto
from services.metering.consumption import MAX_CELLS, Step, boundaries, consumption, usable
from services.metering.evidence import MeterEvidence, evidence_hash, evidence_of
from services.metering.reading import Int64
from services.metering.store.lives import lives_of
from services.metering.store.readings import with_neighbours


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
        bounds = boundaries(start, end, step, zone(tenant.time_zone))
        cells = (len(bounds) - 1) * len(set(request.meters))
        if cells > MAX_CELLS:
            raise OutOfLimits.of("end_time", f"{cells} steps of all meters together, at most {MAX_CELLS} are answered")
        return await self.database.read(lambda session: _query(session, list(request.meters), bounds, step))


def _query(session: Session, names: list[str], bounds: Int64, step: Step) -> pb.QueryConsumptionResponse:
    rows = named_rows(session, names)
    lives = lives_of(session, [row.uid for _, row in rows])
    found: list[Consumption] = []
    evidence: list[MeterEvidence] = []
    first, last = int(bounds[0]), int(bounds[-1])
    for _, row in rows:
        readings = usable(with_neighbours(session, lives[row.uid], first, last))
        found.append(consumption(lives[row.uid], readings, bounds, step, is_polled=bool(row.endpoint_uid)))
        evidence.append(evidence_of(row.uid, lives[row.uid], readings, (first, last)))
    return pb.QueryConsumptionResponse(
        meters=[meter_name(tenant.id, row) for tenant, row in rows],
        meter_indexes=np.repeat(np.arange(len(rows)), len(bounds) - 1).tolist(),
        starts_unix_ms=_all([one.starts_ms for one in found]),
        ends_unix_ms=_all([one.ends_ms for one in found]),
        amounts=_all([one.amount for one in found]),
        coverages_permille=_all([one.coverage_permille() for one in found]),
        estimated_amounts=_all([one.estimated_amount for one in found]),
        evidence_hash=evidence_hash(evidence),
    )


def _all(columns: Sequence[Int64]) -> list[int]:
    numbers: list[int] = np.concatenate(columns).tolist()
    return numbers
