"""Drivers of luminaires: one row for each that is or was in one."""

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None

UID = sa.String(32)


def upgrade() -> None:
    """Goes forward."""
    op.create_table(
        "gear_life",
        sa.Column("uid", UID, primary_key=True),
        sa.Column("municipality_uid", UID, nullable=False),
        sa.Column("luminaire_uid", UID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("installed_ms", sa.BigInteger(), nullable=False),
        sa.Column("signs", sa.SmallInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("first_s", sa.BigInteger(), nullable=True),
        sa.Column("last_s", sa.BigInteger(), nullable=True),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("carried_s", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("gear_life_of", "gear_life", ["luminaire_uid", "number"], unique=True)
    # Looked at every few seconds, and nearly always empty.
    undecided = sa.text("state = 2")
    op.create_index(
        "gear_life_undecided", "gear_life", ["luminaire_uid"], sqlite_where=undecided, postgresql_where=undecided
    )
