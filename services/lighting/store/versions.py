"""Versions of the inventory: what stood on a past date. Every change adds one; nothing here updates or deletes.

A version holds all of a resource's values from an instant of the domain on, until its next version; `deleted` says that
it was there no more. Values are kept as a document, so that a field that came later has its default in old versions.
Ids do not change, and what refers to something refers to its uid: names as of then are the names of then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlmodel import Session

from domain.errors import NotAuthenticated, NotFound
from servicekit.columns import table_of
from servicekit.context import Tenant, current_caller, current_request_id
from services.lighting.store.tables import InventoryVersionRow, Named

Row = TypeVar("Row", bound=Named)

_KEYS: Final = ("uid", "municipality_uid", "id", "version", "created_at_ms", "deleted_at_ms")
"""What is not part of a version's document: it stands in columns or follows from the versions."""

_BATCH: Final = 2_000
_IN: Final = 5_000


@dataclass(frozen=True, slots=True)
class Version:
    """Values of a resource from an instant on, in Unix ms; empty where it was deleted then."""

    uid: str
    from_ms: int
    deleted: bool
    state: Mapping[str, Any]


def add_versions(
    session: Session, table: type[Named], rows: Iterable[Mapping[str, Any]], at_ms: int, reason: str = ""
) -> None:
    """Keeps what rows (values by column) hold from an instant on, with who asked for it and why, many at a time."""
    actor, request = _actor(), current_request_id()
    kind = table.__tablename__
    found = [
        {
            "uid": row["uid"],
            "version": row["version"],
            "kind": kind,
            "municipality_uid": row["municipality_uid"],
            "id": row["id"],
            "from_ms": at_ms,
            "deleted": bool(row["deleted_at_ms"]),
            "actor": actor,
            "request_id": request,
            "reason": reason,
            "state": {} if row["deleted_at_ms"] else state_of(row),
        }
        for row in rows
    ]
    target = sa.insert(table_of(InventoryVersionRow))
    for at in range(0, len(found), _BATCH):
        session.connection().execute(target, found[at : at + _BATCH])


def add_version(session: Session, row: Named, at_ms: int, reason: str = "") -> None:
    """Keeps what a row holds from an instant on, with who asked for it and why."""
    deleted = bool(row.deleted_at_ms)
    values = {
        "uid": row.uid,
        "version": row.version,
        "kind": type(row).__tablename__,
        "municipality_uid": row.municipality_uid,
        "id": row.id,
        "from_ms": at_ms,
        "deleted": deleted,
        "actor": _actor(),
        "request_id": current_request_id(),
        "reason": reason,
        "state": {} if deleted else state_of(row.model_dump()),
    }
    session.connection().execute(sa.insert(table_of(InventoryVersionRow)), values)


def state_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a version."""
    return {name: value for name, value in row.items() if name not in _KEYS}


def rows_at(
    session: Session,
    table: type[Row],
    municipality_uid: str,
    at_ms: int,
    *,
    after: str = "",
    limit: int = 0,
    ids: Sequence[str] = (),
    uids: Sequence[str] | None = None,
) -> list[Row]:
    """What stood at an instant, by id, as rows of their table that belong to no session.

    after, limit: ids after this one, at most so many; ids, uids: only these.
    """
    c = table_of(InventoryVersionRow).c
    query = (
        sa.select(c.uid, c.id, c.version, c.state, c.from_ms)
        .where(c.municipality_uid == municipality_uid)
        .where(c.kind == table.__tablename__)
        .where(c.from_ms <= at_ms)
        .where(c.version == _newest(at_ms, c))
        .where(c.deleted.is_(False))
        .order_by(c.id)
    )
    if after:
        query = query.where(c.id > after)
    if limit:
        query = query.limit(limit)
    if ids:
        query = query.where(c.id.in_(list(ids)))
    if uids is None:
        return [_row(table, municipality_uid, found) for found in session.connection().execute(query)]
    rows: list[Row] = []
    for at in range(0, len(uids), _IN):
        part = query.where(c.uid.in_(list(uids[at : at + _IN])))
        rows += [_row(table, municipality_uid, found) for found in session.connection().execute(part)]
    return rows


def row_at(session: Session, table: type[Row], tenant: Tenant, identifier: str, name: str, at_ms: int) -> Row:
    """A resource as it stood at an instant. Raises NotFound where it was not there."""
    found = rows_at(session, table, tenant.uid, at_ms, ids=[identifier])
    if not found:
        raise NotFound(name)
    return found[0]


def each_row_at(
    session: Session, table: type[Row], municipality_uid: str, at_ms: int, after: str = "", part: int = 2_000
) -> Iterator[Row]:
    """What stood at an instant after an id, by id, read in parts: for lists that leave many out."""
    while True:
        rows = rows_at(session, table, municipality_uid, at_ms, after=after, limit=part)
        yield from rows
        if len(rows) < part:
            return
        after = rows[-1].id


def versions_between(
    session: Session, table: type[Named], municipality_uid: str, start_ms: int, end_ms: int, uids: Sequence[str] = ()
) -> dict[str, list[Version]]:
    """Per uid what held when [start, end) began, where it was there by then, and every change within, in order.

    uids: only of these, empty for all.
    """
    c = table_of(InventoryVersionRow).c
    held = _newest(start_ms, c)
    query = (
        sa.select(c.uid, c.from_ms, c.deleted, c.state)
        .where(c.municipality_uid == municipality_uid)
        .where(c.kind == table.__tablename__)
        .where(c.from_ms < end_ms)
        .where((c.from_ms > start_ms) | (c.version == held))
        .order_by(c.uid, c.version)
    )
    if uids:
        query = query.where(c.uid.in_(list(uids)))
    found: dict[str, list[Version]] = {}
    for uid, from_ms, deleted, state in session.connection().execute(query):
        found.setdefault(uid, []).append(Version(uid, from_ms, bool(deleted), state))
    return found


def _newest(at_ms: int, outer: Any) -> Any:
    """The newest version of the outer query's resource at an instant."""
    inner = table_of(InventoryVersionRow).alias("newest").c
    query = sa.select(sa.func.max(inner.version)).where(inner.uid == outer.uid).where(inner.from_ms <= at_ms)
    return query.scalar_subquery()


def _row(table: type[Row], municipality_uid: str, found: Any) -> Row:
    known = table_of(table).c
    state = {name: value for name, value in found.state.items() if name in known}
    return table(
        uid=found.uid, municipality_uid=municipality_uid, id=found.id, version=found.version,
        created_at_ms=found.from_ms, **state,
    )  # fmt: skip


def _actor() -> str:
    """Who asks for the change; empty where nobody does (a service that sets itself up)."""
    try:
        return current_caller().subject
    except NotAuthenticated:
        return ""
