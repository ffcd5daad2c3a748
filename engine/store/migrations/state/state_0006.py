"""The validator's findings: steps of verifications, nodes, GPU claims, misbehaviour, and the weights that were set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0006"
down_revision = "state_0005"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "engine_verification_steps",
        sa.Column("verification_id", sa.Text(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
    op.create_table(
        "engine_validated_nodes",
        sa.Column("miner_hotkey", sa.Text(), primary_key=True),
        sa.Column("node_id", sa.Text(), primary_key=True),
        sa.Column("miner_uid", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_check_at", sa.Double(), nullable=False),
        sa.Column("last_ok_at", sa.Double()),
        sa.Column("last_full_at", sa.Double()),
        sa.Column("last_full_ok", sa.Boolean()),
        sa.Column("full_ok_at", sa.Double()),
        sa.Column("offline_since", sa.Double()),
        sa.Column("run_since", sa.Double()),
        sa.Column("full_run_since", sa.Double()),
        sa.Column("last_reset_at", sa.Double()),
        sa.Column("gpu_model", sa.Text(), nullable=False),
        sa.Column("gpu_count", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer()),
        sa.Column("compute_capability", sa.Text(), nullable=False),
        sa.Column("cuda", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
    )
    op.create_table(
        "engine_gpu_claims",
        sa.Column("gpu_uuid", sa.Text(), primary_key=True),
        sa.Column("miner_hotkey", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("gpu_index", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("verified_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "engine_misbehaviour",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("miner_hotkey", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
    )
    op.create_table(
        "engine_weight_sets",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("version_key", sa.BigInteger(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("vector", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
    )
    op.create_index("ix_engine_verification_steps_at", "engine_verification_steps", ["at"])
    op.create_index("ix_engine_gpu_claims_node", "engine_gpu_claims", ["miner_hotkey", "node_id"])
    op.create_index("ix_engine_misbehaviour_node", "engine_misbehaviour", ["miner_hotkey", "node_id", "at"])
    op.create_index("ix_engine_weight_sets_block", "engine_weight_sets", ["block"])


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("engine_weight_sets")
    op.drop_table("engine_misbehaviour")
    op.drop_table("engine_gpu_claims")
    op.drop_table("engine_validated_nodes")
    op.drop_table("engine_verification_steps")
