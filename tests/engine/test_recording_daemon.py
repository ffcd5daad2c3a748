"""Recordings of a real engine process: killed on the way, on a disk that is full, and shared without a name in them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from basilica_tui.replay import ReplayApp
from engine.clock import SystemClock
from engine.control.client import Snapshot
from engine.control.models import AlertView, NodeView
from engine.identity.node_ids import node_id_for
from engine.recording.player import Player
from engine.recording.reader import Recording, open_recording
from engine.recording.recorder import FLUSH_S
from tests.console.screen import text_of
from tests.faults.places import fill, need_root, small_disk
from tests.support.miner_subnet import OPERATOR_KEY, MinerSubnet, create_subnet
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(400)]
Nodes = Callable[..., NodeSshd]
LATE_S = 2.0
"""How much longer than it means to an engine on a loaded machine takes between two flushes."""


def checks(snapshot: Snapshot) -> int:
    return sum(n.checks_total for n in snapshot.views["nodes"].values() if isinstance(n, NodeView))


def until_checks(subnet: MinerSubnet, more: int) -> None:
    begin = checks(asyncio.run(subnet.snapshot()))
    asyncio.run(subnet.until(lambda s: checks(s) >= begin + more))


def logged(subnet: MinerSubnet) -> list[tuple[float, str]]:
    """Time and kind of what the event log of the engine's database has, which is written by another way."""
    place = next((subnet.root / "data").glob("*.events.db"))
    with sqlite3.connect(place) as database:
        return [
            (float(at), str(kind)) for at, kind in database.execute("SELECT at, kind FROM engine_events ORDER BY id")
        ]


def everything_in(recording: Recording) -> str:
    lines = [json.dumps(recording.keyframe(c)) for c in recording.chapters]
    lines += [json.dumps(r) for r in recording.all_records()]
    lines += [json.dumps(r) for c in recording.chapters for b in c.series for r in recording.records(c, b)]
    return "\n".join(lines)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "basilica_tui", *words], capture_output=True, text=True, check=False, timeout=100
    )


def test_a_killed_engine_loses_the_last_block_and_the_gap_is_shown(
    sshd_nodes: Nodes, tmp_path: Path, nursery: Nursery
) -> None:
    """Two lives with SIGKILL and a torn block between them open as one recording; only the last seconds are missing."""
    subnet = create_subnet(tmp_path, [sshd_nodes()], node_management={"health_check_interval": 0.5})
    subnet.nursery = nursery
    directory = tmp_path / "data" / "recording"
    subnet.start()
    try:
        subnet.settle()
        until_checks(subnet, 4)
        killed_at = time.time()
        subnet.kill()
        before = logged(subnet)
        torn = max(directory.glob("*.brec"))
        os.truncate(torn, torn.stat().st_size - 7)
        time.sleep(4.0)
        started_at = time.time()
        subnet.start()
        until_checks(subnet, 2)
    finally:
        subnet.stop()
    recording = open_recording(directory)
    told = [(float(str(r["at"])), str(r["kind"])) for r in recording.all_records()]
    first_life = {entry for entry in before if not entry[1].startswith("recording.")}
    lost = first_life - set(told)
    torn_at = max((at for at, _ in told if at < killed_at), default=0.0)
    # The torn block and what was not flushed yet: nothing of it is older than the last whole block.
    assert all(at >= torn_at - 0.5 for at, _ in lost), sorted(lost)[:3]
    assert killed_at - torn_at < 2 * (FLUSH_S + LATE_S)
    assert recording.damaged == 0
    assert [at for at, kind in told if kind == "engine.started"][1] >= started_at

    info = json.loads(command("record", "info", "--json", str(directory)).stdout)
    assert (info["damaged"], info["events"]) == (0, len(told))
    asyncio.run(_walk_over_the_gap(recording, directory, killed_at, started_at))
    recording.close()


async def _walk_over_the_gap(recording: Recording, directory: Path, killed_at: float, started_at: float) -> None:
    player = Player(recording, begins_at=killed_at - 4.0)
    app = ReplayApp(player, directory, clock=SystemClock())
    async with app.run_test(size=(120, 40)) as pilot:
        await app._replay.seek(started_at - 0.2)
        await pilot.pause(1.5)
        assert "no engine ran for" in text_of(app)
        assert app.store.nodes
        await app._replay.seek(recording.ends_at)
        await pilot.pause(1.5)
        assert "no engine ran for" not in text_of(app)
        assert [node.checks_total > 0 for node in app.store.nodes.values()] == [True]


