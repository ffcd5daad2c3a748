"""API keys of the REST listener, and an index for failed verifications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0008"
down_revision = "state_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "engine_api_keys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("last_used_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
    )
    op.create_index(
        "ix_engine_verifications_failed",
        "engine_verifications",
        ["seq"],
        sqlite_where=sa.text("ok = 0"),
        postgresql_where=sa.text("NOT ok"),
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("ix_engine_verifications_failed", "engine_verifications")
    op.drop_table("engine_api_keys")
