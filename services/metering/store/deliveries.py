"""Rows of deliveries into the stores that meters stand for: recorded, listed, withdrawn. Nothing is deleted."""

from __future__ import annotations

from sqlmodel import Session, col, select

from domain.errors import NotFound
from services.metering.store.tables import DeliveryRow


def add(session: Session, row: DeliveryRow) -> DeliveryRow:
    """Stores a delivery."""
    session.add(row)
    session.flush()
    return row


def get(session: Session, meter_uid: str, delivery_id: str, resource: str) -> DeliveryRow:
    """A delivery, withdrawn or not. Raises NotFound."""
    statement = select(DeliveryRow).where(
        col(DeliveryRow.meter_uid) == meter_uid, col(DeliveryRow.delivery_id) == delivery_id
    )
    row = session.exec(statement).first()
    if row is None:
        raise NotFound(resource)
    return row


def listed(session: Session, meter_uid: str, after: tuple[int, str] | None, limit: int) -> list[DeliveryRow]:
    """Deliveries of a meter by time and id, withdrawn ones among them, those after a (delivered_ms, delivery_id)."""
    statement = select(DeliveryRow).where(col(DeliveryRow.meter_uid) == meter_uid)
    if after is not None:
        at_ms, delivery_id = after
        later = col(DeliveryRow.delivered_ms) > at_ms
        same = (col(DeliveryRow.delivered_ms) == at_ms) & (col(DeliveryRow.delivery_id) > delivery_id)
        statement = statement.where(later | same)
    statement = statement.order_by(col(DeliveryRow.delivered_ms), col(DeliveryRow.delivery_id))
    return list(session.exec(statement.limit(limit)))


def that_hold(session: Session, meter_uid: str) -> list[tuple[int, int]]:
    """Instant (Unix ms) and amount of the deliveries that nobody has withdrawn, by time."""
    statement = (
        select(DeliveryRow.delivered_ms, DeliveryRow.amount)
        .where(col(DeliveryRow.meter_uid) == meter_uid, col(DeliveryRow.withdrawn_at).is_(None))
        .order_by(col(DeliveryRow.delivered_ms), col(DeliveryRow.delivery_id))
    )
    return [(int(at_ms), int(amount)) for at_ms, amount in session.exec(statement)]
