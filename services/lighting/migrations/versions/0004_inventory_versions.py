"""Chains of control, foreign loads, groups by rule, versions of the inventory."""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Goes forward."""
    _commands()


def _commands() -> None:
    """What commands need to know: groups in the gear, and how contactors are spread against inrush."""
    op.add_column("gateway", sa.Column("gear_groups", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("cabinet", sa.Column("inrush_step_ms", sa.Integer(), nullable=True))
    op.add_column("feeder", sa.Column("inrush_step_ms", sa.Integer(), nullable=True))
