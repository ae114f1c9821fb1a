"""Field endpoints as the registry told last: so that light needs no registry."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from services.lighting.records import EndpointRecord
from services.lighting.store.revisions import INVENTORY, bump
from services.lighting.store.tables import EndpointRow


def replace_endpoints(session: Session, endpoints: Sequence[EndpointRecord], now_ms: int) -> int:
    """Makes the stored endpoints equal to a complete list. Returns how many differed; nothing is written for none."""
    stored = {row.uid: row for row in session.exec(select(EndpointRow))}
    differing = 0
    for endpoint in endpoints:
        row = stored.pop(endpoint.uid, None)
        if row is None:
            row = EndpointRow(
                uid=endpoint.uid,
                municipality_uid=endpoint.municipality_uid,
                id=endpoint.id,
                url=endpoint.url,
                profile=endpoint.profile,
                state=int(endpoint.state),
            )
        elif _same(row, endpoint):
            continue
        differing += 1
        row.municipality_uid, row.id = endpoint.municipality_uid, endpoint.id
        row.url, row.profile, row.state = endpoint.url, endpoint.profile, int(endpoint.state)
        row.round_trip_ms, row.monthly_bytes = endpoint.round_trip_ms, endpoint.monthly_bytes
        row.deleted_at_ms = 0
        session.add(row)
    for row in stored.values():
        if row.deleted_at_ms == 0:
            differing += 1
            row.deleted_at_ms = now_ms
            session.add(row)
    if differing:
        session.flush()
        bump(session, INVENTORY)
    return differing


def count_endpoints(session: Session, municipality_uid: str) -> int:
    """How many endpoints of a municipality are known here."""
    query = select(EndpointRow.uid).where(EndpointRow.municipality_uid == municipality_uid)
    return len(session.exec(query.where(col(EndpointRow.deleted_at_ms) == 0)).all())


def _same(row: EndpointRow, endpoint: EndpointRecord) -> bool:
    stored = (row.municipality_uid, row.id, row.url, row.profile, row.state, row.round_trip_ms, row.monthly_bytes)
    return row.deleted_at_ms == 0 and stored == (
        endpoint.municipality_uid,
        endpoint.id,
        endpoint.url,
        endpoint.profile,
        int(endpoint.state),
        endpoint.round_trip_ms,
        endpoint.monthly_bytes,
    )
