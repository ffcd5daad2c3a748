"""A node's score beside its checks of each hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0010"
down_revision = "state_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; hours of before have none."""
    op.add_column("engine_check_hours", sa.Column("score", sa.Double()))


def downgrade() -> None:
    """Drop it again."""
    with op.batch_alter_table("engine_check_hours") as table:
        table.drop_column("score")
