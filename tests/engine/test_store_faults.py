"""What the store does when the file, the disk, the process or another program misbehaves."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.clock import ManualClock
from engine.errors import EngineAlreadyRunning, StoreUnusable
from engine.events import NodeRemoved
from engine.store import Grant, KnownNode, SpentNonce, Store, Verification, open_store, sqlite
from engine.store.migrate import EVENTS_SCHEMA, STATE_SCHEMA, Schema, alembic_config
from engine.store.readers import Reading
from engine.store.tables import EVENTS, STATE
from engine.store.url import SqliteFiles, parse_url

NODE = KnownNode("n1", "192.0.2.7", 22, "root", "", 1.0)
GRANT = Grant("g1", "n1", "5V", "ssh-ed25519", "AAAA", "SHA256:x", 1.0, 1.0, 2.0)


def grants(count: int) -> list[Grant]:
    return [dataclasses.replace(GRANT, id=f"x{number}") for number in range(count)]


async def opened(path: Path) -> Store:
    return await open_store(f"sqlite:{path}", clock=ManualClock())


async def reopened_is_sound(path: Path) -> None:
    store = await opened(path)
    try:
        await store.nodes.put_many([NODE])
        assert await store.nodes.all() == [NODE]
    finally:
        await store.close()


# --- place and settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:./data/miner.db", "data/miner.db"),
        ("sqlite:data/miner.db?mode=rwc", "data/miner.db"),
        ("sqlite://data/miner.db", "data/miner.db"),
        ("sqlite:///var/lib/miner.db", "/var/lib/miner.db"),
        ("sqlite:/var/lib/a%20b.db", "/var/lib/a b.db"),
    ],
)
def test_urls_mean_what_they_mean_to_the_deployed_miner(url: str, path: str) -> None:
    """A database url of an existing configuration names the same file here."""
    assert parse_url(url) == SqliteFiles(Path(path))


@pytest.mark.parametrize(
    "url",
    ["miner.db", "sqlite:", "sqlite::memory:", "sqlite:x.db?mode=ro", "sqlite:x?mode=memory", "mysql://x", "sqlite:/"],
)
def test_urls_that_cannot_keep_grants_are_refused(url: str) -> None:
    """Memory, read-only, directories and unknown databases are refused with what to do instead."""
    with pytest.raises(StoreUnusable) as caught:
        parse_url(url)
    assert caught.value.hint


async def test_files_are_ours_alone(tmp_path: Path) -> None:
    """State and events are two files of mode 0600 in a directory of mode 0700, journals included."""
    store = await opened(tmp_path / "data/miner.db")
    try:
        await store.nodes.put_many([NODE])
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    finally:
        await store.close()
    assert {"miner.db", "miner.db-wal", "miner.events.db", "miner.lock", "miner.ballast"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


async def test_an_open_file_is_closed_to_others(tmp_path: Path) -> None:
    """A database that others could read is tightened when it is opened."""
    path = tmp_path / "miner.db"
    path.touch(mode=0o644)
    await reopened_is_sound(path)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_every_connection_has_the_settings(tmp_path: Path) -> None:
    """Grants are written with full synchronisation, events with less, and foreign keys and journals as measured."""
    store = await opened(tmp_path / "miner.db")
    try:
        wanted = {"journal_mode": "wal", "busy_timeout": 5000, "foreign_keys": 1, "trusted_schema": 0}
        for database, synchronous in ((store._state, 2), (store._events, 1)):

            async def look(connection: Reading | AsyncConnection) -> dict[str, object]:
                names = [*wanted, "synchronous"]
                return {name: (await connection.execute(sa.text(f"PRAGMA {name}"))).scalar() for name in names}

            assert await database.read(look) == wanted | {"synchronous": synchronous}
            assert await database.write(look) == wanted | {"synchronous": synchronous}
    finally:
        await store.close()


@pytest.mark.parametrize(("schema", "metadata"), [(STATE_SCHEMA, STATE), (EVENTS_SCHEMA, EVENTS)])
async def test_migrations_end_at_the_tables(tmp_path: Path, schema: Schema, metadata: sa.MetaData) -> None:
    """The migrations make exactly the tables that the code uses, and their head is the one that the code expects."""
    from alembic.autogenerate import compare_metadata

    store = await opened(tmp_path / "miner.db")
    database = store._state if schema is STATE_SCHEMA else store._events

    def differences(connection: sa.Connection) -> list[object]:
        options = {"version_table": schema.version_table, "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async def run(connection: Reading) -> list[object]:
        return await connection.run_sync(differences)

    try:
        assert await database.read(run) == []
    finally:
        await store.close()
    script = ScriptDirectory.from_config(alembic_config(schema))
    assert tuple(revision.revision for revision in reversed(list(script.walk_revisions()))) == schema.revisions


async def test_closing_twice_and_using_a_closed_store(tmp_path: Path) -> None:
    """A second close does nothing; a closed store says so."""
    store = await opened(tmp_path / "miner.db")
    await store.close()
    await store.close()
    with pytest.raises(StoreUnusable, match="closed"):
        await store.grants.open()


# --- other programs -----------------------------------------------------------------------------------------------


async def test_tables_of_the_deployed_miner_stay(tmp_path: Path) -> None:
    """A deployed miner's database keeps its own tables and rows, and a copy from before is left beside it."""
    path = tmp_path / "miner.db"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE node_uuids (node_address TEXT UNIQUE NOT NULL, uuid TEXT)")
        old.execute("CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY)")
        old.execute("CREATE TABLE sessions (anything TEXT)")
        old.execute("INSERT INTO node_uuids VALUES ('a', 'b')")
    old.close()
    await reopened_is_sound(path)
    await reopened_is_sound(path)
    assert not Path(f"{path}-wal").exists()
    for file in (path, tmp_path / f"miner.db.before-{STATE_SCHEMA.head}"):
        check = sqlite3.connect(file)
        assert check.execute("SELECT * FROM node_uuids").fetchall() == [("a", "b")]
        check.close()


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A database of a newer program is not opened, and nothing in it changes."""
    path = tmp_path / "miner.db"
    await reopened_is_sound(path)
    newer = sqlite3.connect(path)
    newer.execute("UPDATE basilica_state_version SET version_num = 'state_9999'")
    newer.commit()
    newer.close()
    with pytest.raises(StoreUnusable, match="state_9999") as caught:
        await opened(path)
    assert "upgrade" in caught.value.hint
    check = sqlite3.connect(path)
    assert check.execute("SELECT version_num FROM basilica_state_version").fetchall() == [("state_9999",)]
    check.close()


async def test_a_second_engine_is_refused_by_pid(tmp_path: Path) -> None:
    """Two engines on one database: the second is told who has it; after a close it may."""
    store = await opened(tmp_path / "miner.db")
    code = (
        "import asyncio, sys\nfrom engine.clock import SystemClock\nfrom engine.store import open_store\n"
        "asyncio.run(open_store(sys.argv[1], clock=SystemClock()))"
    )
    try:
        second = subprocess.run(
            [sys.executable, "-c", code, f"sqlite:{tmp_path}/miner.db"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        with pytest.raises(EngineAlreadyRunning):
            await opened(tmp_path / "miner.db")
    finally:
        await store.close()
    assert second.returncode != 0
    assert f"EngineAlreadyRunning: another engine (pid {os.getpid()})" in second.stderr
    await reopened_is_sound(tmp_path / "miner.db")


async def test_a_lock_of_another_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that holds the database is told from damage."""
    monkeypatch.setattr("engine.store.sqlite.BUSY_TIMEOUT_S", 0.05)
    store = await opened(tmp_path / "miner.db")
    shell = sqlite3.connect(tmp_path / "miner.db", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnusable, match="locked by another program"):
            await store.nodes.put_many([NODE])
        shell.execute("ROLLBACK")
        await store.nodes.put_many([NODE])
    finally:
        shell.close()
        await store.close()


