"""The store on a real PostgreSQL server: what it refuses, what it survives, and that only one engine is in charge."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext

from engine import events as ev
from engine.clock import ManualClock
from engine.errors import EngineAlreadyRunning, StoreStrained, StoreUnusable
from engine.events import EventBus
from engine.observe.audit import AuditLog
from engine.observe.audit_reader import open_audit
from engine.store import KnownNode, SpentNonce, Store, Verification, open_store
from engine.store.migrate import EVENTS_SCHEMA, STATE_SCHEMA, Schema
from engine.store.readers import Reading
from engine.store.records import CheckCounts, WeightSet
from engine.store.tables import EVENTS, STATE
from engine.store.url import PostgresServer, parse_url
from engine.validator.explain import read_set
from tests.engine.test_store_faults import WRITER
from tests.support.postgres import PASSWORD, Postgres

NODE = KnownNode("n1", "192.0.2.7", 22, "root", "", 1.0)


def named(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


@asynccontextmanager
async def opened(url: str, **options: bool) -> AsyncIterator[Store]:
    store = await open_store(url, clock=ManualClock(), connect_timeout_s=30.0, **options)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:hush@db.example:5433/miner", "postgresql://db.example:5433/miner"),
        ("postgres://me@db/miner?sslmode=require&password=hush", "postgresql://db/miner"),
        ("postgresql+asyncpg://me:hush@/miner?host=/run/pg", "postgresql:///miner?host=/run/pg"),
        ("postgresql://me@db?dbname=miner", "postgresql://db/miner"),
    ],
)
def test_a_name_for_messages_has_no_secrets(url: str, name: str) -> None:
    """Host and database are told, user, password and options are not."""
    place = parse_url(url)
    assert isinstance(place, PostgresServer)
    assert place.name == name


async def test_what_cannot_be_opened_says_why_and_what_to_do(postgres: Postgres) -> None:
    """A wrong password, a missing database, a server that is not there: each its own words, a hint, no password."""
    postgres.sql(f"CREATE ROLE keyholder LOGIN PASSWORD '{PASSWORD}'")
    name = named(postgres.database())
    cases = [
        (postgres.url(name, user="keyholder", password="guess"), "does not let us in", "pg_hba.conf"),
        (postgres.url("nowhere"), "does not exist", "createdb"),
        (postgres.url(name, user="nobody_here"), "does not let us in", "database.url"),
        (f"postgresql:///x?host={postgres.root}/none", "cannot be reached", "host and port"),
        ("postgresql://owner:hush@127.0.0.1:1/x", "cannot be reached", "host and port"),
        (postgres.database(encoding="SQL_ASCII"), "keeps text as SQL_ASCII", "UTF8"),
        (postgres.url(name) + "&sslmode=nonsense", "sslmode", ""),
    ]
    for url, words, hint in cases:
        with pytest.raises(StoreUnusable) as caught:
            await open_store(url, clock=ManualClock(), connect_timeout_s=30.0)
        assert words in caught.value.message
        assert hint in caught.value.hint
        assert "hush" not in str(caught.value)
        assert "guess" not in str(caught.value)
    async with opened(postgres.url(name)):
        pass
    postgres.sql(f"GRANT ALL ON DATABASE {name} TO keyholder")
    with pytest.raises(StoreUnusable, match="refuses what this user may not do"):
        await open_store(postgres.url(name, user="keyholder", password=PASSWORD), clock=ManualClock())


async def test_an_old_server_is_refused(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than what the statements need is named with its version."""
    monkeypatch.setattr("engine.store.postgres.OLDEST", 99)
    with pytest.raises(StoreUnusable, match=r"PostgreSQL \d+\.\d+, 99 is the oldest"):
        await open_store(postgres.database(), clock=ManualClock())


