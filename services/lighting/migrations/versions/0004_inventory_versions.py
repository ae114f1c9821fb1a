"""Chains of control, foreign loads, groups by rule, versions of the inventory."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
# Names are ordered by code point, whatever the database's language.
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")

VERSIONED = ("cabinet", "feeder", "gateway", "luminaire_model", "plan_group", "luminaire", "sensor")
KEYS = {"uid", "municipality_uid", "id", "version", "created_at_ms", "deleted_at_ms"}


def upgrade() -> None:
    """Goes forward."""
    _commands()
    _rules()
    _ageing_and_foreign_loads()
    _reductions()
    _versions()


def _commands() -> None:
    """What commands need to know: groups in the gear, and how contactors are spread against inrush."""
    op.add_column("gateway", sa.Column("gear_groups", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("cabinet", sa.Column("inrush_step_ms", sa.Integer(), nullable=True))
    op.add_column("feeder", sa.Column("inrush_step_ms", sa.Integer(), nullable=True))


def _rules() -> None:
    """Groups by rule. Who is in another group than "default" was put there by name."""
    op.add_column("plan_group", sa.Column("rule", sa.JSON(), nullable=True))
    op.add_column("luminaire", sa.Column("group_given", sa.Boolean(), nullable=False, server_default=sa.false()))
    lamp, group = (
        sa.table(n, *map(sa.column, ("group_uid", "group_given", "uid", "id"))) for n in ("luminaire", "plan_group")
    )
    others = sa.select(group.c.uid).where(group.c.id != "default")
    op.execute(sa.update(lamp).where(lamp.c.group_uid.in_(others)).values(group_given=sa.true()))


def _ageing_and_foreign_loads() -> None:
    """How light sources age and are driven, and what else hangs on the meter of a cabinet."""
    op.add_column("cabinet", sa.Column("foreign_loads", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("luminaire_model", sa.Column("clo", sa.JSON(), nullable=False, server_default="[]"))
    for name in ("virtual_output_permille", "initial_burning_hours"):
        op.add_column("luminaire", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))


def _reductions() -> None:
    """Who reduces light; what is not stated is reduced by command."""
    for name in ("feeder", "luminaire"):
        op.add_column(name, sa.Column("reduction", sa.SmallInteger(), nullable=False, server_default="0"))


def _versions() -> None:
    """What stands, and what once stood, has a first version: from when it was created, as it is now."""
    versions = op.create_table(
        "inventory_version",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
    )
    op.create_index("inventory_version_by_name", "inventory_version", ["municipality_uid", "kind", "id", "from_ms"])
    connection = op.get_bind()
    for name in VERSIONED:
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        for part in connection.execute(sa.select(table)).mappings().partitions(2000):
            rows = [version for row in part for version in _versions_of(name, dict(row))]
            connection.execute(sa.insert(versions), rows)


def _versions_of(kind: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    common = {
        "uid": row["uid"], "kind": kind, "municipality_uid": row["municipality_uid"], "id": row["id"],
        "actor": "", "request_id": "", "reason": "",
    }  # fmt: skip
    state = {name: value for name, value in row.items() if name not in KEYS}
    gone = bool(row["deleted_at_ms"])
    # Deleting counted as a change: what was deleted is at least in its second version.
    found = [
        {**common, "version": row["version"] - gone, "from_ms": row["created_at_ms"], "deleted": False, "state": state}
    ]
    if gone:
        found.append(
            {**common, "version": row["version"], "from_ms": row["deleted_at_ms"], "deleted": True, "state": {}}
        )
    return found