def test_a_full_disk_pauses_the_recording_of_a_running_engine(
    sshd_nodes: Nodes, tmp_path: Path, nursery: Nursery
) -> None:
    """The engine goes on and says so; with room again it records, and what is on disk opens from end to end."""
    need_root("a small file system")
    place = tmp_path / "small"
    place.mkdir()
    with small_disk(place, 256):
        subnet = create_subnet(
            tmp_path, [sshd_nodes()], node_management={"health_check_interval": 0.5},
            recording={"directory": str(place / "recording"), "min_free": 0}, alerts={"check_interval": 0.5},
        )  # fmt: skip
        subnet.nursery = nursery
        subnet.start()
        try:
            subnet.settle()
            until_checks(subnet, 4)
            filler = fill(place)
            asyncio.run(subnet.until(_is_paused))
            until_checks(subnet, 4)
            filler.unlink()
            asyncio.run(subnet.until(lambda s: not _is_paused(s)))
            until_checks(subnet, 4)
        finally:
            subnet.stop()
        recording = open_recording(place / "recording")
        kinds = [str(r["kind"]) for r in recording.all_records()]
        assert recording.damaged == 0
        assert "recording.resumed" in kinds
        player = Player(recording)
        player.seek(recording.ends_at)
        assert [n.state for n in player.state.nodes.values()] == ["healthy"]
        recording.close()


def _is_paused(snapshot: Snapshot) -> bool:
    alerts = [a for a in snapshot.views["alerts"].values() if isinstance(a, AlertView)]
    return any(a.rule == "recording_paused" and a.active for a in alerts)


def _is_in_trouble(snapshot: Snapshot) -> bool:
    return any(isinstance(n, NodeView) and n.state != "healthy" for n in snapshot.views["nodes"].values())


def test_no_secret_of_a_real_world_is_in_its_export(sshd_nodes: Nodes, tmp_path: Path, nursery: Nursery) -> None:
    """After discoveries in both dialects, failures and an operator's acts nothing tells whose machines these are."""
    node, gone = sshd_nodes(), sshd_nodes()
    token = "hook-token-5f1c9a"
    subnet = create_subnet(
        tmp_path, [node, gone], node_management={"health_check_interval": 0.5},
        alerts={"urls": [f"http://127.0.0.1:9/{token}"], "check_interval": 0.5, "node_failing_after": 1},
        engine={"name": "acme-gpu-house", "socket": str(tmp_path / "s" / "engine.sock")},
    )  # fmt: skip
    subnet.nursery = nursery
    subnet.start()
    try:
        subnet.settle()
        asyncio.run(subnet.discover(subnet.validators[0], "B"))
        asyncio.run(subnet.discover(subnet.validators[0], "A"))
        first = next(iter(asyncio.run(subnet.snapshot()).views["nodes"]))
        asyncio.run(subnet.act("node.check", node_id=first))
        gone.stop()
        asyncio.run(subnet.until(_is_in_trouble))
        until_checks(subnet, 3)
    finally:
        subnet.stop()
    directory, target = tmp_path / "data" / "recording", tmp_path / "shared.brec"
    done = command("record", "export", "-o", str(target), str(directory))
    assert done.returncode == 0, done.stderr
    recording, shared = open_recording(directory), open_recording(target)
    original, public = everything_in(recording), everything_in(shared)
    packed = target.read_bytes().decode("latin-1")
    secrets = {
        "hotkeys": [subnet.miner.signer.hotkey, *(v.hotkey for v in subnet.validators)],
        "node ids": [node_id_for(n.username, n.host, n.port) for n in (node, gone)],
        "keys": [word for v in subnet.validators for word in (v.key.fingerprint, v.key.public_line.split()[1])],
        "operator": [OPERATOR_KEY.fingerprint, "acme-gpu-house"],
        "paths": [str(tmp_path), tmp_path.name, "/node_key", "chain.db"],
        "tokens": [token],
    }
    assert subnet.miner.signer.hotkey in original
    assert str(tmp_path) in original
    found = [(kind, word) for kind, words in secrets.items() for word in words if word in public or word in packed]
    assert found == []
    recording.close()
    shared.close()
