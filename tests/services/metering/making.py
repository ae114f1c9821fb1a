"""Makers of rows and readings for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from domain.names import new_uid
from services.metering.meter import Medium, Unit
from services.metering.reading import Readings
from services.metering.slot import SLOT_MS, to_ms
from services.metering.store import feed, meters
from services.metering.store.tables import MeterRow

TOWN = "0190000000007000800000000000aaaa"
NOW = datetime(2026, 3, 28, 12, tzinfo=UTC)
NOON_MS = to_ms(NOW)


def meter_row(meter_id: str = "M-1", **changes: Any) -> MeterRow:
    """A cabinet's meter."""
    fields: dict[str, Any] = {
        "uid": new_uid(),
        "municipality_uid": TOWN,
        "meter_id": meter_id,
        "display_name": "",
        "medium": int(Medium.ELECTRICITY),
        "unit": int(Unit.WH),
        "cabinet_id": "",
        "building": "",
        "endpoint_uid": "",
        "endpoint_id": "",
        "point": "energy_active_import",
        "serial_number": "",
        "rollover": 0,
        "transformer_ratio": 1,
        "connected_load_w": 0,
        "revision": 1,
        "created_at": NOW,
        **changes,
    }
    return MeterRow(**fields)


def add_meter(session: Session, meter_id: str = "M-1", **changes: object) -> meters.StoredMeter:
    """A stored meter with its first life."""
    row = meter_row(meter_id, **changes)
    return meters.create(session, row, f"municipalities/town/meters/{meter_id}")


def source(text: str = "poll") -> feed.Source:
    """Where readings come from."""
    return feed.Source(text, "service:metering", NOW)


def series(register: int, start_ms: int, values: Sequence[int]) -> Readings:
    """Readings of one register, a quarter hour apart."""
    count = len(values)
    return Readings.of([register] * count, [start_ms + n * SLOT_MS for n in range(count)], list(values))
