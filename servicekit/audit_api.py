"""AuditService: reading a service's own audit trail. Writing it is audit.py; who may read it stands in the contract."""

from typing import Any, Final

from sqlmodel import Session, col, select

from domain.names import WILDCARD, ResourceName
from lichtbuch.audit.v1 import audit_pb2, audit_pb2_grpc
from servicekit.audit import AuditRecord
from servicekit.context import current_caller, current_tenants
from servicekit.convert import timestamp_to_proto
from servicekit.database import Database
from servicekit.paging import Key, page

_PERMISSION: Final = "audit.records.read"


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Serves the trail of one database, newest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ListAuditRecords(
        self, request: audit_pb2.ListAuditRecordsRequest, context: Any
    ) -> audit_pb2.ListAuditRecordsResponse:
        """Records of the municipalities that the request is about."""
        uids = [tenant.uid for tenant in current_tenants()]
        is_wildcard = ResourceName.parse(request.parent, field="parent", allow_wildcard=True).is_wildcard
        if is_wildcard and current_caller().may(_PERMISSION, WILDCARD):
            uids.append("")  # what concerns every municipality, as a role in all of them

        def fetch_page(session: Session) -> audit_pb2.ListAuditRecordsResponse:
            def fetch(after: list[str | int | None] | None, limit: int) -> list[AuditRecord]:
                query = select(AuditRecord).where(col(AuditRecord.municipality_uid).in_(uids))
                if request.resource:
                    query = query.where(AuditRecord.resource == request.resource)
                if after is not None:
                    query = query.where(col(AuditRecord.sequence) < after[0])
                return list(session.exec(query.order_by(col(AuditRecord.sequence).desc()).limit(limit)).all())

            found = page(request, fetch, _key, largest=1000)
            return audit_pb2.ListAuditRecordsResponse(
                records=[record_to_proto(record) for record in found.items], next_page_token=found.next_page_token
            )

        return await self._database.read(fetch_page)


def record_to_proto(record: AuditRecord) -> audit_pb2.AuditRecord:
    """A record as the contract shows it."""
    return audit_pb2.AuditRecord(
        uid=record.uid,
        recorded_at=timestamp_to_proto(record.recorded_at),
        domain_at=timestamp_to_proto(record.domain_at),
        actor=record.actor,
        actor_kind=record.actor_kind,
        action=record.action,
        resource=record.resource,
        resource_uid=record.resource_uid,
        reason=record.reason,
        request_id=record.request_id,
        before_json=record.before_json,
        after_json=record.after_json,
    )


def _key(record: AuditRecord) -> Key:
    return (record.sequence,)
