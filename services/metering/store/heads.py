"""Where registers stand, as plain numbers: ten thousand of them are asked for with every slot.

The rows themselves, and what becomes of a register, are lives.py's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel import Session

from services.metering.life import FOREVER_MS
from services.metering.store.bulk import key_set


def spans_of(session: Session, keys: Sequence[int]) -> list[tuple[int, str, int, int]]:
    """Key, uid of the meter, begin and end (exclusive; Unix ms) of lives."""
    statement = text(
        "SELECT key, meter_uid, coalesce(installed_ms, 0), coalesce(removed_ms, :forever) FROM register_life"
        f" WHERE key IN {key_set(session, keys)}"
    )
    found = session.connection().execute(statement, {"forever": FOREVER_MS})
    return [(int(key), str(uid), int(begin), int(end)) for key, uid, begin, end in found]


def polled_slots(session: Session, keys: Sequence[int]) -> dict[int, int]:
    """Newest slot that polling has dealt with, by register; registers without any reading are left out."""
    statement = text(f"SELECT life_key, polled_slot_ms FROM register_head WHERE life_key IN {key_set(session, keys)}")
    return {int(key): int(slot) for key, slot in session.connection().execute(statement)}


def latest_slots(session: Session, keys: Sequence[int]) -> dict[int, int]:
    """Slot of the newest reading that is no gap, by register; registers without any reading are left out."""
    statement = text(f"SELECT life_key, latest_slot_ms FROM register_head WHERE life_key IN {key_set(session, keys)}")
    return {int(key): int(slot) for key, slot in session.connection().execute(statement)}
