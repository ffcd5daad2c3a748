"""The doctor reads the engine's records from a file and from a PostgreSQL server alike, and changes nothing there."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

from engine.clock import ManualClock
from engine.config.miner import MinerConfig, MinerDatabaseConfig
from engine.diagnostics.doctor import Doctor
from engine.diagnostics.look_records import METAGRAPH_KEY, Records, read_records
from engine.diagnostics.look_server import look_at_server, read_server
from engine.diagnostics.look_service import look_at_database
from engine.diagnostics.model import Scope, Verdict
from engine.diagnostics.patient import Patient
from engine.diagnostics.service_checks import ServiceFacts, judge_database
from engine.store import Grant, open_store
from tests.support.postgres import Postgres

NOW = 1_700_000_000.0
GRANT = Grant(
    id="g1",
    node_id="n1",
    hotkey="5V",
    algorithm="ssh-ed25519",
    blob_base64="AAAA",
    fingerprint="SHA256:x",
    created_at=1.0,
    renewed_at=1.0,
    expires_at=3601.0,
)


async def fill(url: str) -> None:
    """One open grant, one that is gone, a baseline, a metagraph."""
    store = await open_store(url, clock=ManualClock(NOW))
    try:
        await store.grants.put_many(
            [GRANT, replace(GRANT, id="g2", removed_at=5.0), replace(GRANT, id="g3", node_id="n2")]
        )
        await store.keyvalue.put("access.lines.n1.a@b:22", {"accepted": {"SHA256:x": 3.0}, "others": {}})
        await store.keyvalue.put("accessXlines", {"accepted": 1})
        await store.keyvalue.put(METAGRAPH_KEY, {"read_at": 7.0})
    finally:
        await store.close()


async def read(url: str) -> Records:
    """As the doctor does."""
    if url.startswith("postgresql:"):
        return await read_server(url)
    return await asyncio.to_thread(read_records, MinerConfig(database=MinerDatabaseConfig(url=url)))


async def test_both_kinds_of_database_say_the_same(database_url: str) -> None:
    """Open grants by node, the operator's baseline, the age of the metagraph."""
    before = await read(database_url)
    await fill(database_url)

    found = await read(database_url)

    assert (before.grants, before.trouble) == (None, "the engine has not run yet")
    assert found.trouble == ""
    assert found.grants is not None
    assert {node: [one.id for one in grants] for node, grants in found.grants.items()} == {"n1": ["g1"], "n2": ["g3"]}
    assert found.grants["n1"][0] == GRANT
    baseline = found.baseline("n1", "a@b:22")
    assert baseline is not None
    assert dict(baseline.accepted) == {"SHA256:x": 3.0}
    assert found.metagraph_read_at == 7.0


async def test_a_server_is_absent_sound_newer_or_out_of_reach(postgres: Postgres, tmp_path: Path) -> None:
    """Each state of a PostgreSQL database has its word, and its sentence says where."""
    url = postgres.database()
    assert (await look_at_server(url))[0] == "absent"
    await fill(url)
    assert (await look_at_server(url))[0] == "ok"
    postgres.sql("UPDATE basilica_state_version SET version_num = 'state_9999'", url)
    state, said = await look_at_server(url)
    assert (state, "state_9999" in said) == ("newer", True)
    assert (await look_at_server(f"postgresql://nobody@/none?host={tmp_path}"))[0] == "unreachable"


async def test_the_checks_know_a_server(postgres: Postgres, tmp_path: Path) -> None:
    """``service.database`` is judged, and one that is out of reach is a failure, not a skipped check."""
    url = postgres.database()
    await fill(url)
    verdicts = []
    for one in (url, f"postgresql://nobody@/none?host={tmp_path}"):
        config = MinerConfig(database=MinerDatabaseConfig(url=one))
        report = await Doctor(Patient(config)).examine([Scope.SERVICE])
        found = report.find("service.database")
        assert found is not None
        verdicts.append((found.verdict.value, found.cause))
    assert verdicts == [("ok", ""), ("failed", "unreachable")]


async def test_a_database_that_somebody_holds_is_not_one_that_may_not_be_read(tmp_path: Path) -> None:
    """A lock of another process and a file of another user have different causes, and different ways out."""
    url = f"sqlite:{tmp_path / 'miner.db'}"
    await fill(url)
    config = MinerConfig(database=MinerDatabaseConfig(url=url))
    holder = sqlite3.connect(tmp_path / "miner.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        state, said, *_ = await asyncio.to_thread(look_at_database, config)
    finally:
        holder.close()
    assert (state, "locked" in said) == ("locked", True)
    assert (await asyncio.to_thread(look_at_database, config))[0] == "ok"
    found = judge_database(ServiceFacts(database=state, database_said=said))
    assert (found.verdict, found.cause) == (Verdict.FAILED, "locked")
