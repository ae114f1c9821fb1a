"""How often a theme has changed: replicas and the worker notice by it, and changes of a theme wait for each other."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CursorResult, update
from sqlmodel import Session, select

from servicekit.columns import insert_ignore, table_of
from services.lighting.store.tables import RevisionRow

INVENTORY: Final = "inventory"
ORDERS: Final = "orders"


def wait_for_others(session: Session, theme: str) -> None:
    """Waits until other changes of a theme under way are stored, and has later ones wait for this transaction.

    Before anything else is locked: who changes one luminaire and who moves many would wait for each other otherwise.
    """
    session.exec(select(RevisionRow).where(RevisionRow.theme == theme).with_for_update()).first()


def bump(session: Session, theme: str) -> None:
    """Counts a change, so that replicas and the worker notice it."""
    table = table_of(RevisionRow)
    statement = update(table).where(table.c.theme == theme).values(number=table.c.number + 1)
    result = session.connection().execute(statement)
    if isinstance(result, CursorResult) and result.rowcount == 0:
        insert_ignore(session, table, [{"theme": theme, "number": 0}])
        session.connection().execute(statement)


def revisions(session: Session) -> dict[str, int]:
    """How often each theme has changed."""
    return {row.theme: row.number for row in session.exec(select(RevisionRow))}
