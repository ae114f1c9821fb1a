"""Who stores readings, and who changes the registers they belong to, do not pass each other unseen.

Readings are put under the register that lives at their slot. An exchange that is recorded between that look and the
commit would leave them with the old register, where nobody looks any more. So storing readings shares a lock that an
exchange has for itself; it is taken before the lives are looked at and ends with the transaction. SQLite has one
writer anyway.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from services.metering.store.bulk import is_postgresql

_KEY: Final = 0x6D65_7465_7273
"""The word "meters": advisory locks of PostgreSQL are told apart by numbers."""


def to_store_readings(session: Session) -> None:
    """Waits for whoever changes registers, and has them wait until the commit. Others may store readings meanwhile."""
    _take(session, "pg_advisory_xact_lock_shared")


def to_change_registers(session: Session) -> None:
    """Waits for all who store readings or change registers, and has them wait until the commit."""
    _take(session, "pg_advisory_xact_lock")


def _take(session: Session, function: str) -> None:
    if is_postgresql(session):
        session.connection().execute(text(f"SELECT {function}(:key)"), {"key": _KEY})
