"""Sums of all nodes together for each hour: a curve over a month need not read every node's hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0011"
down_revision = "state_0010"
branch_labels = None
depends_on = None

_SUMS = """
INSERT INTO engine_fleet_hours (hour, passed, logged_in, total, score)
SELECT hour, sum(passed), sum(logged_in), sum(total), avg(score) FROM engine_check_hours GROUP BY hour
"""


def upgrade() -> None:
    """Create them from the nodes' hours."""
    op.create_table(
        "engine_fleet_hours",
        sa.Column("hour", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("passed", sa.BigInteger(), nullable=False),
        sa.Column("logged_in", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double()),
    )
    op.execute(_SUMS)


def downgrade() -> None:
    """Drop them again; the nodes' hours are still there."""
    op.drop_table("engine_fleet_hours")
