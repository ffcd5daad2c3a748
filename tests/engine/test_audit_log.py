"""The audit log on a real database: what is stored, what a reader without an engine finds, what no kill can break."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from engine import events as ev
from engine.clock import ManualClock, SystemClock
from engine.errors import AuditUnreadable, StoreUnusable
from engine.events import Event, EventBus
from engine.observe.audit import ANCHOR_EVERY_S, AuditLog
from engine.observe.audit_chain import Anchor, Verdict
from engine.observe.audit_reader import open_audit
from engine.store import Store, open_store


def url_of(path: Path) -> str:
    return f"sqlite:{path / 'miner.db'}"


def removed(number: int, at: float = 1_700_000_000.25) -> Event:
    return ev.KeyRemoved(at=at + number, grant_id=f"g{number}", node_id="n1", validator_hotkey="5V", reason="expired")


@asynccontextmanager
async def recording(path: Path, clock: ManualClock | None = None) -> AsyncIterator[tuple[EventBus, AuditLog, Store]]:
    """An audit log on its bus, its end stored as the engine does it."""
    clock = clock or ManualClock()
    store = await open_store(url_of(path), clock=clock)
    try:
        bus = EventBus()
        bus.subscribe(store.events.append)
        audit = AuditLog(store.audit, store.events, clock=clock, emit=bus.emit)
        bus.subscribe(audit.listen)
        await audit.start()
        yield bus, audit, store
        await audit.close()
        await store.events.flush()
    finally:
        await store.close()


async def write(path: Path, count: int) -> None:
    async with recording(path) as (bus, _, _store):
        for number in range(count):
            bus.emit(removed(number))


async def verdict(path: Path, *anchors: Anchor) -> Verdict:
    async with open_audit(url_of(path)) as reader:
        return await reader.verify(anchors)


def change(path: Path, *statements: str, file: str = "miner.db") -> None:
    """What somebody with the file and ``sqlite3`` can do."""
    with contextlib.closing(sqlite3.connect(path / file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def test_what_happened_is_on_record_in_order(tmp_path: Path) -> None:
    """Many more than one batch, over two runs, are one chain with everything in it."""
    await write(tmp_path, 450)
    await write(tmp_path, 7)
    async with open_audit(url_of(tmp_path)) as reader:
        records = [record async for record in reader.since(None)]
        found = await reader.verify()
    assert [r.seq for r in records] == list(range(1, 458))
    assert [json.loads(r.details)["grant_id"] for r in records[:3]] == ["g0", "g1", "g2"]
    assert {(r.kind, r.actor, r.subject, r.outcome) for r in records} == {
        ("key.removed", "5V", "n1", "removed: expired")
    }
    assert found.broken is None
    assert found.anchors == 2


@pytest.mark.parametrize(
    ("statements", "broken_at", "words"),
    [
        (("UPDATE engine_audit SET outcome = 'refused' WHERE seq = 5",), 5, "content was changed"),
        (("UPDATE engine_audit SET details = '{}' WHERE seq = 10",), 10, "content was changed"),
        (("DELETE FROM engine_audit WHERE seq = 4",), 4, "missing"),
        (("DELETE FROM engine_audit WHERE seq IN (1, 2)",), 1, "missing"),
        (("DELETE FROM engine_audit",), 1, "cut off"),
        (("DELETE FROM engine_audit WHERE seq > 7",), 8, "cut off"),
        (
            (
                "UPDATE engine_audit SET seq = 99 WHERE seq = 3",
                "UPDATE engine_audit SET seq = 3 WHERE seq = 4",
                "UPDATE engine_audit SET seq = 4 WHERE seq = 99",
            ),
            3,
            "content was changed",
        ),
        (("UPDATE engine_audit SET seq = seq - 1 WHERE seq = 1",), 0, "put in front"),
    ],
)
async def test_tampering_with_the_file_shows(
    tmp_path: Path, statements: tuple[str, ...], broken_at: int, words: str
) -> None:
    """Changed, deleted, reordered and cut off records are found without an engine, by number."""
    await write(tmp_path, 10)
    assert (await verdict(tmp_path)).broken is None
    change(tmp_path, *statements)
    broken = (await verdict(tmp_path)).broken
    assert broken is not None
    assert broken.seq == broken_at
    assert words in broken.reason


async def test_a_cut_tail_shows_at_the_next_start(tmp_path: Path) -> None:
    """An engine that finds its audit log shortened says so, records on, and the break stays visible."""
    await write(tmp_path, 10)
    change(tmp_path, "DELETE FROM engine_audit WHERE seq > 7")
    seen: list[Event] = []
    clock = ManualClock()
    store = await open_store(url_of(tmp_path), clock=clock)
    try:
        audit = AuditLog(store.audit, store.events, clock=clock, emit=seen.append)
        await audit.start()
    finally:
        await store.close()
    (broken,) = seen
    assert isinstance(broken, ev.AuditBroken)
    assert broken.seq == 8
    await write(tmp_path, 10)
    found = (await verdict(tmp_path)).broken
    assert found is not None
    assert found.seq == 10
    assert "another hash" in found.reason


async def test_heads_from_the_structured_log_count_too(tmp_path: Path) -> None:
    """With the event log gone, a head that was copied elsewhere still shows a cut tail."""
    await write(tmp_path, 10)
    head = (await verdict(tmp_path)).head
    change(tmp_path, "DELETE FROM engine_events", file="miner.events.db")
    change(tmp_path, "DELETE FROM engine_audit WHERE seq > 7")
    assert (await verdict(tmp_path)).broken is None
    assert (await verdict(tmp_path, head)).broken is not None


async def test_the_head_is_written_down_every_hour(tmp_path: Path) -> None:
    """The structured log and the event log get the head at the beginning, each hour if it moved, and at the end."""
    clock = ManualClock()
    heads: list[int] = []
    async with recording(tmp_path, clock) as (bus, audit, _):
        bus.subscribe(lambda e: heads.append(e.seq) if isinstance(e, ev.AuditAnchored) else None)
        running = asyncio.create_task(audit.run())

        async def hour() -> None:
            before = audit.head
            bus.emit(removed(1))
            async with asyncio.timeout(60):
                while audit.head is before:
                    await asyncio.sleep(0.01)
            await clock.advance(ANCHOR_EVERY_S)
            await asyncio.sleep(0.05)

        await hour()
        await hour()
        await clock.advance(3 * ANCHOR_EVERY_S)
        assert heads[:1] == [1]
        assert len(heads) <= 3
        running.cancel()
    assert heads[-1] == 2


async def test_a_database_that_refuses_loses_nothing(tmp_path: Path) -> None:
    """Entries that cannot be stored stay queued and follow when it takes them again; the chain has no hole."""
    async with recording(tmp_path) as (bus, audit, _):
        bus.emit(removed(0))
        change(tmp_path, "CREATE TRIGGER full BEFORE INSERT ON engine_audit BEGIN SELECT RAISE(ABORT, 'full'); END")
        with pytest.raises(StoreUnusable):
            await audit.close()
        assert len(audit) == 1
        change(tmp_path, "DROP TRIGGER full")
        bus.emit(removed(1))
    found = await verdict(tmp_path)
    assert (found.broken, found.records) == (None, 2)


async def test_reading_writes_nothing(tmp_path: Path) -> None:
    """Verifying leaves every byte of the directory as it was, with no engine and with one."""
    await write(tmp_path, 5)
    before = _digests(tmp_path)
    await verdict(tmp_path)
    assert _digests(tmp_path) == before
    async with recording(tmp_path) as (bus, audit, _):
        bus.emit(removed(9))
        await audit.close()
        assert (await verdict(tmp_path)).records == 6


def _digests(path: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.iterdir())}


@pytest.mark.parametrize("content", [None, b"", b"this is no database" * 100])
async def test_what_is_no_audit_log_is_said(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, an empty one and another kind of file are errors with a hint, never an intact log."""
    if content is not None:
        (tmp_path / "miner.db").write_bytes(content)
    with pytest.raises(AuditUnreadable) as failure:
        await verdict(tmp_path)
    assert failure.value.hint