async def test_a_second_engine_is_refused_by_name(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two engines on one database: the second is told who has it; another schema, or a closed store, is free."""
    monkeypatch.setattr("engine.store.postgres.ACQUIRE_TRIES", 2)
    url = postgres.database()
    async with opened(url):
        with pytest.raises(EngineAlreadyRunning, match=r"another engine uses .*\(basilica-tui .*connected since"):
            await open_store(url, clock=ManualClock())
        postgres.sql("CREATE SCHEMA second", url)
        async with opened(url + "&options=-csearch_path%3Dsecond") as second:
            assert await second.nodes.all() == []
    async with opened(url) as again:
        assert await again.nodes.all() == []


@pytest.mark.parametrize(("schema", "metadata"), [(STATE_SCHEMA, STATE), (EVENTS_SCHEMA, EVENTS)])
async def test_migrations_end_at_the_tables(postgres: Postgres, schema: Schema, metadata: sa.MetaData) -> None:
    """The same migrations make exactly the tables that the code uses, beside another program's."""
    from alembic.autogenerate import compare_metadata

    names = {table.name for table in metadata.sorted_tables}

    def only_ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or name in names

    def differences(connection: sa.Connection) -> list[object]:
        options = {"version_table": schema.version_table, "compare_type": True, "include_object": only_ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async def run(connection: Reading) -> list[object]:
        return await connection.run_sync(differences)

    url = postgres.database()
    postgres.sql("CREATE TABLE sessions (anything TEXT)", url)
    async with opened(url) as store:
        assert await store._state.read(run) == []


async def test_migrating_can_be_forbidden(postgres: Postgres) -> None:
    """With ``run_migrations = false`` an empty database stays empty, and the message names the key."""
    url = postgres.database()
    with pytest.raises(StoreUnusable, match="this program needs state_") as caught:
        await open_store(url, clock=ManualClock(), may_migrate=False)
    assert "run_migrations" in caught.value.hint
    async with opened(url):
        pass
    async with opened(url, may_migrate=False) as store:
        assert await store.nodes.all() == []


async def test_a_server_that_restarts_costs_one_failure_at_most(postgres: Postgres) -> None:
    """While it is down every call fails as a strain with a hint; when it is back the same store goes on."""
    async with opened(postgres.database()) as store:
        await store.nodes.put_many([NODE])
        postgres.stop(signal.SIGQUIT)
        for call in (store.nodes.all(), store.nodes.put_many([NODE]), store.check()):
            with pytest.raises(StoreStrained) as caught:
                await call
            assert "again by itself" in caught.value.hint
        postgres.start()
        await store.nodes.put_many([NODE])
        assert await store.nodes.all() == [NODE]
        await store.check()


async def test_an_engine_that_lost_its_lock_writes_no_more(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another engine took over while the connection was lost, the first one's next write is refused for good."""
    monkeypatch.setattr("engine.store.postgres.ACQUIRE_TRIES", 2)
    url = postgres.database()
    async with opened(url) as first:
        await first.nodes.put_many([NODE])
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())", url,
        )  # fmt: skip
        async with opened(url) as second:
            with pytest.raises(StoreUnusable, match="another engine uses") as caught:
                await first.nodes.put_many([NODE])
            assert not isinstance(caught.value, StoreStrained)
            assert await second.nodes.all() == [NODE]


async def test_what_was_acknowledged_survives_kill_9(postgres: Postgres) -> None:
    """A writer killed at any point loses nothing that it was told is stored, and the next engine gets in at once."""
    url = postgres.database()
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last == 100:
            process.send_signal(signal.SIGKILL)
            break
    last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.wait()
    async with opened(url) as store:
        for number in range(1, last + 1):
            assert await store.nonces.get("aa", str(number)) is not None
        assert await store.nonces.spend(SpentNonce("aa", "1", "auth", "b2", "q", 2.0, b"")) is not None


async def test_text_that_no_database_keeps(database_url: str) -> None:
    """NUL and half characters from a hostile node are replaced, on both kinds of database alike."""
    async with opened(database_url) as store:
        await store.nodes.put_many([KnownNode("n1", "h\0st", 22, "\udc80x", "rück\U0001f9ff", 1.0)])
        (node,) = await store.nodes.all()
    assert (node.host, node.username, node.label) == ("h�st", "?x", "rück\U0001f9ff")


async def test_counts_of_checks(database_url: str) -> None:
    """Passed, logged in and all, per node, in the window that was asked for."""

    def check(number: int, at: float, code: str = "") -> Verification:
        return Verification(
            f"v{number}", "5M", 7, "n1", "e", "lightweight", not code, at, 1.0, error_code=code, message=code
        )  # fmt: skip

    async with opened(database_url) as store:
        for number, (at, code) in enumerate([(1.0, ""), (5.0, ""), (6.0, "ssh_timeout"), (7.0, "probe_failed")]):
            await store.verifications.add(check(number, at, code))
        assert await store.verifications.counts(5.0) == {("5M", "n1"): CheckCounts(passed=1, logged_in=2, total=3)}
        (newest,) = await store.verifications.latest_checks()
        assert (newest.verification_id, newest.ok, newest.failed_before_at) == ("v3", False, 6.0)


async def test_readers_beside_the_engine(database_url: str) -> None:
    """Audit log and weights can be read by another program while the engine has the database."""
    async with opened(database_url) as store:
        bus = EventBus()
        bus.subscribe(store.events.append)
        audit = AuditLog(store.audit, store.events, clock=ManualClock(), emit=bus.emit)
        bus.subscribe(audit.listen)
        await audit.start()
        for number in range(20):
            bus.emit(ev.KeyRemoved(at=1.0, grant_id=f"g{number}", node_id="n", validator_hotkey="5V", reason="x\0y"))
        await audit.close()
        await store.events.flush()
        await store.weights.add(WeightSet(1.0, 360, "documented", 1, True, 1, "", "[[0, 1]]", "x"))
        async with open_audit(database_url) as reader:
            found = await reader.verify()
            assert (found.broken, len([r async for r in reader.since(None)])) == (None, 20)
        assert (await read_set(database_url)).block == 360
        with contextlib.suppress(StoreUnusable):
            await read_set(database_url, at_block=1)
            pytest.fail("there was no vector at block 1")


async def test_a_closed_store_leaves_no_connection(postgres: Postgres) -> None:
    """After close the server has no session of ours on that database."""
    url = postgres.database()
    async with opened(url) as store:
        await store.nodes.put_many([NODE])
    deadline = time.monotonic() + 60
    while True:
        async with opened(postgres.url("postgres"), may_migrate=True) as other:

            async def count(connection: Reading) -> int:
                query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
                return int((await connection.execute(query.bindparams(name=named(url)))).scalar_one())

            left = await other._state.read(count)
        if left == 0:
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
