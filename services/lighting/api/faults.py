"""Methods about the book of faults: listed, acknowledged, reported and cleared by people. Detection is elsewhere."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, col

from domain.errors import FailedPrecondition, InvalidInput, NotFound, NotPermitted
from domain.names import ResourceName, new_uid
from domain.plan import to_unix_ms
from lichtbuch.lighting.v1 import faults_pb2 as flt
from servicekit import audit
from servicekit.context import Tenant, current_caller, current_tenant, current_tenants, scope_aware
from servicekit.convert import optional_timestamp_from_proto
from servicekit.idempotency import once
from servicekit.paging import page
from services.lighting.api.calls import LARGEST_PAGE, Calls, Context
from services.lighting.api.convert_faults import fault_name, fault_to_proto
from services.lighting.api.reach import Reach
from services.lighting.fault_kinds import FaultEnd, SubjectKind
from services.lighting.store import faults as store
from services.lighting.store.inventory import CABINETS, FEEDERS, GATEWAYS, LUMINAIRES, Kind, get
from services.lighting.store.names import Names, uid_of
from services.lighting.store.tables import FaultRow

_KINDS: Final[dict[str, tuple[SubjectKind, Kind[Any]]]] = {
    "luminaires": (SubjectKind.LUMINAIRE, LUMINAIRES),
    "feeders": (SubjectKind.FEEDER, FEEDERS),
    "cabinets": (SubjectKind.CABINET, CABINETS),
    "gateways": (SubjectKind.GATEWAY, GATEWAYS),
}


class FaultCalls(Calls):
    """The book of faults, for people."""

    @scope_aware
    async def ListFaults(self, request: flt.ListFaultsRequest, context: Context) -> flt.ListFaultsResponse:
        """Faults as a fitter drives; all, or those that stand."""
        tenants = current_tenants()

        def find(session: Session) -> flt.ListFaultsResponse:
            conditions = {tenant.uid: _conditions(session, tenant, request) for tenant in tenants}
            found = page(
                request,
                lambda after, limit: store.list_faults(
                    session, tenants, after, limit, lambda tenant: conditions[tenant.uid]
                ),
                lambda pair: (pair[0].id, pair[1].route, pair[1].uid),
                largest=LARGEST_PAGE,
            )
            names = Names(session, tenants)
            if len(found.items) > 1:
                names.preload(*_KINDS)
            return flt.ListFaultsResponse(
                faults=[fault_to_proto(row, tenant, names) for tenant, row in found.items],
                next_page_token=found.next_page_token,
            )

        return await self.database.read(find)

    @scope_aware
    async def GetFault(self, request: flt.GetFaultRequest, context: Context) -> flt.Fault:
        """A fault."""
        tenant = current_tenant()
        return await self.database.read(lambda session: _show(session, tenant, _get(session, tenant, request.name)))

    @scope_aware
    async def AcknowledgeFault(self, request: flt.AcknowledgeFaultRequest, context: Context) -> flt.Fault:
        """Somebody knows of it; the same person with the same note again changes nothing."""
        tenant, now_ms, subject = current_tenant(), self.now_ms, current_caller().subject

        def acknowledge(session: Session) -> flt.Fault:
            row = _get(session, tenant, request.name, lock=True)
            before = _show(session, tenant, row)
            if row.acknowledged_ms and (row.acknowledged_by, row.note) == (subject, request.note):
                return before
            row.acknowledged_ms, row.acknowledged_by, row.note = now_ms, subject, request.note
            return _changed(session, tenant, row, before, request.note)

        return await self.database.run(acknowledge)

    @scope_aware
    async def ReportFault(self, request: flt.ReportFaultRequest, context: Context) -> flt.Fault:
        """A fault that a person tells."""
        tenant, now_ms = current_tenant(), self.now_ms

        def create(session: Session) -> flt.Fault:
            def make() -> flt.Fault:
                kind, row = _subject(session, tenant, request.subject)
                Reach(session, tenant).require(row, request.subject)
                author, uid = current_caller().subject, new_uid()
                made = store.report(session, tenant, kind, row, request.text, author, uid, now_ms)
                answer = _show(session, tenant, made)
                audit.record(session, "", answer.name, made.uid, tenant.uid, after=answer, reason=request.text[:500])
                return answer

            real = self.clock.real()
            return once(session, request, flt.Fault, make, municipality_uid=tenant.uid, real=real)

        return await self.database.run(create)

    @scope_aware
    async def ClearFault(self, request: flt.ClearFaultRequest, context: Context) -> flt.Fault:
        """Ends a fault that was reported by hand; to clear it again changes nothing."""
        tenant, now_ms = current_tenant(), self.now_ms

        def clear(session: Session) -> flt.Fault:
            row = _get(session, tenant, request.name, lock=True)
            before = _show(session, tenant, row)
            if not row.by_hand:
                words = "was not reported by hand: it is cleared when it is seen to be good"
                raise FailedPrecondition.of("name", f"{before.name} {words}")
            if row.cleared_ms:
                return before
            row.cleared_ms, row.end_reason = max(now_ms, row.raised_ms), int(FaultEnd.CLEARED_BY_PERSON)
            if request.note:
                row.note = request.note
            if not row.acknowledged_ms:
                row.acknowledged_ms, row.acknowledged_by = now_ms, current_caller().subject
            return _changed(session, tenant, row, before, request.note)

        return await self.database.run(clear)


def _conditions(session: Session, tenant: Tenant, request: flt.ListFaultsRequest) -> list[Any]:
    """What limits a list in one municipality: what was asked for, and how far the caller reaches."""
    start = optional_timestamp_from_proto(request, "start_time")
    end = optional_timestamp_from_proto(request, "end_time")
    if start is not None and end is not None and end <= start:
        raise InvalidInput.of("end_time", "is not after start_time")
    if any(name and not name.startswith(f"{tenant.name}/") for name in (request.cabinet, request.subject)):
        return [sa.false()]  # one of several municipalities, and not the one that was named
    cabinet_uid = uid_of(session, tenant, "cabinets", request.cabinet, "cabinet") or ""
    limits = store.FaultFilter(
        open_only=request.open_only,
        unacknowledged_only=request.unacknowledged_only,
        street=request.street,
        cabinet_uid=cabinet_uid,
        subject_uid=_subject(session, tenant, request.subject)[1].uid if request.subject else "",
        kinds=tuple(int(kind) for kind in request.kinds),
        start_ms=None if start is None else to_unix_ms(start),
        end_ms=None if end is None else to_unix_ms(end),
    )
    conditions = limits.conditions()
    reach = Reach(session, tenant)
    if reach.cabinets is not None:
        conditions.append(col(FaultRow.cabinet_uid).in_(list(reach.cabinets)))
    return conditions


def _subject(session: Session, tenant: Tenant, name: str) -> tuple[SubjectKind, Any]:
    """What a fault is on. Raises InvalidInput for what is none of it, or does not exist."""
    parsed = ResourceName.parse(name, field="subject")
    if parsed.collection not in _KINDS:
        raise InvalidInput.of("subject", f"{name} is none of {', '.join(_KINDS)}")
    kind, resource = _KINDS[parsed.collection]
    try:
        return kind, get(session, resource, tenant, parsed.id)
    except NotFound as error:
        raise InvalidInput.of("subject", f"{name} does not exist") from error


def _get(session: Session, tenant: Tenant, name: str, *, lock: bool = False) -> FaultRow:
    """A fault within the caller's reach. Raises NotFound, NotPermitted."""
    identifier = ResourceName.parse(name, field="name", collection=store.COLLECTION).id
    row = store.get_fault(session, tenant, identifier, lock=lock)
    reach = Reach(session, tenant)
    if reach.cabinets is not None and row.cabinet_uid not in reach.cabinets:
        raise NotPermitted(f"{fault_name(tenant, row)} is outside of what the caller is bound to")
    return row


def _show(session: Session, tenant: Tenant, row: FaultRow) -> flt.Fault:
    return fault_to_proto(row, tenant, Names(session, [tenant]))


def _changed(session: Session, tenant: Tenant, row: FaultRow, before: flt.Fault, reason: str) -> flt.Fault:
    session.add(row)
    session.flush()
    after = _show(session, tenant, row)
    audit.record(session, "", after.name, row.uid, tenant.uid, before, after, reason)
    return after
