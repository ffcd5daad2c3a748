"""When validators opened sessions: their limits outlive a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0004"
down_revision = "state_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "engine_openings",
        sa.Column("hotkey", sa.Text(), primary_key=True),
        sa.Column("key_fingerprint", sa.Text(), primary_key=True),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
    )