# --- damage -------------------------------------------------------------------------------------------------------


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Text in place of a database is refused and stays as it is."""
    path = tmp_path / "miner.db"
    path.write_text("not a database at all, but long enough to be looked at" * 20)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="not a SQLite database") as caught:
        await opened(path)
    assert caught.value.hint
    assert path.read_bytes() == before


async def filled(path: Path) -> None:
    """Make a store whose tables take many pages."""
    store = await opened(path)
    await store.grants.put_many(grants(500))
    for number in range(500):
        store.events.append(NodeRemoved(at=float(number), node_id=f"n{number}"))
    await store.close()


def overwrite_pages(path: Path) -> None:
    """Damage every page after the first."""
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 64] = os.urandom(64)
    path.write_bytes(data)


async def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    """Damaged pages are found before anything relies on them, and the lock is let go."""
    await filled(tmp_path / "miner.db")
    overwrite_pages(tmp_path / "miner.db")
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="is damaged"):
            await opened(tmp_path / "miner.db")


async def test_a_large_file_is_checked_without_its_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a month of checks does not wait for them at a start; damage anywhere else is found as before."""
    path = tmp_path / "miner.db"
    store = await opened(path)
    checks = [
        Verification(f"v{n}", "5M", 1, "n1", "e", "full", True, float(n), 1.0, message="x" * 900) for n in range(99)
    ]
    await store.verifications.add(*checks)
    await store.grants.put_many(grants(99))
    await store.close()
    overwrite_pages_of(path, "engine_verifications")
    with pytest.raises(StoreUnusable, match="is damaged"):
        await opened(path)
    monkeypatch.setattr(sqlite, "WHOLE_CHECK_BYTES", 4096)
    store = await opened(path)
    try:
        assert len(await store.grants.open()) == 99
        with pytest.raises(StoreUnusable, match="is damaged"):
            await store.verifications.recent(99)
    finally:
        await store.close()
    overwrite_pages_of(path, "engine_grants")
    with pytest.raises(StoreUnusable, match="is damaged"):
        await opened(path)


