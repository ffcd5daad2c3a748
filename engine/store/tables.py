"""The tables, as the newest migration leaves them. Two sets: the state that promises rest on, and the event log.

Names are prefixed: a deployed program's database may be taken over together with its own tables.
"""

from __future__ import annotations

import sqlalchemy as sa

STATE = sa.MetaData()
EVENTS = sa.MetaData()

# Only an INTEGER key numbers its rows by itself in SQLite.
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

grants = sa.Table(
    "engine_grants",
    STATE,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("node_id", sa.Text, nullable=False),
    sa.Column("hotkey", sa.Text, nullable=False),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("blob_base64", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("renewed_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("deployed_exp", sa.BigInteger),
    sa.Column("deployed_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("end_reason", sa.Text, nullable=False),
    sa.Column("removed_at", sa.Double),
    sa.Index("ix_engine_grants_removed_at_node_id", "removed_at", "node_id"),
)

nodes = sa.Table(
    "engine_nodes",
    STATE,
    sa.Column("node_id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("removed_at", sa.Double),
)

sessions = sa.Table(
    "engine_sessions",
    STATE,
    sa.Column("hotkey", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("issued_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("dialect", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("uid", sa.Integer),
    sa.Column("stake_tao", sa.Double),
    sa.Column("key_algorithm", sa.Text, nullable=False),
    sa.Column("key_blob_base64", sa.Text, nullable=False),
    sa.Column("key_fingerprint", sa.Text, nullable=False),
    sa.Column("last_discovery_at", sa.Double),
    sa.Column("nodes_ready", sa.Integer, nullable=False),
    sa.Column("nodes_failed", sa.Integer, nullable=False),
    sa.Column("access_until", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("end_reason", sa.Text, nullable=False),
)

nonces = sa.Table(
    "engine_nonces",
    STATE,
    sa.Column("hotkey_hex", sa.Text, primary_key=True),
    sa.Column("nonce", sa.Text, primary_key=True),
    sa.Column("call", sa.Text, nullable=False),
    sa.Column("body_sha256", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("accepted_at", sa.Double, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Index("ix_engine_nonces_accepted_at", "accepted_at"),
)

keyvalue = sa.Table(
    "engine_keyvalue",
    STATE,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

verifications = sa.Table(
    "engine_verifications",
    STATE,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("miner_hotkey", sa.Text, nullable=False),
    sa.Column("miner_uid", sa.Integer, nullable=False),
    sa.Column("node_id", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("tier", sa.Text, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("duration_ms", sa.Double, nullable=False),
    sa.Column("gpu_model", sa.Text, nullable=False),
    sa.Column("gpu_uuids", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Index("ix_engine_verifications_node", "miner_hotkey", "node_id", "seq"),
    sa.Index("ix_engine_verifications_at", "at"),
)

events = sa.Table(
    "engine_events",
    EVENTS,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Index("ix_engine_events_at", "at"),
    sa.Index("ix_engine_events_kind", "kind", "id"),
    sqlite_autoincrement=True,
)
