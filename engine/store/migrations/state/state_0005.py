"""Grants remember whether their sessions carry the forced command that marks and ends them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0005"
down_revision = "state_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; grants of earlier versions are plain."""
    op.add_column("engine_grants", sa.Column("wrapped", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop it again."""
    op.drop_column("engine_grants", "wrapped")
