"""Grants whose validator enters with certificates instead of a key line."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0007"
down_revision = "state_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("engine_grants", sa.Column("certified", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Take it away again."""
    with op.batch_alter_table("engine_grants") as table:
        table.drop_column("certified")
