"""The tables, as the newest migration leaves them. Two sets: the state that promises rest on, and the event log.

Names are prefixed: a deployed program's database may be taken over together with its own tables.
"""

from __future__ import annotations

import sqlalchemy as sa

from engine.store.rows import storable


class Words(sa.types.TypeDecorator[str]):
    """Text of strangers, as ``storable`` makes it."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """The text as it will be read again."""
        del dialect
        return None if value is None else storable(value)


STATE = sa.MetaData()
EVENTS = sa.MetaData()

# Only an INTEGER key numbers its rows by itself in SQLite.
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

grants = sa.Table(
    "engine_grants",
    STATE,
    sa.Column("id", Words, primary_key=True),
    sa.Column("node_id", Words, nullable=False),
    sa.Column("hotkey", Words, nullable=False),
    sa.Column("algorithm", Words, nullable=False),
    sa.Column("blob_base64", Words, nullable=False),
    sa.Column("fingerprint", Words, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("renewed_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("deployed_exp", sa.BigInteger),
    sa.Column("deployed_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("end_reason", Words, nullable=False),
    sa.Column("removed_at", sa.Double),
    sa.Column("wrapped", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("certified", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("ix_engine_grants_removed_at_node_id", "removed_at", "node_id"),
)

nodes = sa.Table(
    "engine_nodes",
    STATE,
    sa.Column("node_id", Words, primary_key=True),
    sa.Column("host", Words, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("username", Words, nullable=False),
    sa.Column("label", Words, nullable=False),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("removed_at", sa.Double),
)

sessions = sa.Table(
    "engine_sessions",
    STATE,
    sa.Column("hotkey", Words, primary_key=True),
    sa.Column("token", Words, nullable=False),
    sa.Column("issued_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("dialect", Words, nullable=False),
    sa.Column("peer", Words, nullable=False),
    sa.Column("uid", sa.Integer),
    sa.Column("stake_tao", sa.Double),
    sa.Column("key_algorithm", Words, nullable=False),
    sa.Column("key_blob_base64", Words, nullable=False),
    sa.Column("key_fingerprint", Words, nullable=False),
    sa.Column("last_discovery_at", sa.Double),
    sa.Column("nodes_ready", sa.Integer, nullable=False),
    sa.Column("nodes_failed", sa.Integer, nullable=False),
    sa.Column("access_until", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("end_reason", Words, nullable=False),
)

nonces = sa.Table(
    "engine_nonces",
    STATE,
    sa.Column("hotkey_hex", Words, primary_key=True),
    sa.Column("nonce", Words, primary_key=True),
    sa.Column("call", Words, nullable=False),
    sa.Column("body_sha256", Words, nullable=False),
    sa.Column("peer", Words, nullable=False),
    sa.Column("accepted_at", sa.Double, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Index("ix_engine_nonces_accepted_at", "accepted_at"),
)

keyvalue = sa.Table(
    "engine_keyvalue",
    STATE,
    sa.Column("key", Words, primary_key=True),
    sa.Column("value", Words, nullable=False),
)

verifications = sa.Table(
    "engine_verifications",
    STATE,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("id", Words, nullable=False, unique=True),
    sa.Column("miner_hotkey", Words, nullable=False),
    sa.Column("miner_uid", sa.Integer, nullable=False),
    sa.Column("node_id", Words, nullable=False),
    sa.Column("endpoint", Words, nullable=False),
    sa.Column("tier", Words, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("duration_ms", sa.Double, nullable=False),
    sa.Column("gpu_model", Words, nullable=False),
    sa.Column("gpu_uuids", Words, nullable=False),
    sa.Column("error_code", Words, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("steps", Words, nullable=False, server_default=""),
    sa.Index("ix_engine_verifications_node", "miner_hotkey", "node_id", "seq"),
    sa.Index("ix_engine_verifications_at", "at"),
    # Failures are few among millions of rows, and full verifications; both are asked for by themselves. On disk each
    # index holds those alone: its migration says so, because a condition here names PostgreSQL, whose dialect would
    # then be loaded by everybody.
    sa.Index("ix_engine_verifications_failed", "seq"),
    sa.Index("ix_engine_verifications_full", "miner_hotkey", "node_id", "at"),
)

# One row per node, whatever the length of the history: its newest check, and when the one before it failed.
latest_checks = sa.Table(
    "engine_latest_checks",
    STATE,
    sa.Column("miner_hotkey", Words, primary_key=True),
    sa.Column("node_id", Words, primary_key=True),
    sa.Column("verification_id", Words, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("failed_before_at", sa.Double),
)

# Sums of whole hours; the hour is first in the key, because a window of time is what is asked for.
check_hours = sa.Table(
    "engine_check_hours",
    STATE,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("miner_hotkey", Words, primary_key=True),
    sa.Column("node_id", Words, primary_key=True),
    sa.Column("passed", sa.Integer, nullable=False),
    sa.Column("logged_in", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("score", sa.Double),
)

# The same of all nodes together, kept beside them: a month has 700 hours, and 1.5 million of nodes.
fleet_hours = sa.Table(
    "engine_fleet_hours",
    STATE,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("passed", sa.BigInteger, nullable=False),
    sa.Column("logged_in", sa.BigInteger, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("score", sa.Double),
)

audit = sa.Table(
    "engine_audit",
    STATE,
    # Numbered by the chain's writer: a hole is a finding, so no database may number the rows.
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("actor", Words, nullable=False),
    sa.Column("subject", Words, nullable=False),
    sa.Column("outcome", Words, nullable=False),
    sa.Column("details", Words, nullable=False),
    sa.Column("prev_hash", Words, nullable=False),
    sa.Column("hash", Words, nullable=False),
    sa.Index("ix_engine_audit_at", "at"),
)

alerts = sa.Table(
    "engine_alerts",
    STATE,
    sa.Column("id", Words, primary_key=True),
    sa.Column("rule", Words, nullable=False),
    sa.Column("subject", Words, nullable=False),
    sa.Column("level", Words, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("impact", Words, nullable=False),
    sa.Column("hint", Words, nullable=False),
    sa.Column("began_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("acknowledged_at", sa.Double),
    sa.Index("ix_engine_alerts_began_at", "began_at"),
)

node_health = sa.Table(
    "engine_node_health",
    STATE,
    sa.Column("node_id", Words, primary_key=True),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("record", Words, nullable=False),
)

openings = sa.Table(
    "engine_openings",
    STATE,
    sa.Column("hotkey", Words, primary_key=True),
    sa.Column("key_fingerprint", Words, primary_key=True),
    sa.Column("opened_at", sa.Double, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

validated_nodes = sa.Table(
    "engine_validated_nodes",
    STATE,
    sa.Column("miner_hotkey", Words, primary_key=True),
    sa.Column("node_id", Words, primary_key=True),
    sa.Column("miner_uid", sa.Integer, nullable=False),
    sa.Column("endpoint", Words, nullable=False),
    sa.Column("status", Words, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("last_check_at", sa.Double, nullable=False),
    sa.Column("last_ok_at", sa.Double),
    sa.Column("last_full_at", sa.Double),
    sa.Column("last_full_ok", sa.Boolean),
    sa.Column("full_ok_at", sa.Double),
    sa.Column("offline_since", sa.Double),
    sa.Column("run_since", sa.Double),
    sa.Column("full_run_since", sa.Double),
    sa.Column("last_reset_at", sa.Double),
    sa.Column("gpu_model", Words, nullable=False),
    sa.Column("gpu_count", sa.Integer, nullable=False),
    sa.Column("memory_mib", sa.Integer),
    sa.Column("compute_capability", Words, nullable=False),
    sa.Column("cuda", Words, nullable=False),
    sa.Column("facts", Words, nullable=False),
)

gpu_claims = sa.Table(
    "engine_gpu_claims",
    STATE,
    sa.Column("gpu_uuid", Words, primary_key=True),
    sa.Column("miner_hotkey", Words, nullable=False),
    sa.Column("node_id", Words, nullable=False),
    sa.Column("gpu_index", sa.Integer, nullable=False),
    sa.Column("model", Words, nullable=False),
    sa.Column("memory_mib", sa.Integer, nullable=False),
    sa.Column("verified_at", sa.Double, nullable=False),
    sa.Index("ix_engine_gpu_claims_node", "miner_hotkey", "node_id"),
)

misbehaviour = sa.Table(
    "engine_misbehaviour",
    STATE,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("miner_hotkey", Words, nullable=False),
    sa.Column("node_id", Words, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("details", Words, nullable=False),
    sa.Index("ix_engine_misbehaviour_node", "miner_hotkey", "node_id", "at"),
)

rentals = sa.Table(
    "engine_rentals",
    STATE,
    sa.Column("id", Words, primary_key=True),
    sa.Column("miner_hotkey", Words, nullable=False),
    sa.Column("node_id", Words, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("end_reason", Words, nullable=False),
    sa.Column("entered_by", Words, nullable=False),
    sa.Index("ix_engine_rentals_node", "miner_hotkey", "node_id"),
)

weight_sets = sa.Table(
    "engine_weight_sets",
    STATE,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("block", sa.BigInteger, nullable=False),
    sa.Column("profile", Words, nullable=False),
    sa.Column("version_key", sa.BigInteger, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", Words, nullable=False),
    sa.Column("vector", Words, nullable=False),
    sa.Column("inputs", Words, nullable=False),
    sa.Index("ix_engine_weight_sets_block", "block"),
)

api_keys = sa.Table(
    "engine_api_keys",
    STATE,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("digest", Words, nullable=False),
    sa.Column("scopes", Words, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("last_used_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
)

events = sa.Table(
    "engine_events",
    EVENTS,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("severity", Words, nullable=False),
    sa.Column("record", Words, nullable=False),
    sa.Index("ix_engine_events_at", "at"),
    sa.Index("ix_engine_events_kind", "kind", "id"),
    sqlite_autoincrement=True,
)

history = sa.Table(
    "engine_history",
    EVENTS,
    sa.Column("tier", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
