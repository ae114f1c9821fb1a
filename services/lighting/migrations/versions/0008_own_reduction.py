"""When something else than a command reduces light: windows of feeders, profiles stored in lamps."""

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Goes forward."""
    for name in ("reduced_from", "reduced_until"):
        op.add_column("feeder", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("feeder", sa.Column("reduced_power_permille", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("luminaire_model", sa.Column("stored_profile", sa.JSON(), nullable=False, server_default="[]"))
