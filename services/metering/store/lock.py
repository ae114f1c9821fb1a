"""Who stores readings, and who changes the registers they belong to, do not pass each other unseen.

Readings are put under the register that lives at their slot. An exchange that is recorded between that look and the
commit would leave them with the old register, where nobody looks any more. So storing readings shares a lock that an
exchange has for itself; it is taken before the lives are looked at and ends with the transaction. SQLite has one
writer anyway. Not here: locks on rows.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from services.metering.store.bulk import is_postgresql

_KEY: Final = 0x6D65_7465_7273
"""The word "meters": advisory locks of PostgreSQL are told apart by numbers."""
_NUMBERS: Final = 0x6E75_6D62_6572
"""The word "number"."""


def to_store_readings(session: Session) -> None:
    """Waits for whoever changes registers, and has them wait until the commit. Others may store readings meanwhile."""
    _take(session, "pg_advisory_xact_lock_shared", _KEY)


def to_change_registers(session: Session) -> None:
    """Waits for all who store readings or change registers, and has them wait until the commit."""
    _take(session, "pg_advisory_xact_lock", _KEY)


def to_give_serial_numbers(session: Session) -> None:
    """Waits for all who give a meter its serial number, and has them wait until the commit: two who claim the same one
    at once would not see each other. Taken after the lock on registers by whoever needs both."""
    _take(session, "pg_advisory_xact_lock", _NUMBERS)


def _take(session: Session, function: str, key: int) -> None:
    if is_postgresql(session):
        session.connection().execute(text(f"SELECT {function}(:key)"), {"key": key})
