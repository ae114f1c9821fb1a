"""Which registers are read less often than every quarter hour, and when: what polling has missed are slots of their own
cycle only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from domain.night import DEFAULT_TIME_ZONE
from servicekit.tenants import time_zones
from services.metering.schedule import SELDOM, zone_of
from services.metering.store.bulk import fetch_rows, key_set

_CYCLES: Final = ", ".join(str(int(cycle)) for cycle in SELDOM)


def schedules_of(session: Session, keys: Sequence[int]) -> dict[int, tuple[int, ZoneInfo]]:
    """Cycle and time zone of the meters that these registers are of, whatever has become of the meter since; those that
    are read every quarter hour are left out."""
    rows = fetch_rows(
        session,
        "SELECT l.key, m.reading_cycle, m.municipality_uid FROM register_life l JOIN meter m ON m.uid = l.meter_uid"
        f" WHERE l.key IN {key_set(session, keys)} AND m.reading_cycle IN ({_CYCLES})",
    )
    zones = time_zones(session) if rows else {}
    return {int(key): (int(cycle), zone_of(zones.get(town, DEFAULT_TIME_ZONE))) for key, cycle, town in rows}
