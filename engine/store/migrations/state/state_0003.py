"""What the fleet remembers of each node: success window, last known good facts, ramp."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0003"
down_revision = "state_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "engine_node_health",
        sa.Column("node_id", sa.Text(), primary_key=True),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("engine_node_health")
