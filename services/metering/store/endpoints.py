"""Rows of the copy of the registry's endpoints. When they are refreshed: services/metering/endpoints.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, delete, select

from services.metering.store.tables import EndpointRow


def put(session: Session, rows: Sequence[EndpointRow], gone: Collection[str] = ()) -> None:
    """Stores endpoints, replacing those of the same uid, also where somebody else stores them at the same moment, and
    deletes those of the uids in `gone`."""
    for uid in gone:
        session.execute(delete(EndpointRow).where(col(EndpointRow.uid) == uid))
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for row in rows:
        values = row.model_dump()
        statement = insert(EndpointRow).values(values)
        rest = {name: value for name, value in values.items() if name != "uid"}
        session.execute(statement.on_conflict_do_update(index_elements=["uid"], set_=rest))
    session.expire_all()


def find(session: Session, municipality_uid: str, endpoint_id: str) -> EndpointRow | None:
    """The endpoint of this name."""
    statement = select(EndpointRow).where(
        col(EndpointRow.municipality_uid) == municipality_uid, col(EndpointRow.endpoint_id) == endpoint_id
    )
    return session.exec(statement).first()


def all_rows(session: Session) -> list[EndpointRow]:
    """Every endpoint."""
    return list(session.exec(select(EndpointRow)))
