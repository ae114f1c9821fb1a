"""Sensors, their values, and waivers."""

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Goes forward."""
    # Plans that are there have no rules.
    op.add_column("plan", sa.Column("rules", sa.JSON(), nullable=False, server_default="[]"))