def overwrite_pages_of(path: Path, table: str) -> None:
    """Damage the root page of a table; without its rows' pages no row is found."""
    reading = sqlite3.connect(path)
    root, size = reading.execute(
        "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = ?", (table,)
    ).fetchone()
    reading.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xee" * 64)


async def test_a_copy_that_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy cut short by a full disk is not taken for one at the next start, which makes it and migrates."""
    path = tmp_path / "miner.db"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE node_uuids (uuid TEXT)")
    old.close()
    copy = tmp_path / f"miner.db.before-{STATE_SCHEMA.head}"

    def cut_short(part: Path, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "replace", cut_short)
        with pytest.raises(StoreUnusable, match="no space left"):
            await opened(path)
    assert sorted(tmp_path.glob("*before*")) == []
    await reopened_is_sound(path)
    assert copy.stat().st_mode & 0o777 == 0o600
    kept = sqlite3.connect(copy)
    assert kept.execute("SELECT name FROM sqlite_master").fetchall() == [("node_uuids",)]
    kept.close()


async def test_a_damaged_event_log_is_set_aside(tmp_path: Path) -> None:
    """Losing history does not keep the engine from starting; the damaged file is kept."""
    await filled(tmp_path / "miner.db")
    overwrite_pages(tmp_path / "miner.events.db")
    store = await opened(tmp_path / "miner.db")
    try:
        assert await store.events.recent(10) == []
        assert len(await store.grants.open()) == 500
    finally:
        await store.close()
    assert len(list(tmp_path.glob("miner.events.db.damaged-*"))) == 1


async def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    """Writes to a file that is no longer there would be lost, so the check says so."""
    store = await opened(tmp_path / "miner.db")
    try:
        await store.check()
        (tmp_path / "miner.db").unlink()
        with pytest.raises(StoreUnusable, match="deleted or replaced"):
            await store.check()
    finally:
        await store.close()


async def test_a_full_disk_refuses_grants_and_still_records_their_end(tmp_path: Path) -> None:
    """When there is no space, new rows are refused with a hint; what ends access gives the ballast up for it."""
    store = await opened(tmp_path / "miner.db")
    try:
        await store.grants.put_many([GRANT])
        await limit_pages(store)
        with pytest.raises(StoreUnusable, match="no space left") as caught:
            await store.grants.put_many(grants(2_000))
        assert caught.value.hint
        assert await store.grants.open() == [GRANT]
        assert (tmp_path / "miner.ballast").exists()
        with pytest.raises(StoreUnusable, match="no space left"):
            await store.grants.end([GRANT.id], at=1.0, reason="x" * 200_000)
        assert not (tmp_path / "miner.ballast").exists()
        await store.grants.end([GRANT.id], at=1.0, reason="expired")
    finally:
        await store.close()
    await reopened_is_sound(tmp_path / "miner.db")
    assert (tmp_path / "miner.ballast").stat().st_size == 1024 * 1024


async def limit_pages(store: Store) -> None:
    """Let SQLite itself say that the disk is full, on every connection that writes."""

    @sa.event.listens_for(store._state.engine.sync_engine, "checkout")
    def limit(connection: object, *_: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA max_page_count=1")  # the present size, at the least
        cursor.close()


# --- interruption -------------------------------------------------------------------------------------------------


async def test_a_cancelled_caller_leaves_no_transaction_open(tmp_path: Path) -> None:
    """Cancelling in the middle stores all or nothing, and the next writer gets in at once."""
    store = await opened(tmp_path / "miner.db")
    try:
        for turns in range(12):
            task = asyncio.create_task(
                store.nodes.put_many([dataclasses.replace(NODE, node_id=f"{half}{turns}") for half in "ab"])
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.nodes.put_many([NODE])
        names = {one.node_id for one in await store.nodes.all()}
        assert all((f"a{turns}" in names) == (f"b{turns}" in names) for turns in range(12))
    finally:
        await store.close()


async def test_a_reading_waits_for_its_database_alone(tmp_path: Path) -> None:
    """A reading is one consistent view in one step: it may give turns away; one that waits for more is refused."""
    store = await opened(tmp_path / "miner.db")
    statement = sa.select(STATE.tables["engine_nodes"].c.node_id)

    async def twice(connection: Reading) -> list[list[str]]:
        found = []
        for _ in range(2):
            found.append([row.node_id for row in await connection.execute(statement)])
            written.set()
            await asyncio.sleep(0)
            stored.wait(60)
        return found

    async def waits(connection: Reading) -> None:
        await connection.execute(statement)
        await asyncio.sleep(0.01)

    written, stored = threading.Event(), threading.Event()
    try:
        reading = asyncio.create_task(store._state.read(twice))
        await asyncio.to_thread(written.wait, 60)
        await store.nodes.put_many([NODE])
        stored.set()
        assert await reading == [[], []]
        assert [one.node_id for one in await store.nodes.all()] == [NODE.node_id]
        with pytest.raises(RuntimeError):
            await store._state.read(waits)
        assert [one.node_id for one in await store.nodes.all()] == [NODE.node_id]
    finally:
        await store.close()


async def test_an_error_in_a_transaction_undoes_it(tmp_path: Path) -> None:
    """What was written before the error is not there, and the writer is free again."""
    store = await opened(tmp_path / "miner.db")

    async def fail(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("INSERT INTO engine_keyvalue VALUES ('k', '1')")
        raise RuntimeError("stop")

    try:
        with pytest.raises(RuntimeError):
            await store._state.write(fail)
        assert await store.keyvalue.get("k") is None
        await store.keyvalue.put("k", 2)
    finally:
        await store.close()


WRITER = """
import asyncio, sys
from engine.clock import SystemClock
from engine.store import SpentNonce, open_store

