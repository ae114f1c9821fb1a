"""Measures, and the log: leaves, nodes, entries, evidence, checkpoints. What makes up the log can only be added to."""

import sqlalchemy as sa
from alembic import op

from servicekit.columns import UtcDateTime
from servicekit.migrations import create_common_tables

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)
HEX = sa.String(64)
ID = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")

APPEND_ONLY = ("leaf", "node", "entry", "evidence", "checkpoint")
"""Tables whose rows nobody changes or deletes, this service included."""


def upgrade() -> None:
    """Goes forward."""
    create_common_tables(op)
    op.create_table(
        "measure",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("measure_id", ID, nullable=False),
        sa.Column("terms_hash", HEX, nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
        sa.Column("post_automatically", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.UniqueConstraint("municipality_uid", "measure_id", name="measure_id"),
    )
    op.create_table(
        "log",
        sa.Column("municipality_uid", UID, primary_key=True),
        sa.Column("tree_size", sa.BigInteger(), nullable=False),
    )
    _create_log_tables()
    for table in APPEND_ONLY:
        _forbid_changes(table)


def _create_log_tables() -> None:
    op.create_table(
        "leaf",
        sa.Column("municipality_uid", UID, primary_key=True),
        sa.Column("leaf_index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "node",
        sa.Column("municipality_uid", UID, primary_key=True),
        sa.Column("level", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("node_index", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "entry",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("measure_uid", UID, sa.ForeignKey("measure.uid"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("start_at", UtcDateTime(), nullable=False),
        sa.Column("end_at", UtcDateTime(), nullable=False),
        sa.Column("reverses_uid", UID, sa.ForeignKey("entry.uid"), nullable=True),
        sa.UniqueConstraint("measure_uid", "number", name="entry_number"),
        sa.UniqueConstraint("municipality_uid", "leaf_index", name="entry_leaf"),
        sa.UniqueConstraint("reverses_uid", name="entry_reversed_once"),
    )
    op.create_index("entry_by_period", "entry", ["measure_uid", "start_at"])
    op.create_table(
        "evidence",
        sa.Column("municipality_uid", UID, primary_key=True),
        sa.Column("hash", HEX, primary_key=True),
        sa.Column("label", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("municipality_uid", UID, primary_key=True),
        sa.Column("tree_size", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("root_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("public_key", sa.LargeBinary(32), nullable=False),
    )


def _forbid_changes(table: str) -> None:
    """Lets the database itself refuse what would change the book. Whoever owns the database can still get round it:
    that is what the hashes and the checkpoints outside are for."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION refuse_change_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN RAISE EXCEPTION '{table} can only be added to'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_change_of_{table}()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_{table}()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END"
        )
