"""An upgrade of a database that has been in use: what newer tables need is made from what is there."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.clock import ManualClock
from engine.store import open_store
from engine.store.migrate import EVENTS_SCHEMA, STATE_SCHEMA, Schema
from engine.store.migrations.state import state_0009, state_0010, state_0011
from engine.store.records import CheckCounts, HourSums, LatestCheck, VerificationStep

NOW = 1_800_000_000.0
_CHECK = (
    "INSERT INTO engine_verifications (id, miner_hotkey, miner_uid, node_id, endpoint, tier, ok, at, duration_ms,"
    " gpu_model, gpu_uuids, error_code, message)"
    " VALUES (:id, '5M', 7, 'n1', 'e', :tier, :ok, :at, 1.0, 'H100', '[]', :code, '')"
)
_STEP = (
    "INSERT INTO engine_verification_steps (verification_id, position, step, verdict, evidence, duration_ms, at)"
    " VALUES ('v0', :position, :step, 'ok', :evidence, 2.5, :at)"
)


@pytest.mark.parametrize("schema", [STATE_SCHEMA, EVENTS_SCHEMA], ids=lambda schema: schema.name)
def test_the_program_knows_every_migration_that_it_brings(schema: Schema) -> None:
    """Else a start would migrate to a schema that the next start refuses as a newer program's."""
    package = importlib.import_module(f"engine.store.migrations.{schema.name}")
    found = sorted(one.name for one in pkgutil.iter_modules(package.__path__))
    assert list(schema.revisions) == found


async def test_a_database_is_opened_again(database_url: str) -> None:
    """What the first start made, the second one takes."""
    for _ in range(2):
        store = await open_store(database_url, clock=ManualClock(NOW))
        await store.close()


async def test_checks_of_an_earlier_version_keep_their_steps_and_are_summed(database_url: str) -> None:
    """Steps move into their row in order, the newest check and the hours are made anew, on both kinds of database."""
    store = await open_store(database_url, clock=ManualClock(NOW))

    def go_back(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            for migration in (state_0011, state_0010, state_0009):
                migration.downgrade()
        connection.execute(sa.text(f"UPDATE {STATE_SCHEMA.version_table} SET version_num = 'state_0008'"))

    async def fill(connection: AsyncConnection) -> None:
        await connection.run_sync(go_back)
        for number, (tier, code) in enumerate(
            [("full", ""), ("lightweight", "ssh_timeout"), ("lightweight", "probe_failed")]
        ):
            row = {"id": f"v{number}", "tier": tier, "ok": not code, "at": NOW + number * 1800, "code": code}
            await connection.execute(sa.text(_CHECK), row)
        for position, step in ((1, "gpu"), (0, "host_key")):
            row = {"position": position, "step": step, "evidence": 'it said "x" \\ é', "at": NOW}
            await connection.execute(sa.text(_STEP), row)

    await store._state.write(fill)
    await store.close()
    store = await open_store(database_url, clock=ManualClock(NOW))
    try:
        steps = {row.id: row.steps for row in await store.verifications.recent(9)}
        evidence = 'it said "x" \\ é'
        assert steps == {
            "v0": (VerificationStep("host_key", "ok", evidence, 2.5), VerificationStep("gpu", "ok", evidence, 2.5)),
            "v1": (),
            "v2": (),
        }
        newest = LatestCheck("5M", "n1", "v2", NOW + 3600, False, NOW + 1800)
        assert await store.verifications.latest_checks() == [newest]
        hours = int(NOW // 3600), int(NOW // 3600) + 1
        assert await store.score_hours.of_all(*hours) == [
            HourSums(hours[0], 1, 1, 2, None),
            HourSums(hours[1], 0, 1, 1, None),
        ]
        assert await store.verifications.counts(NOW) == {("5M", "n1"): CheckCounts(passed=1, logged_in=2, total=3)}
    finally:
        await store.close()
