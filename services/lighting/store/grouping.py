"""Groups by rule in the database: who belongs where, asked for one luminaire, for an import, and anew for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, col, select

from servicekit.columns import table_of
from servicekit.context import Tenant
from services.lighting.grouping import Grouping, Rule, Traits
from services.lighting.store.revisions import INVENTORY, bump
from services.lighting.store.tables import FeederRow, GatewayRow, GroupRow, LuminaireRow
from services.lighting.store.versions import add_versions

_BATCH: Final = 2_000


class Places:
    """The rules of a municipality and what they need to know of its wiring, read once."""

    def __init__(self, session: Session, tenant: Tenant, default_uid: str, *, without: str = "") -> None:
        groups = session.exec(
            select(GroupRow.uid, GroupRow.id, GroupRow.rule)
            .where(GroupRow.municipality_uid == tenant.uid)
            .where(GroupRow.deleted_at_ms == 0)
        )
        rules = [Rule.from_document(uid, name, rule) for uid, name, rule in groups if rule is not None]
        self._grouping = Grouping([rule for rule in rules if rule.group_uid != without], default_uid)
        self._cabinets: dict[str, str] = {}
        if any(rule.cabinet_uids for rule in rules):
            for table in (FeederRow, GatewayRow):
                query = select(table.uid, table.cabinet_uid).where(table.municipality_uid == tenant.uid)
                self._cabinets.update((row[0], row[1]) for row in session.exec(query))

    def of(self, lamp: Mapping[str, Any]) -> str:
        """Uid of the group of a luminaire, by its columns, that nobody put into one by name."""
        return self._grouping.group_of(
            Traits(
                street=lamp["street"],
                lighting_class=lamp["lighting_class"],
                model_uid=lamp["model_uid"],
                cabinet_uid=self._cabinets.get(lamp["feeder_uid"] or lamp["gateway_uid"] or ""),
                latitude_deg=lamp["latitude_deg"],
                longitude_deg=lamp["longitude_deg"],
            )
        )


def placed(session: Session, tenant: Tenant, default_uid: str, lamp: Mapping[str, Any]) -> str:
    """Uid of the group of one luminaire, by its columns, that nobody put into one by name."""
    return Places(session, tenant, default_uid).of(lamp)


def regroup(session: Session, tenant: Tenant, default_uid: str, now_ms: int, *, without: str = "") -> int:
    """Brings every luminaire that nobody put into a group by name to where the rules want it; answers how many moved.

    The caller has waited for other changes of the inventory, so that none of them knows the rules of before.
    without: uid of a group whose rule does not count any more.
    """
    bump(session, INVENTORY)
    places = Places(session, tenant, default_uid, without=without)
    table = table_of(LuminaireRow)
    rows = (
        session.connection()
        .execute(
            sa.select(table)
            .where(table.c.municipality_uid == tenant.uid)
            .where(table.c.deleted_at_ms == 0)
            .where(table.c.group_given.is_(False))
        )
        .mappings()
    )
    moved = []
    for found in rows:
        row = dict(found)
        group_uid = places.of(row)
        if group_uid != row["group_uid"]:
            moved.append({**row, "group_uid": group_uid, "version": row["version"] + 1})
    move = (
        sa.update(table)
        .where(table.c.uid == sa.bindparam("its_uid"))
        .values(group_uid=sa.bindparam("new_group"), version=sa.bindparam("new_version"))
    )
    for at in range(0, len(moved), _BATCH):
        session.connection().execute(
            move,
            [
                {"its_uid": row["uid"], "new_group": row["group_uid"], "new_version": row["version"]}
                for row in moved[at : at + _BATCH]
            ],
        )
    add_versions(session, LuminaireRow, moved, now_ms)
    session.expire_all()
    return len(moved)


def rules_naming(session: Session, municipality_uid: str, uid: str) -> list[str]:
    """Ids of the groups whose rule names a model or a cabinet."""
    groups = session.exec(
        select(GroupRow.id, GroupRow.rule)
        .where(GroupRow.municipality_uid == municipality_uid)
        .where(GroupRow.deleted_at_ms == 0)
        .order_by(col(GroupRow.id))
    )
    return [
        identifier
        for identifier, rule in groups
        if rule is not None and uid in (*rule["model_uids"], *rule["cabinet_uids"])
    ]
