"""Where registers stand, as plain numbers: ten thousand of them are asked for with every slot.

The rows themselves, and what becomes of a register, are lives.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from services.metering.life import FOREVER_MS
from services.metering.store.bulk import fetch_rows, key_set


@dataclass(frozen=True, slots=True)
class Span:
    """A life: whose register it is, and from when until when (exclusive; Unix ms) it lives."""

    key: int
    uid: str
    meter_uid: str
    begin_ms: int
    end_ms: int


def spans_of(session: Session, keys: Sequence[int]) -> list[Span]:
    """The lives of these keys; what does not exist is left out."""
    rows = fetch_rows(
        session,
        f"SELECT key, uid, meter_uid, coalesce(installed_ms, 0), coalesce(removed_ms, {FOREVER_MS}) FROM register_life"
        f" WHERE key IN {key_set(session, keys)}",
    )
    return [Span(int(key), str(uid), str(meter), int(begin), int(end)) for key, uid, meter, begin, end in rows]


def polled_slots(session: Session, keys: Sequence[int]) -> dict[int, int]:
    """Newest slot that polling has dealt with, by register; registers without any reading are left out."""
    statement = f"SELECT life_key, polled_slot_ms FROM register_head WHERE life_key IN {key_set(session, keys)}"
    return {int(key): int(slot) for key, slot in fetch_rows(session, statement)}


def latest_slots(session: Session, keys: Sequence[int]) -> dict[int, int]:
    """Slot of the newest reading that is no gap, by register; registers without any reading are left out."""
    statement = f"SELECT life_key, latest_slot_ms FROM register_head WHERE life_key IN {key_set(session, keys)}"
    return {int(key): int(slot) for key, slot in fetch_rows(session, statement)}


def pass_over(session: Session, meter_uid: str, slot_ms: int) -> None:
    """Says that polling has dealt with all slots of a meter's living register up to one, if it has with any."""
    statement = text(
        "UPDATE register_head SET polled_slot_ms = :slot WHERE polled_slot_ms > 0 AND polled_slot_ms < :slot"
        " AND life_key IN (SELECT key FROM register_life WHERE meter_uid = :meter AND removed_ms IS NULL)"
    )
    session.connection().execute(statement, {"slot": slot_ms, "meter": meter_uid})
