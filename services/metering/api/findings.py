"""Findings: listed with their meter, acknowledged and closed by people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from domain.errors import FailedPrecondition, InvalidInput
from domain.names import ResourceName
from lichtbuch.metering.v1 import metering_pb2 as pb
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_scope, current_tenant, current_tenants, scope_aware
from servicekit.convert import check_etag, etag_of, optional_timestamp_to_proto, timestamp_to_proto
from servicekit.paging import page
from services.metering.api.calls import Calls, Context, in_scope, meter_name, named_rows
from services.metering.slot import from_ms
from services.metering.store import findings as store
from services.metering.store import meters
from services.metering.store.tables import FindingRow, MeterRow
from services.metering.waste.findings import STANDING, State

_LARGEST_PAGE = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Seen = tuple[Tenant, FindingRow, MeterRow]
_Change = Callable[[FindingRow], None]


class FindingCalls(Calls):
    """Findings."""

    @scope_aware
    async def ListFindings(self, request: pb.ListFindingsRequest, context: Context) -> pb.ListFindingsResponse:
        """What stands, or all that ever did, the newest first."""

        def ask(session: Session) -> pb.ListFindingsResponse:
            def fetch(after: list[str | int | None] | None, limit: int) -> list[_Seen]:
                return _seen(session, request, _after(after), limit)

            found = page(request, fetch, lambda seen: [_micros(seen[1].raised_at), seen[1].uid], largest=_LARGEST_PAGE)
            return pb.ListFindingsResponse(
                findings=[finding_to_proto(tenant.id, row, meter) for tenant, row, meter in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(ask)

    async def AcknowledgeFinding(self, request: pb.AcknowledgeFindingRequest, context: Context) -> pb.Finding:
        """Somebody knows of it. It goes on until it ends or is closed."""
        note, by = request.note.strip(), current_caller().subject

        def acknowledge(row: FindingRow) -> None:
            row.state, row.acknowledged_by = int(State.ACKNOWLEDGED), by
            row.note = note or row.note

        return await self._change(request, acknowledge, note)

    async def CloseFinding(self, request: pb.CloseFindingRequest, context: Context) -> pb.Finding:
        """It was dealt with, or is none: what had begun by now is not raised again."""
        note, now = request.note.strip(), self.clock.now()
        if not note:
            raise InvalidInput.of("note", "it is needed: what was done, or why it is no waste")

        def close(row: FindingRow) -> None:
            row.state, row.note, row.closed_at = int(State.CLOSED), note, now

        return await self._change(request, close, note)

    async def _change(
        self, request: pb.AcknowledgeFindingRequest | pb.CloseFindingRequest, change: _Change, reason: str
    ) -> pb.Finding:
        tenant, name = current_tenant(), ResourceName.parse(request.name, collection="findings")

        def run(session: Session) -> pb.Finding:
            row = store.get(session, tenant.uid, name.id, str(name))
            meter = store.meters_of(session, [row])[row.meter_uid]
            was = finding_to_proto(tenant.id, row, meter)
            check_etag(request.etag, was.etag)
            if row.state not in STANDING:
                raise FailedPrecondition.of("name", f"{name} stands no longer")
            change(row)
            row.revision += 1
            store.save(session, row)
            answer = finding_to_proto(tenant.id, row, meter)
            audit.record(session, "", str(name), row.uid, tenant.uid, before=was, after=answer, reason=reason)
            return answer

        return await self.database.run(run)


def finding_to_proto(tenant_id: str, row: FindingRow, meter: MeterRow) -> pb.Finding:
    """A finding with what people call its meter."""
    return pb.Finding(
        name=f"municipalities/{tenant_id}/findings/{row.uid}",
        meter=meter_name(tenant_id, meter),
        meter_display_name=meter.display_name,
        rule=row.rule,
        start_time=timestamp_to_proto(from_ms(row.start_ms)),
        end_time=timestamp_to_proto(from_ms(row.end_ms)),
        excess_amount=row.excess_amount,
        unit=meter.unit,  # type: ignore[arg-type]  # stored as the contract numbers it
        cost_cents=row.cost_cents,
        detail=row.detail,
        state=row.state,  # type: ignore[arg-type]
        acknowledged_by=row.acknowledged_by,
        note=row.note,
        raised_at=timestamp_to_proto(row.raised_at),
        closed_at=optional_timestamp_to_proto(row.closed_at),
        coverage_permille=row.coverage_permille,
        etag=etag_of(row.uid, row.revision),
    )


def _seen(
    session: Session, request: pb.ListFindingsRequest, after: tuple[datetime, str] | None, limit: int
) -> list[_Seen]:
    """Findings of the municipalities asked for, as far as the caller may see their meters, in one order."""
    wanted: dict[str, list[str]] | None = None
    if request.meter:
        [(owner, row)] = named_rows(session, [request.meter])
        wanted = {owner.uid: [row.uid]}
    found: list[_Seen] = []
    for tenant in current_tenants():
        uids = None if wanted is None else wanted.get(tenant.uid, [])
        if uids is None and current_scope(tenant).is_limited:
            uids = [row.uid for row in meters.all_rows(session, [tenant.uid]) if in_scope(tenant, row)]
        if uids == []:
            continue
        rows = store.listed(session, tenant.uid, meter_uids=uids, with_past=request.with_past, after=after, limit=limit)
        of = store.meters_of(session, rows)
        found += [(tenant, row, of[row.meter_uid]) for row in rows]
    found.sort(key=lambda seen: (seen[1].raised_at, seen[1].uid), reverse=True)
    return found[:limit]


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _after(key: list[str | int | None] | None) -> tuple[datetime, str] | None:
    if key is None:
        return None
    if len(key) != 2 or not isinstance(key[0], int):
        raise InvalidInput.of("page_token", "not a token of this method")
    return _EPOCH + timedelta(microseconds=key[0]), str(key[1])
