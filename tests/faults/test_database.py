"""The miner's own disk and database: full, damaged, locked, read-only, newer, and taken away while in use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from engine.errors import ControlRefused
from tests.faults.common import OPEN, discover, end_session, eventually, ready, try_discover
from tests.faults.conftest import FAULTS, Subnets
from tests.faults.observe import Baseline, await_event, database, grant_rows, integrity, open_rows, our_lines
from tests.faults.places import fill, small_disk
from tests.faults.test_socket import second_engine
from tests.support.miner_subnet import ssh_login
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


@pytest.mark.fault(39)
def test_the_miners_disk_is_full(sshd_nodes: Nodes, subnets: Subnets, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No new grant without its row; what exists can still be revoked and its key removed; with room all goes on."""
    node = sshd_nodes()
    with small_disk(tmp_path_factory.mktemp("disk") / "data", 6144) as disk:
        subnet = subnets(
            [node],
            database={"url": f"sqlite:{disk / 'miner.db'}"},
            validator_assignment=OPEN,
            access={"reconcile_interval": 1},
        )
        (subnet.root / "data").symlink_to(disk)
        baseline = Baseline(subnet)
        subnet.start()
        ready(subnet)
        discover(subnet)
        (line,) = our_lines(node)
        stuffing = fill(disk)

        for _ in range(3):
            try_discover(subnet)
        assert end_session(subnet)["keys_left"] == 0  # with the space of the ballast
        assert our_lines(node) == []
        for _ in range(3):
            try_discover(subnet)
            fill(disk)  # now even that is gone
            with contextlib.suppress(ControlRefused):
                end_session(subnet)
        rows = {row.id: row for row in grant_rows(subnet)}
        assert {one.grant_id for one in our_lines(node)} <= set(rows)
        assert all(one.expires_at_unix <= rows[one.grant_id].expires_at for one in our_lines(node))
        assert baseline.violations() == []
        asyncio.run(subnet.snapshot())
        stuffing.unlink()
        (disk / "stuffing").unlink(missing_ok=True)
        try_discover(subnet)
        eventually(lambda: end_session(subnet)["keys_left"] == 0, what="revocation with room")
        eventually(lambda: our_lines(node) == [], what="removal with room")
        assert discover(subnet) == {node.port}
        assert line.grant_id not in {one.grant_id for one in our_lines(node)}
        assert subnet.stop() == 0
        assert integrity(subnet) == []
        assert baseline.violations() == []


@pytest.mark.fault(40)
def test_damaged_read_only_newer(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A damaged, foreign or newer database is refused in words and left as it is; nodes keep their own end."""
    node = sshd_nodes()
    subnet = subnets([node], access={"session_lifetime": 900}, validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    discover(subnet)
    assert subnet.stop() == 0
    file = database(subnet)
    sound, lines = file.read_bytes(), node.keys()
    page = random.Random(1).randbytes(4096)
    for name, content in {
        "a page overwritten": sound[:8192] + page + sound[12288:],
        "cut": sound[: len(sound) // 2],
        "not a database": b"hello" * 4096,
    }.items():
        file.write_bytes(content)
        attempt = second_engine(subnet)
        assert attempt.returncode == 1, name
        assert "miner.db" in attempt.stderr and "Traceback" not in attempt.stderr, name
        assert file.read_bytes() == content, name
    file.write_bytes(sound)
    with closing(sqlite3.connect(file)) as connection:
        (table,) = connection.execute("select name from sqlite_master where name like '%version%'").fetchone()
        (old,) = connection.execute(f"select version_num from {table}").fetchone()
        connection.execute(f"update {table} set version_num = '9999_from_the_future'")
        connection.commit()
        attempt = second_engine(subnet)
        assert attempt.returncode == 1 and "newer" in attempt.stderr, attempt.stderr
        connection.execute(f"update {table} set version_num = ?", (old,))
        connection.commit()
    assert node.keys() == lines
    subnet.start()
    ready(subnet)
    assert [row.id for row in open_rows(subnet)] == [line.grant_id for line in our_lines(node)]


@pytest.mark.fault(40)
def test_the_write_ahead_log_is_cut(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Killed, then its journal cut at random: the engine starts, and node and rows agree again on their own."""
    node = sshd_nodes()
    subnet = subnets([node], access={"session_lifetime": 5, "reconcile_interval": 1}, validator_assignment=OPEN)
    baseline = Baseline(subnet)
    dice = random.Random(3)
    for _ in range(3):
        subnet.start()
        ready(subnet)
        discover(subnet)
        subnet.kill()
        journal = database(subnet).with_name("miner.db-wal")
        if journal.exists():
            size = journal.stat().st_size
            os.truncate(journal, dice.randrange(size) if size else 0)
    subnet.start()
    ready(subnet)
    eventually(lambda: our_lines(node) == [], what="lines of forgotten rows go at their end")
    eventually(lambda: open_rows(subnet) == [], what="rows closed")
    assert ssh_login(node, subnet.validators[0].key_path).returncode == 255
    assert integrity(subnet) == []
    assert baseline.violations() == []


@pytest.mark.fault(40)
@pytest.mark.skipif(FAULTS != "full", reason="waits a minute for the engine's file check: FAULTS=full")
@pytest.mark.timeout(600)
def test_the_database_is_deleted_under_the_engine(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Within about a minute the engine notices and stops with a reason; the next start works from the nodes."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    subnet.start()
    ready(subnet)
    discover(subnet)

    database(subnet).unlink()

    assert subnet._process is not None
    assert subnet._process.wait(90) == 1
    assert "deleted or replaced" in subnet.log()
    assert len(our_lines(node)) == 1


@pytest.mark.fault(41)
def test_another_program_locks_the_database(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """While a shell holds the write lock nothing is granted without a row and nothing hangs; afterwards all goes on."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment=OPEN)
    baseline = Baseline(subnet)
    subnet.start()
    ready(subnet)
    with closing(sqlite3.connect(database(subnet), isolation_level=None)) as shell:
        shell.execute("begin immediate")
        began = time.monotonic()
        assert try_discover(subnet) is not None
        assert time.monotonic() - began < 60
        assert our_lines(node) == []
        asyncio.run(subnet.snapshot())
        with contextlib.suppress(sqlite3.OperationalError):
            shell.execute("rollback")
    assert grant_rows(subnet) == [] or all(row.deployed_exp is None for row in grant_rows(subnet))
    time.sleep(0.5)
    alive = subnet._process is not None and subnet._process.poll() is None
    assert alive, f"a lock of another program ended the engine: {subnet.log()[-800:]}"
    assert discover(subnet) == {node.port}
    await_event(subnet, "door.refused", status="UNAVAILABLE")
    assert baseline.violations() == []
