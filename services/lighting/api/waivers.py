"""Methods about waivers: a council's decisions that lower floors until their review."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.errors import InvalidInput
from domain.names import ResourceName, new_uid
from domain.plan import from_unix_ms, to_unix_ms
from lichtbuch.lighting.v1 import waivers_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_tenant, current_tenants
from servicekit.convert import (
    date_from_proto,
    date_to_proto,
    optional_timestamp_from_proto,
    timestamp_to_proto,
)
from servicekit.idempotency import once
from servicekit.paging import page
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.api.targets import targets_from_names
from services.lighting.override import Lamp
from services.lighting.plan import floor_of
from services.lighting.store import orders as store
from services.lighting.store.luminaires import lamps_of
from services.lighting.store.tables import WaiverRow, WaiverTargetRow
from services.lighting.store.waivers import waiver_targets
from services.lighting.waiver import check_waiver, warnings_about


class WaiverCalls(Calls):
    """Waivers. What was decided holds in this process when the call returns."""

    async def CreateWaiver(self, request: pb.CreateWaiverRequest, context: Context) -> pb.Waiver:
        """A decision with a review date."""
        tenant, given, now = current_tenant(), request.waiver, self.clock.now()
        decided_on = date_from_proto(given.decided_on, "waiver.decided_on")
        start, review = _times(tenant, given, decided_on, now)

        def create(session: Session) -> pb.Waiver:
            def make() -> pb.Waiver:
                targets = targets_from_names(session, tenant, list(given.targets), "waiver.targets")
                uid = new_uid()
                row = WaiverRow(
                    uid=uid,
                    municipality_uid=tenant.uid,
                    id=request.waiver_id or uid,
                    floor_permille=given.floor_permille,
                    decision_reference=given.decision_reference,
                    decided_on=decided_on.isoformat(),
                    start_ms=to_unix_ms(start),
                    review_ms=to_unix_ms(review),
                    sign_at_pole=given.sign_at_pole,
                    reason=given.reason,
                    author=current_caller().subject,
                    created_at_ms=to_unix_ms(now),
                )
                store.add_waiver(session, tenant, row, targets)
                answer = _show(session, tenant, row)
                audit.record(session, "", answer.name, row.uid, tenant.uid, after=answer, reason=given.reason)
                answer.warnings.extend(_warnings(row, list(lamps_of(session, tenant, [uid for uid, _ in targets]))))
                return answer

            real = self.clock.real()
            return once(session, request, pb.Waiver, make, municipality_uid=tenant.uid, real=real)

        answer = await self.database.run(create)
        await self.parts.memory.refresh()
        return answer

    async def GetWaiver(self, request: pb.GetWaiverRequest, context: Context) -> pb.Waiver:
        """A waiver."""
        tenant = current_tenant()
        return await self.database.read(
            lambda session: _show(session, tenant, store.get_order(session, WaiverRow, tenant, _id(request.name)))
        )

    async def ListWaivers(self, request: pb.ListWaiversRequest, context: Context) -> pb.ListWaiversResponse:
        """Waivers by name; all, or those that hold now or will."""
        tenants, active_at = current_tenants(), self.now_ms if request.active_only else None

        def find(session: Session) -> pb.ListWaiversResponse:
            found = page(
                request,
                lambda after, limit: store.list_orders(session, WaiverRow, tenants, after, limit, active_at),
                lambda pair: (pair[0].id, pair[1].id),
                largest=LARGEST_PAGE,
            )
            targets = waiver_targets(session, [row.uid for _, row in found.items])
            return pb.ListWaiversResponse(
                waivers=[waiver_to_proto(row, tenant, targets[row.uid]) for tenant, row in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(find)

    async def ReleaseWaiver(self, request: pb.ReleaseWaiverRequest, context: Context) -> pb.Waiver:
        """Ends a waiver before its review; to release it again changes nothing."""
        tenant, now_ms = current_tenant(), self.now_ms

        def release(session: Session) -> pb.Waiver:
            row = store.get_order(session, WaiverRow, tenant, _id(request.name), lock=True)
            before = _show(session, tenant, row)
            if row.released_at_ms or row.review_ms <= now_ms:
                return before
            store.release(session, row, now_ms)
            after = _show(session, tenant, row)
            audit.record(session, "", after.name, row.uid, tenant.uid, before, after, request.reason)
            return after

        answer = await self.database.run(release)
        await self.parts.memory.refresh()
        return answer


def waiver_to_proto(row: WaiverRow, tenant: Tenant, targets: list[WaiverTargetRow]) -> pb.Waiver:
    """A waiver."""
    return pb.Waiver(
        name=store.order_name(tenant, row),
        uid=row.uid,
        targets=[target.target_name for target in targets],
        floor_permille=row.floor_permille,
        decision_reference=row.decision_reference,
        decided_on=date_to_proto(date.fromisoformat(row.decided_on)),
        start_time=timestamp_to_proto(from_unix_ms(row.start_ms)),
        review_time=timestamp_to_proto(from_unix_ms(row.review_ms)),
        sign_at_pole=row.sign_at_pole,
        reason=row.reason,
        author=row.author,
        created_at=timestamp_to_proto(from_unix_ms(row.created_at_ms)),
        released_at=timestamp_to_proto(from_unix_ms(row.released_at_ms)) if row.released_at_ms else None,
    )


def _times(tenant: Tenant, given: pb.Waiver, decided_on: date, now: datetime) -> tuple[datetime, datetime]:
    """From when and until when, to the millisecond. Raises InvalidInput."""
    start = optional_timestamp_from_proto(given, "start_time") or now
    review = optional_timestamp_from_proto(given, "review_time")
    if review is None:
        raise InvalidInput.of("waiver.review_time", "is required: no decision lasts for ever")
    start, review = (from_unix_ms(to_unix_ms(instant)) for instant in (start, review))
    check_waiver(start, review, decided_on, now, now.astimezone(ZoneInfo(tenant.time_zone)).date())
    return start, review


def _warnings(row: WaiverRow, lamps: list[Lamp]) -> list[str]:
    return warnings_about(
        row.floor_permille,
        row.sign_at_pole,
        conflict_areas=sum(lamp.conflict_area for lamp in lamps),
        lower=sum(not lamp.conflict_area and floor_of(lamp.floor_permille) <= row.floor_permille for lamp in lamps),
        members=len(lamps),
    )


def _id(name: str) -> str:
    return ResourceName.parse(name, field="name", collection="waivers").id


def _show(session: Session, tenant: Tenant, row: WaiverRow) -> pb.Waiver:
    return waiver_to_proto(row, tenant, waiver_targets(session, [row.uid])[row.uid])
