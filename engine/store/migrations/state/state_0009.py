"""Steps of both tiers in the row of their verification, a standing row per node, hourly sums, rentals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "state_0009"
down_revision = "state_0008"
branch_labels = None
depends_on = None

_AGGREGATE = {
    "sqlite": "json_group_array(json_array(s.step, s.verdict, s.evidence, s.duration_ms))",
    "postgresql": "json_agg(json_build_array(s.step, s.verdict, s.evidence, s.duration_ms) ORDER BY s.position)::text",
}
_STEPS = """
UPDATE engine_verifications SET steps = COALESCE((
    SELECT {aggregate} FROM (
        SELECT * FROM engine_verification_steps WHERE verification_id = engine_verifications.id ORDER BY position
    ) s
), '') WHERE tier = 'full'
"""
# Of the last two days only: nothing asks for sums or a newest check from before them, and a month has millions of rows.
_RECENT = "at >= (SELECT max(at) FROM engine_verifications) - 172800"
_LATEST = f"""
INSERT INTO engine_latest_checks (miner_hotkey, node_id, verification_id, at, ok, failed_before_at)
SELECT v.miner_hotkey, v.node_id, v.id, v.at, v.ok, CASE WHEN p.ok THEN NULL ELSE p.at END
FROM (
    SELECT max(seq) AS seq, max(CASE WHEN place = 2 THEN seq END) AS before FROM (
        SELECT seq, miner_hotkey, node_id,
               row_number() OVER (PARTITION BY miner_hotkey, node_id ORDER BY seq DESC) AS place
        FROM engine_verifications WHERE {_RECENT}
    ) numbered WHERE place <= 2 GROUP BY miner_hotkey, node_id
) newest
JOIN engine_verifications v ON v.seq = newest.seq
LEFT JOIN engine_verifications p ON p.seq = newest.before
"""  # noqa: S608 - our own constant
_HOURS = f"""
INSERT INTO engine_check_hours (hour, miner_hotkey, node_id, passed, logged_in, total)
SELECT CAST(floor(at / 3600) AS BIGINT), miner_hotkey, node_id, sum(CASE WHEN ok THEN 1 ELSE 0 END),
       sum(CASE WHEN error_code LIKE 'ssh\\_%' ESCAPE '\\' OR error_code = 'node_banned' THEN 0 ELSE 1 END), count(*)
FROM engine_verifications WHERE {_RECENT} GROUP BY 1, 2, 3
"""  # noqa: S608 - the same


def upgrade() -> None:
    """Create them from what is there."""
    dialect = op.get_bind().dialect.name
    op.add_column("engine_verifications", sa.Column("steps", sa.Text(), nullable=False, server_default=""))
    op.execute(_STEPS.format(aggregate=_AGGREGATE[dialect]))
    op.drop_index("ix_engine_verification_steps_at", "engine_verification_steps")
    op.drop_table("engine_verification_steps")
    op.create_index(
        "ix_engine_verifications_full",
        "engine_verifications",
        ["miner_hotkey", "node_id", "at"],
        sqlite_where=sa.text("tier = 'full'"),
        postgresql_where=sa.text("tier = 'full'"),
    )
    op.create_table(
        "engine_latest_checks",
        sa.Column("miner_hotkey", sa.Text(), primary_key=True),
        sa.Column("node_id", sa.Text(), primary_key=True),
        sa.Column("verification_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("failed_before_at", sa.Double()),
    )
    op.create_table(
        "engine_check_hours",
        sa.Column("hour", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("miner_hotkey", sa.Text(), primary_key=True),
        sa.Column("node_id", sa.Text(), primary_key=True),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("logged_in", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
    )
    op.execute(_LATEST)
    op.execute(_HOURS if dialect == "postgresql" else _HOURS.replace("floor(at / 3600)", "at / 3600"))
    op.create_table(
        "engine_rentals",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("miner_hotkey", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.Column("entered_by", sa.Text(), nullable=False),
        sa.Index("ix_engine_rentals_node", "miner_hotkey", "node_id"),
    )


def downgrade() -> None:
    """Drop them again; the steps of verifications go with them."""
    op.drop_table("engine_rentals")
    op.drop_table("engine_check_hours")
    op.drop_table("engine_latest_checks")
    op.drop_index("ix_engine_verifications_full", "engine_verifications")
    with op.batch_alter_table("engine_verifications") as table:
        table.drop_column("steps")
    op.create_table(
        "engine_verification_steps",
        sa.Column("verification_id", sa.Text(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
    op.create_index("ix_engine_verification_steps_at", "engine_verification_steps", ["at"])
