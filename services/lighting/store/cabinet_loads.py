"""Cabinets with what hangs on their meters beside lighting, as the inventory says now."""

from __future__ import annotations

from sqlmodel import Session, col, select

from servicekit.context import Tenant
from services.lighting.store.tables import CabinetRow


def cabinet_rows(session: Session, tenant: Tenant) -> dict[str, CabinetRow]:
    """Cabinets of a municipality by uid."""
    query = select(CabinetRow).where(CabinetRow.municipality_uid == tenant.uid)
    return {row.uid: row for row in session.exec(query.where(col(CabinetRow.deleted_at_ms) == 0))}
