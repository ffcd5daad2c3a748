"""The first tables of the engine's state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "engine_grants",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("hotkey", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("blob_base64", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("renewed_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("deployed_exp", sa.BigInteger()),
        sa.Column("deployed_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Double()),
    )
    op.create_index("ix_engine_grants_removed_at_node_id", "engine_grants", ["removed_at", "node_id"])
    op.create_table(
        "engine_nodes",
        sa.Column("node_id", sa.Text(), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.Column("removed_at", sa.Double()),
    )
    op.create_table(
        "engine_sessions",
        sa.Column("hotkey", sa.Text(), primary_key=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("uid", sa.Integer()),
        sa.Column("stake_tao", sa.Double()),
        sa.Column("key_algorithm", sa.Text(), nullable=False),
        sa.Column("key_blob_base64", sa.Text(), nullable=False),
        sa.Column("key_fingerprint", sa.Text(), nullable=False),
        sa.Column("last_discovery_at", sa.Double()),
        sa.Column("nodes_ready", sa.Integer(), nullable=False),
        sa.Column("nodes_failed", sa.Integer(), nullable=False),
        sa.Column("access_until", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.Column("end_reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "engine_nonces",
        sa.Column("hotkey_hex", sa.Text(), primary_key=True),
        sa.Column("nonce", sa.Text(), primary_key=True),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_engine_nonces_accepted_at", "engine_nonces", ["accepted_at"])
    op.create_table(
        "engine_keyvalue",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "engine_verifications",
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("miner_hotkey", sa.Text(), nullable=False),
        sa.Column("miner_uid", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("gpu_model", sa.Text(), nullable=False),
        sa.Column("gpu_uuids", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_index("ix_engine_verifications_at", "engine_verifications", ["at"])
    op.create_index("ix_engine_verifications_node", "engine_verifications", ["miner_hotkey", "node_id", "seq"])


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("engine_verifications")
    op.drop_table("engine_keyvalue")
    op.drop_table("engine_nonces")
    op.drop_table("engine_sessions")
    op.drop_table("engine_nodes")
    op.drop_table("engine_grants")