def test_killed_at_any_moment_the_chain_is_whole(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing, again and again: what was acknowledged is there, and the chain holds."""
    acknowledged = 0
    for run in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.audit_writer", url_of(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        line = ""
        for _ in range(10 + 17 * run):
            line = process.stdout.readline()
        process.kill()
        rest = process.stdout.read().splitlines()
        process.wait()
        whole = [text for text in [line, *rest[:-1]] if len(text.split()) == 2]
        seq, digest = whole[-1].split()
        found = asyncio.run(verdict(tmp_path, Anchor(int(seq), digest)))
        assert found.broken is None
        assert found.records >= int(seq) > acknowledged
        acknowledged = int(seq)


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["audit", *args])
    return result.exit_code, result.stdout, result.stderr


def test_verify_from_the_command_line(tmp_path: Path) -> None:
    """Status 0 and the head for a whole log, 1 and the number for a broken one, 2 for a bad argument."""
    asyncio.run(write(tmp_path, 6))
    database = str(tmp_path / "miner.db")
    status, out, _ = run("verify", "--database", database)
    assert status == 0
    assert out.startswith("intact: 6 records")
    head = out.split()[-1]
    assert run("verify", "--database", f"sqlite:{database}", "--head", head)[0] == 0
    change(tmp_path, "UPDATE engine_audit SET actor = '5X' WHERE seq = 3")
    status, out, _ = run("verify", "--database", database, "--json")
    assert status == 1
    assert json.loads(out)["broken_at"] == 3
    assert run("verify", "--database", database)[1].startswith("BROKEN at record 3:")
    assert run("verify", "--database", database, "--head", "6")[0] == 2


def test_show_from_the_command_line(tmp_path: Path) -> None:
    """Records as text or JSON lines, by time and kind; texts of others cannot move the cursor."""

    async def make() -> None:
        async with recording(tmp_path) as (bus, _, _store):
            bus.emit(removed(0))
            bus.emit(removed(1, at=SystemClock().now()))
            bus.emit(
                ev.CallRefused(
                    at=SystemClock().now(),
                    call="AuthenticateValidator",
                    validator_hotkey="5\x1b[2J",
                    dialect="A",
                    peer="p",
                    status="UNAUTHENTICATED",
                    reason="Invalid signature",
                )
            )

    asyncio.run(make())
    database = str(tmp_path / "miner.db")
    status, out, err = run("show", "--database", database)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["1", "2", "3"]
    assert "\x1b" not in out
    assert "3 records in all" in err
    lines = run("show", "--database", database, "--since", "1h", "--kind", "key.", "--json")[1].splitlines()
    assert [json.loads(line)["details"]["grant_id"] for line in lines] == ["g1"]
    assert run("show", "--database", database, "--since", "yesterday")[0] == 2
