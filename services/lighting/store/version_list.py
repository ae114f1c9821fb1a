"""Who changed the inventory, when and why, as a list: the newest change first. What a version holds: versions.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session

from servicekit.columns import table_of
from services.lighting.store.tables import InventoryVersionRow

_FIELDS: Final[Mapping[str, str]] = {
    "latitude_deg": "position",
    "longitude_deg": "position",
    "group_given": "group",
    "previous_known": "previous",
    "previous_lamp_power_w": "previous",
    "previous_ballast_power_w": "previous",
    "previous_half_night": "previous",
    "group_uids": "groups",
}
"""Columns that the contract calls otherwise than without their "_uid"."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions. Tables with ids, both empty for all; instants in Unix ms, None for no bound."""

    municipality_uids: Collection[str]
    kind: str = ""
    id: str = ""
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A version without what it holds; `fields` differ from the one before."""

    uid: str
    version: int
    kind: str
    municipality_uid: str
    id: str
    from_ms: int
    deleted: bool
    fields: tuple[str, ...]
    actor: str
    reason: str
    request_id: str

    @property
    def key(self) -> tuple[int, str, int]:
        """Its place in the list."""
        return self.from_ms, self.uid, self.version


def list_changes(
    session: Session, wanted: Wanted, after: Sequence[str | int | None] | None, limit: int
) -> list[Change]:
    """Versions, the newest first; `after` is the key of the last one seen."""
    table = table_of(InventoryVersionRow)
    c, earlier = table.c, table.alias("earlier")
    joined = table.outerjoin(earlier, (earlier.c.uid == c.uid) & (earlier.c.version == c.version - 1))
    query = sa.select(*c, earlier.c.state.label("before"), earlier.c.deleted.label("was_deleted")).select_from(joined)
    query = query.where(c.municipality_uid.in_(list(wanted.municipality_uids)))
    if wanted.kind:
        query = query.where(c.kind == wanted.kind).where(c.id == wanted.id)
    if wanted.start_ms is not None:
        query = query.where(c.from_ms >= wanted.start_ms)
    if wanted.end_ms is not None:
        query = query.where(c.from_ms < wanted.end_ms)
    if after is not None:
        from_ms, uid, version = after
        same = (c.from_ms == from_ms) & ((c.uid < uid) | ((c.uid == uid) & (c.version < version)))
        query = query.where((c.from_ms < from_ms) | same)
    query = query.order_by(c.from_ms.desc(), c.uid.desc(), c.version.desc()).limit(limit)
    return [_change(row) for row in session.connection().execute(query)]


def _change(row: Any) -> Change:
    compared = row.before is not None and not row.was_deleted and not row.deleted
    return Change(
        row.uid, row.version, row.kind, row.municipality_uid, row.id, row.from_ms, bool(row.deleted),
        _differing(row.before, row.state) if compared else (), row.actor, row.reason, row.request_id,
    )  # fmt: skip


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of the contract that differ, by name. A column that came later is no change of anybody's."""
    columns = (name for name in after if name in before and before[name] != after[name])
    return tuple(sorted({_FIELDS.get(name, name.removesuffix("_uid")) for name in columns}))
