"""Storing a checked inventory by bulk means, in the caller's transaction: created, updated, unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session

from domain.errors import FailedPrecondition
from domain.names import new_uid
from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.inventory import DEFAULT_GROUP, CheckedImport, References
from services.lighting.store.grouping import Places
from services.lighting.store.inventory import FEEDERS, GATEWAYS, GROUPS, MODELS, ids_of, locked_of
from services.lighting.store.revisions import INVENTORY, bump, wait_for_others
from services.lighting.store.tables import GroupRow, LuminaireRow
from services.lighting.store.versions import add_versions

_PREVIOUS: Final = ("previous_lamp_power_w", "previous_ballast_power_w", "previous_half_night")
_WIRING: Final = ("feeder_uid", "gateway_uid", "gateway_address")
_BATCH: Final = 2_000

Rows = list[dict[str, Any]]

_UNKNOWN: Final[Mapping[str, Any]] = LuminaireRow(
    uid="", municipality_uid="", id="", created_at_ms=0, group_uid=""
).model_dump()
"""Columns of a luminaire of which nothing was said."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What an import did to the luminaires."""

    created: int
    updated: int
    unchanged: int


def references_of(session: Session, tenant: Tenant) -> References:
    """What the lines of an import may refer to."""
    lamp = table_of(LuminaireRow).c
    addresses = session.connection().execute(
        sa.select(lamp.gateway_uid, lamp.gateway_address, lamp.id)
        .where(lamp.municipality_uid == tenant.uid)
        .where(lamp.deleted_at_ms == 0)
        .where(lamp.gateway_uid.is_not(None))
    )
    return References(
        models=ids_of(session, MODELS, tenant.uid),
        feeders=ids_of(session, FEEDERS, tenant.uid),
        gateways=ids_of(session, GATEWAYS, tenant.uid),
        addresses={(row[0], row[1]): row[2] for row in addresses},
        town=(tenant.latitude_deg, tenant.longitude_deg),
    )


def store_import(
    session: Session, tenant: Tenant, checked: CheckedImport, now_ms: int, *, dry_run: bool, reason: str = ""
) -> Stored:
    """Stores the accepted lines. A column that was not given keeps what is stored. A dry run only counts.

    Raises FailedPrecondition for a line that would take a luminaire out of a lock-out that holds.
    """
    if not dry_run:
        wait_for_others(session, INVENTORY)
    table = table_of(LuminaireRow)
    stored = {
        row["id"]: row
        for row in session.connection()
        .execute(sa.select(table).where(table.c.municipality_uid == tenant.uid).where(table.c.deleted_at_ms == 0))
        .mappings()
    }
    groups = _groups(session, tenant, checked, now_ms, dry_run=dry_run)
    locked = locked_of(session, tenant.uid)
    created: Rows = []
    updated: Rows = []
    unchanged = 0
    places = Places(session, tenant, groups[DEFAULT_GROUP])
    for values in _lines(checked, groups):
        known = stored.get(values["id"])
        as_it_will_be = {**(known or _UNKNOWN), **values}
        if not as_it_will_be["group_given"]:
            values["group_uid"] = places.of(as_it_will_be)
        if known is None:
            created.append(_new_row(tenant, values, now_ms))
        elif all(known[name] == value for name, value in values.items()):
            unchanged += 1
        else:
            if known["feeder_uid"] in locked and any(values.get(n, known[n]) != known[n] for n in _WIRING):
                raise FailedPrecondition.of(
                    "columns", f"luminaire {known['id']} hangs on a locked-out feeder: its wiring stays as it is"
                )
            updated.append({**known, **values, "version": known["version"] + 1})
    if not dry_run and (created or updated):
        _write(session, table, created, updated, stored)
        add_versions(session, LuminaireRow, [*created, *updated], now_ms, reason)
        bump(session, INVENTORY)
    return Stored(len(created), len(updated), unchanged)


def _lines(checked: CheckedImport, groups: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Column values of each accepted line, by the names of the table."""
    names = [name for name in checked.values if name not in ("luminaire_id", "group_id")]
    columns = [checked.values[name] for name in names]
    ids, group_ids = checked.values["luminaire_id"], checked.values.get("group_id")
    has_previous = any(name in checked.values for name in _PREVIOUS)
    for index in checked.accepted:
        line = {name: column[index] for name, column in zip(names, columns, strict=True)}
        line["id"] = ids[index]
        if group_ids is not None:
            line["group_given"] = bool(group_ids[index])
            if group_ids[index]:
                line["group_uid"] = groups[group_ids[index]]
        if has_previous:
            line["previous_known"] = any(line.get(name) for name in _PREVIOUS)
        yield line


def _new_row(tenant: Tenant, values: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    row = LuminaireRow(
        uid=new_uid(),
        municipality_uid=tenant.uid,
        id=values["id"],
        created_at_ms=now_ms,
        group_uid=values["group_uid"],
    ).model_dump()
    return {**row, **values}


def _groups(session: Session, tenant: Tenant, checked: CheckedImport, now_ms: int, *, dry_run: bool) -> dict[str, str]:
    """Uids of the groups by id; those that are not there yet are made."""
    known = ids_of(session, GROUPS, tenant.uid)
    column = checked.values.get("group_id")
    wanted = {DEFAULT_GROUP} | ({column[index] for index in checked.accepted} - {""} if column is not None else set())
    made = []
    for identifier in sorted(wanted - known.keys()):
        row = GroupRow(uid=new_uid(), municipality_uid=tenant.uid, id=identifier, created_at_ms=now_ms)
        known[identifier] = row.uid
        if not dry_run:
            session.add(row)
            made.append(row)
    session.flush()
    add_versions(session, GroupRow, [row.model_dump() for row in made], now_ms)
    return known


def _write(session: Session, table: sa.Table, created: Rows, updated: Rows, stored: Mapping[str, Any]) -> None:
    connection = session.connection()
    # Two luminaires may swap their addresses: those that move let go of their place first.
    moving = [
        row["uid"]
        for row in updated
        if stored[row["id"]]["gateway_uid"] is not None
        and (row["gateway_uid"], row["gateway_address"])
        != (stored[row["id"]]["gateway_uid"], stored[row["id"]]["gateway_address"])
    ]
    for uids in _batches(moving):
        connection.execute(sa.update(table).where(table.c.uid.in_(uids)).values(gateway_uid=None))
    names = [column.name for column in table.columns if column.name != "uid"]
    change = sa.update(table).where(table.c.uid == sa.bindparam("its_uid"))
    change = change.values({name: sa.bindparam(f"new_{name}") for name in names})
    for batch in _batches(updated):
        rows = [{"its_uid": row["uid"], **{f"new_{name}": row[name] for name in names}} for row in batch]
        connection.execute(change, rows)
    for batch in _batches(created):
        connection.execute(sa.insert(table), list(batch))


def _batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH))
