"""Time series for plots, one row per tier and bucket."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "events_0002"
down_revision = "events_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "engine_history",
        sa.Column("tier", sa.Text(), primary_key=True),
        sa.Column("at", sa.Double(), primary_key=True),
        sa.Column("record", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("engine_history")
