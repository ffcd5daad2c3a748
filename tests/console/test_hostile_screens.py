"""Hostile text on screens that do not live on the engine's views: ladders, other engines, recordings, places."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from basilica_tui.app import ConsoleApp
from basilica_tui.replay import ReplayApp
from basilica_tui.ways import Way
from engine import events as ev
from engine.clock import ManualClock
from engine.errors import EngineUnreachable
from engine.events import Event
from engine.recording.player import Player
from engine.recording.reader import open_recording
from tests.console import test_ssh_screen as ladders
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import rest, text_of
from tests.console.test_hostile import ATTACK, check_output, check_text, hostile_engine, overheard
from tests.console.test_replay import BEGIN, record
from tests.console.world import NOW, TestClient, TestEngine, checked, node_id

SIZES = [(80, 24), (120, 40)]


async def walk(app: ConsoleApp, keys: Sequence[str], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """Press keys (or run ``:commands``) and look at everything that comes of it; returns all that was seen."""
    seen = ""
    async with app.run_test(size=size) as pilot:
        written = overheard(app, monkeypatch)
        await rest(pilot)
        for key in keys:
            await _do(pilot, app, key)
            text = text_of(app)
            check_text(text, size[0], key)
            seen += text
        app.redraw()
        await rest(pilot)
        check_output(written, least=2000)
    return seen


async def _do(pilot: Pilot[int], app: ConsoleApp, key: str) -> None:
    if key.startswith(":"):
        app.run_command(key[1:])
    else:
        await pilot.press(key)
    await rest(pilot)


def attacked(value: object) -> Any:
    """The same shape with the attack in every text but the words that decide what is drawn."""
    if isinstance(value, Mapping):
        kept = {"verdict", "node_id", "check"}
        return {key: inner if key in kept else attacked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [attacked(inner) for inner in value]
    return ATTACK if isinstance(value, str) else value


@pytest.mark.parametrize("size", SIZES)
async def test_a_ladder_of_a_hostile_node_is_harmless(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """Evidence, causes and meanings come from the node."""
    rungs, summary = attacked(ladders.RUNGS), ladders.summary
    monkeypatch.setattr(ladders, "RUNGS", rungs)
    monkeypatch.setattr(ladders, "summary", lambda *args: attacked(summary(*args)))
    engine = hostile_engine()
    engine.verbs = frozenset({"ssh.check", "ssh.ladder", "ssh.plan", "ssh.fix", "node.check"})

    async def connect(path: Path, *, role: str) -> TestClient:
        client = await TestEngine.connect(engine, path, role=role)
        client.__class__ = ladders.ClimbingClient
        return client

    seen = await walk(make_app(connect=connect), ["5", "t", "j", "G", "z", "z", "f", "escape"], size, monkeypatch)
    assert "[red]A" in seen


@pytest.mark.parametrize("size", SIZES)
async def test_other_engines_cannot_draw(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """The overview shows what engines on other hosts say of themselves, and why one does not answer."""

    async def refused(path: Path, *, role: str) -> TestClient:
        raise EngineUnreachable(ATTACK, hint=ATTACK)

    bad = hostile_engine()
    ways = {"bad": Way("bad", Path("/run/bad.sock"), bad.connect), "far": Way("far", Path(ATTACK), refused)}
    app = make_app(ways=ways, connect=make_engine().connect)
    seen = await walk(app, ["0", "j", "d", "escape", "0", "G", "enter"], size, monkeypatch)
    assert "[red]A" in seen


@pytest.mark.parametrize("size", SIZES)
async def test_a_recording_from_somebody_else_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """Every event may be made up; all screens, plots and timelines of the replay stay ours."""
    world: list[Event] = [
        ev.EngineStarted(
            at=BEGIN + 1, role="miner", name=ATTACK, build=ATTACK, network=ATTACK, netuid=39, hotkey=ATTACK
        ),
        ev.NodeAdded(at=BEGIN + 1, node_id=node_id(1), label=ATTACK, host=ATTACK, port=22, username=ATTACK),
        *(checked(1, at=BEGIN + 60 * n) for n in range(1, 20)),
        ev.NodeStateChanged(at=BEGIN + 1000, node_id=node_id(1), old="healthy", new="unhealthy", reason=ATTACK),
        ev.AlertRaised(at=BEGIN + 1001, alert_id="a", level="error", subject=ATTACK, message=ATTACK, hint=ATTACK),
        ev.OperatorActed(at=BEGIN + 1002, actor=ATTACK, verb=ATTACK, target=ATTACK, outcome=ATTACK),
    ]
    recording = open_recording(record(tmp_path / "r", world))
    player = Player(recording, begins_at=BEGIN)
    player.seek(BEGIN + 1100)
    app = ReplayApp(player, tmp_path / ATTACK.replace("/", "").replace("\0", ""), clock=ManualClock(NOW))
    keys = ["E", "1", "2", "enter", "q", "P", "j", "q", "3", "4", "6", "7", "enter", "q", "question_mark", "q", ":info"]
    seen = await walk(app, keys, size, monkeypatch)
    recording.close()
    assert "[red]A" in seen
    await asyncio.sleep(0)


@pytest.mark.parametrize("size", SIZES)
async def test_places_told_by_an_engine_are_text(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """``:info`` shows paths as the engine's configuration has them."""
    engine = hostile_engine()
    engine.answers["config.show"] = {
        "path": ATTACK,
        "config": {"database": {"url": ATTACK}, "logging": {"file": ATTACK}},
        "sources": {"database.url": ATTACK},
    }
    seen = await walk(make_app(connect=engine.connect), [":info", "j", "escape"], size, monkeypatch)
    assert "[red]A" in seen
