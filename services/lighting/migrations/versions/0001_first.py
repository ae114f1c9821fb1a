"""The first schema of lighting."""

import sqlalchemy as sa
from alembic import op

from servicekit.columns import BigKey
from servicekit.migrations import create_common_tables

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
# Names are ordered by code point, whatever the database's language.
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Goes forward."""
    create_common_tables(op)
    op.create_table(
        "revision",
        sa.Column("theme", sa.String(32), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    _endpoint()
    _inventory()
    _orders()
    _history()


def _endpoint() -> None:
    op.create_table(
        "endpoint",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("profile", sa.String(100), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("deleted_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("endpoint_by_name", "endpoint", ["municipality_uid", "id"])


def _named(table: str, *columns: sa.Column[object]) -> None:
    """A table of named resources: a name is unique among what is not deleted, where deleted_at_ms is 0."""
    op.create_table(
        table,
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at_ms", sa.BigInteger(), nullable=False),
        *columns,
    )
    op.create_index(f"{table}_by_name", table, ["municipality_uid", "id", "deleted_at_ms"], unique=True)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str, kind: type[sa.Integer] | type[sa.Float[float]] = sa.Integer) -> sa.Column[object]:
    return sa.Column(name, kind(), nullable=False)


def _reference(name: str, table: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, UID, sa.ForeignKey(f"{table}.uid"), nullable=nullable)


def _position() -> tuple[sa.Column[object], sa.Column[object]]:
    return sa.Column("latitude_deg", sa.Float(), nullable=True), sa.Column("longitude_deg", sa.Float(), nullable=True)


def _inventory() -> None:
    _named(
        "cabinet",
        _text("display_name"),
        _text("street"),
        *_position(),
        sa.Column("controller_uid", UID, nullable=True),
        _number("switching_owner"),
    )
    _named("feeder", _reference("cabinet_uid", "cabinet"), _number("channel"), _number("phase"), _number("supply"))
    _named("gateway", _reference("cabinet_uid", "cabinet"), sa.Column("endpoint_uid", UID, nullable=False))
    _named(
        "luminaire_model",
        _text("display_name"),
        _number("rated_power_w", sa.Float),
        _number("standby_power_w", sa.Float),
        _number("luminous_flux_lm"),
        _number("colour_temperature_k"),
        sa.Column("curve", sa.JSON(), nullable=False),
    )
    _named("plan_group", _text("display_name"))
    _named(
        "luminaire",
        _text("pole"),
        _text("street"),
        *_position(),
        _reference("model_uid", "luminaire_model", nullable=True),
        _reference("feeder_uid", "feeder", nullable=True),
        _reference("gateway_uid", "gateway", nullable=True),
        _number("gateway_address"),
        _reference("group_uid", "plan_group"),
        sa.Column("lighting_class", sa.String(8), nullable=False),
        _number("floor_permille"),
        sa.Column("conflict_area", sa.Boolean(), nullable=False),
        sa.Column("installed_on", sa.String(10), nullable=False),
        _number("installed_power_w", sa.Float),
        sa.Column("previous_known", sa.Boolean(), nullable=False),
        _number("previous_lamp_power_w", sa.Float),
        _number("previous_ballast_power_w", sa.Float),
        sa.Column("previous_half_night", sa.Boolean(), nullable=False),
        _text("lamp_technology"),
    )
    op.create_index("luminaire_by_group", "luminaire", ["group_uid"])
    op.create_index("luminaire_by_feeder", "luminaire", ["feeder_uid"])
    op.create_index("luminaire_by_model", "luminaire", ["model_uid"])
    living = sa.text("deleted_at_ms = 0 AND gateway_uid IS NOT NULL")
    op.create_index(
        "luminaire_by_address",
        "luminaire",
        ["gateway_uid", "gateway_address"],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )


def _orders() -> None:
    op.create_table(
        "override",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        _number("level_permille"),
        _number("priority"),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("expire_ms", sa.BigInteger(), nullable=False),
        sa.Column("issued_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("released_at_ms", sa.BigInteger(), nullable=False),
        _text("reason"),
        sa.Column("author", sa.String(255), nullable=False),
    )
    op.create_index("override_by_name", "override", ["municipality_uid", "id"], unique=True)
    op.create_index("override_by_expiry", "override", ["expire_ms"])
    op.create_table(
        "override_target",
        sa.Column("override_uid", UID, sa.ForeignKey("override.uid"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("target_uid", UID, nullable=False),
        sa.Column("target_name", sa.String(400), nullable=False),
    )
    op.create_table(
        "lockout",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("id", ID, nullable=False),
        _reference("feeder_uid", "feeder"),
        _text("reason"),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("released_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("lockout_by_name", "lockout", ["municipality_uid", "id"], unique=True)
    op.create_index("lockout_by_feeder", "lockout", ["feeder_uid", "released_at_ms"])
    op.create_table(
        "plan",
        sa.Column("group_uid", UID, sa.ForeignKey("plan_group.uid"), primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("instants_ms", sa.JSON(), nullable=False),
        sa.Column("levels_permille", sa.JSON(), nullable=False),
        sa.Column("ramps_s", sa.JSON(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        _text("origin"),
        sa.Column("put_at_ms", sa.BigInteger(), nullable=False),
    )


def _history() -> None:
    op.create_table(
        "level_series",
        sa.Column("number", BigKey, primary_key=True, autoincrement=True),
        sa.Column("luminaire_uid", UID, nullable=False, unique=True),
    )
    op.create_table(
        "level_change",
        sa.Column("series", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("level_permille", sa.SmallInteger(), nullable=False),
        sa.Column("powered", sa.Boolean(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observed",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
    )
