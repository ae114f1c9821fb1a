"""Last values of sensors, stored so that every replica and the next run know them. Sensors themselves: inventory.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa
from sqlalchemy import CursorResult
from sqlmodel import Session, col, select

from servicekit.columns import insert_ignore, table_of
from services.lighting.sensors import SensorValue
from services.lighting.store.revisions import bump
from services.lighting.store.tables import SensorRow, SensorValueRow

SENSED: Final = "sensed"
"""Theme of the revision that grows with every value stored."""


def put_values(session: Session, values: Iterable[SensorValue], now_ms: int) -> int:
    """Stores values in place of older ones, and of such from the future: some clock jumped. Returns how many were news;
    sensors that are gone are left out."""
    latest: dict[str, SensorValue] = {}
    for value in values:
        if value.sensor_uid not in latest or latest[value.sensor_uid].at_ms <= value.at_ms:
            latest[value.sensor_uid] = value
    if not latest:
        return 0
    known = set(session.exec(select(SensorRow.uid).where(col(SensorRow.uid).in_(list(latest)))))
    table = table_of(SensorValueRow)
    stored = 0
    for uid in sorted(known):  # in one order, so that two replicas do not wait for each other
        value = latest[uid]
        row = {"sensor_uid": uid, "value_milli": value.value_milli, "at_ms": value.at_ms}
        if insert_ignore(session, table, [row]):
            stored += 1
            continue
        is_older = (table.c.at_ms < value.at_ms) | (table.c.at_ms > now_ms)
        newer = sa.update(table).where(table.c.sensor_uid == uid).where(is_older)
        result = session.connection().execute(newer.values(value_milli=value.value_milli, at_ms=value.at_ms))
        stored += max(0, result.rowcount) if isinstance(result, CursorResult) else 0
    if stored:
        bump(session, SENSED)
    return stored


def stored_values(session: Session) -> list[SensorValue]:
    """The last value of every sensor that is there."""
    query = (
        select(SensorValueRow)
        .join(SensorRow, col(SensorRow.uid) == col(SensorValueRow.sensor_uid))
        .where(SensorRow.deleted_at_ms == 0)
        .order_by(col(SensorValueRow.sensor_uid))
    )
    return [SensorValue(row.sensor_uid, row.value_milli, row.at_ms) for row in session.exec(query)]