async def main():
    store = await open_store(sys.argv[1], clock=SystemClock())
    number = 0
    while True:
        number += 1
        await store.nonces.spend(SpentNonce("aa", str(number), "auth", "b", "p", 1.0, b"x"))
        print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """A writer killed at any point loses nothing that it was told is stored, and the file opens again."""
    url = f"sqlite:{tmp_path}/miner.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last == 200:
            process.send_signal(signal.SIGKILL)
            break
    last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.wait()
    store = await open_store(url, clock=ManualClock())
    try:
        for number in range(1, last + 1):
            assert await store.nonces.get("aa", str(number)) is not None
        assert await store.nonces.spend(SpentNonce("aa", "1", "auth", "b2", "q", 2.0, b"")) is not None
    finally:
        await store.close()


def test_a_forgotten_close_does_not_keep_the_process(tmp_path: Path) -> None:
    """An exception that skips the close ends the process all the same: no database thread holds it."""
    code = (
        "import asyncio, sys\nfrom engine.clock import SystemClock\nfrom engine.store import open_store\n"
        "async def main():\n    await open_store(sys.argv[1], clock=SystemClock())\n    raise RuntimeError('gone')\n"
        "asyncio.run(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:{tmp_path}/miner.db"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "RuntimeError: gone" in ended.stderr


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    """What stands where the port should be may be half a password."""
    with pytest.raises(StoreUnusable) as caught:
        parse_url("postgresql://user:hunter/2@host/name")
    assert "hunter" not in str(caught.value)
    assert "%2F" in (caught.value.hint or "")
