"""Between the contract's faults and lighting's rows."""

from __future__ import annotations

from domain.plan import from_unix_ms
from lichtbuch.lighting.v1 import faults_pb2
from lichtbuch.type.v1.types_pb2 import Position
from servicekit.context import Tenant
from servicekit.convert import timestamp_to_proto
from services.lighting.fault_kinds import SubjectKind
from services.lighting.store.faults import COLLECTION
from services.lighting.store.names import Names
from services.lighting.store.tables import FaultRow


def fault_name(tenant: Tenant, row: FaultRow) -> str:
    """Resource name."""
    return f"{tenant.name}/{COLLECTION}/{row.id}"


def fault_to_proto(row: FaultRow, tenant: Tenant, names: Names) -> faults_pb2.Fault:
    """A fault."""
    fault = faults_pb2.Fault(
        name=fault_name(tenant, row),
        uid=row.uid,
        kind=row.kind,  # type: ignore[arg-type]  # the numbers are the contract's
        subject=names.of(SubjectKind(row.subject_kind).collection, row.subject_uid),
        street=row.street,
        pole=row.pole,
        cabinet=names.of("cabinets", row.cabinet_uid),
        raised_at=timestamp_to_proto(from_unix_ms(row.raised_ms)),
        last_seen_at=timestamp_to_proto(from_unix_ms(row.last_seen_ms)),
        end=row.end_reason,  # type: ignore[arg-type]
        acknowledged_by=row.acknowledged_by,
        acknowledgement_note=row.note,
        measured_value=row.measured,
        expected_value=row.expected,
        by_hand=row.by_hand,
        text=row.report,
        reported_by=row.reported_by,
    )
    if row.latitude_deg is not None and row.longitude_deg is not None:
        fault.position.CopyFrom(Position(latitude_deg=row.latitude_deg, longitude_deg=row.longitude_deg))
    if row.cleared_ms:
        fault.cleared_at.CopyFrom(timestamp_to_proto(from_unix_ms(row.cleared_ms)))
    if row.acknowledged_ms:
        fault.acknowledged_at.CopyFrom(timestamp_to_proto(from_unix_ms(row.acknowledged_ms)))
    return fault
