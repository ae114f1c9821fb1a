"""QueryLoad and QueryLosses: what load profiles tell, and main meters against the sum of their sub-meters."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
from sqlmodel import Session

from domain.errors import FailedPrecondition, OutOfLimits
from domain.night import zone
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit.context import Tenant, current_tenant, scope_aware
from servicekit.convert import timestamp_to_proto
from services.metering.api.calls import Calls, Context, clamped, in_scope, meter_name, named_rows
from services.metering.api.periods import bounds_of, step_of
from services.metering.figures.consumption import MAX_CELLS, Step
from services.metering.figures.load import LoadFigures, load_figures
from services.metering.figures.losses import check_sum
from services.metering.reading import Int64
from services.metering.slot import SLOT_MS, from_ms
from services.metering.store.amounts import Metered
from services.metering.store.figures import check_counts, consumption_of, metered, sub_meters_consumption
from services.metering.store.limits import limits_of
from services.metering.store.profiles import profile, profile_bounds, resolution_ms
from services.metering.store.relations import sub_meters_of

NO_PROFILE = "read less often than every hour: that tells no load profile"
NOT_COVERED = "no step of the period is covered by readings"


class LoadCalls(Calls):
    """Load profiles and losses."""

    @scope_aware
    async def QueryLoad(self, request: pb.QueryLoadRequest, context: Context) -> pb.QueryLoadResponse:
        """Peak, base load and what else the profile of each meter tells; a meter without one says why."""
        tenant = current_tenant()
        tz = zone(tenant.time_zone)
        start_ms, end_ms = (int(bound) for bound in bounds_of(request, Step.TOTAL, tz))
        cells = (len(profile_bounds(start_ms, end_ms, SLOT_MS)) - 1) * len(set(request.meters))
        if cells > MAX_CELLS:
            raise OutOfLimits.of("end_time", f"{cells} quarter hours of all meters, at most {MAX_CELLS} are looked at")

        def ask(session: Session) -> list[pb.LoadFigures]:
            rows = named_rows(session, list(request.meters))
            for _, row in rows:
                check_counts(row)
            meters = metered(session, [row for _, row in rows])
            return [
                _figures(session, town, meter, start_ms, end_ms, tz)
                for (town, _), meter in zip(rows, meters, strict=True)
            ]

        return pb.QueryLoadResponse(figures=await self.database.read(ask))

    @scope_aware
    async def QueryLosses(self, request: pb.QueryLossesRequest, context: Context) -> pb.QueryLossesResponse:
        """A main meter against the meters right behind it, step by step."""
        tz = zone(current_tenant().time_zone)
        step = step_of(request.step)
        bounds = bounds_of(request, step, tz)
        return await self.database.read(lambda session: _losses(session, request.name, bounds, step, tz))


def _figures(
    session: Session, tenant: Tenant, meter: Metered, start_ms: int, end_ms: int, tz: ZoneInfo
) -> pb.LoadFigures:
    name = meter_name(tenant.id, meter.row)
    answer = pb.LoadFigures(meter=name, unit=meter.row.unit)  # type: ignore[arg-type]  # as the contract numbers it
    resolution = resolution_ms(session, meter, start_ms, end_ms)
    if not resolution:
        answer.refusal = NO_PROFILE
        return answer
    steps = profile(session, meter, start_ms, end_ms, resolution, tz)
    with limits_of(meter.row):
        found = load_figures(steps, tz)
    answer.resolution_s = resolution // 1000
    answer.amount, answer.estimated_amount = found.amount, found.estimated_amount
    answer.coverage_permille = found.coverage_permille
    if found.peak_rate is None:
        answer.refusal = NOT_COVERED
        return answer
    _put_rates(answer, found)
    return answer


def _put_rates(answer: pb.LoadFigures, found: LoadFigures) -> None:
    answer.peak, answer.mean, answer.base_load = found.peak_rate or 0, found.mean_rate or 0, found.base_rate or 0
    answer.night_base_load = found.night_base_rate or 0
    answer.full_load_hours = clamped((found.full_load_hours_centi or 0) // 100)
    if found.load_factor_permille is not None:
        answer.load_factor_permille = clamped(found.load_factor_permille)
    if found.peak_start_ms is not None:
        answer.peak_at.CopyFrom(timestamp_to_proto(from_ms(found.peak_start_ms)))


def _losses(session: Session, name: str, bounds: Int64, step: Step, tz: ZoneInfo) -> pb.QueryLossesResponse:
    [(tenant, main)] = named_rows(session, [name])
    check_counts(main, "name")
    # Without one of them the sum means nothing, so who may not see it may not see the sum.
    subs = sub_meters_of(session, main.uid)
    if not subs:
        raise FailedPrecondition.of("name", f"no meter names {main.meter_id} as its main meter")
    hidden = [sub for sub in subs if not in_scope(tenant, sub)]
    if hidden:
        raise FailedPrecondition.of("name", f"{len(hidden)} of its sub-meters are not to be seen by the caller")
    if (len(bounds) - 1) * (len(subs) + 1) > MAX_CELLS:
        raise OutOfLimits.of("end_time", f"more than {MAX_CELLS} steps of all meters together")
    [whole] = consumption_of(session, [main], bounds, step, tz)
    parts = sub_meters_consumption(session, subs, bounds, step, tz)
    with limits_of(main):
        found = check_sum(whole, parts, main.loss_tolerance_permille)
    return pb.QueryLossesResponse(
        sub_meters=[meter_name(tenant.id, sub) for sub in subs],
        starts_unix_ms=found.starts_ms.tolist(),
        ends_unix_ms=found.ends_ms.tolist(),
        main_amounts=found.main.tolist(),
        sub_amounts=found.subs.tolist(),
        verdicts=found.verdict.astype(np.int64).tolist(),
        coverages_permille=found.coverage_permille.tolist(),
        estimated_amounts=found.estimated_amount.tolist(),
        unit=main.unit,  # type: ignore[arg-type]
        tolerance_permille=main.loss_tolerance_permille,
    )
