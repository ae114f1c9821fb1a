"""The tables of the small meter service that servicekit is tested with."""

import sqlalchemy as sa
from alembic import op

from servicekit.migrations import create_common_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Goes forward."""
    create_common_tables(op)
    op.create_table(
        "meter",
        sa.Column("uid", sa.String(32), primary_key=True),
        sa.Column("municipality_uid", sa.String(32), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.UniqueConstraint("municipality_uid", "id"),
    )
