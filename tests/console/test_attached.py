"""The console against a real control server on a Unix socket, fed by real events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from textual.pilot import Pilot

from basilica_tui.app import ConsoleApp
from basilica_tui.link import connect_to_engine
from engine import events as ev
from engine.clock import SystemClock
from engine.control.actions import ActionTable
from engine.control.ring import LogRing
from engine.control.server import ControlServer
from engine.control.state import LiveState
from tests.console.screen import settle, text_of
from tests.console.world import ASSIGNED, NOW, miner_events, node_id


class Engine:
    """The part of an engine that a console sees."""

    def __init__(self, socket: Path) -> None:
        self.state = LiveState()
        self.logs = LogRing()
        self.ended: list[str] = []
        clock = SystemClock()
        actions = ActionTable(self.emit, clock)
        actions.register("session.end", self._end, help="end a session", danger=True)
        self.server = ControlServer(
            socket, self.state, clock=clock, logs=self.logs, actions=actions, instance="one", build="test"
        )
        for event in miner_events():
            self.emit(event)
        self.logs.add(NOW, "info", "door.authenticated", {"validator": ASSIGNED})

    def emit(self, event: ev.Event) -> None:
        self.server.publish(self.state.apply(event)) if hasattr(self, "server") else self.state.apply(event)

    async def _end(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report("removing keys")
        self.ended.append(str(args["hotkey"]))
        self.emit(ev.SessionEnded(at=NOW, validator_hotkey=ASSIGNED, reason="ended by the operator"))
        return {"message": "access is over"}


@contextlib.asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[None]:
    """The engine's server, for as long as the block runs."""
    engine.server.bind()
    task = asyncio.create_task(engine.server.serve())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(pilot: Pilot[int], text: str) -> None:
    """Wait until the screen says so; the test's own timeout is the limit."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    while text not in text_of(app):
        await asyncio.sleep(0.05)
        await settle(pilot)


def attach(socket: Path, *, read_only: bool = False) -> ConsoleApp:
    """A console as ``run_console`` makes it, without the terminal."""
    return ConsoleApp(socket, clock=SystemClock(), connect=connect_to_engine, read_only=read_only)


async def test_it_attaches_follows_acts_and_survives_a_restart(tmp_path: Path) -> None:
    """Snapshot, live changes, log lines, an action, a lost engine, and the next one on the same socket."""
    socket = tmp_path / "run" / "engine.sock"
    app = attach(socket)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "No engine answers")
        engine = Engine(socket)
        async with serving(engine):
            await until(pilot, "host key changed")
            engine.emit(
                ev.NodeStateChanged(at=NOW, node_id=node_id(5), old="healthy", new="unhealthy", reason="no route")
            )
            await until(pilot, "no route")
            await pilot.press("6")
            await until(pilot, "door.authenticated")
            engine.logs.add(NOW, "warning", "key.failed", {"node": "node-02"})
            await until(pilot, "key.failed")
            await pilot.press("3", "K", "y")
            await until(pilot, "access is over")
            await until(pilot, "ended by the operator" if app.size.width > 150 else "ended")
        assert engine.ended == [ASSIGNED]
        await until(pilot, "engine gone")
        assert "5G3q…MmbC" in text_of(app)
        async with serving(Engine(socket)):
            await until(pilot, "● live")


async def test_the_engine_refuses_what_a_read_only_console_may_not_do(tmp_path: Path) -> None:
    """Even a console that forgot to hide a key gets nowhere."""
    socket = tmp_path / "run" / "engine.sock"
    engine = Engine(socket)
    app = attach(socket, read_only=True)
    async with serving(engine), app.run_test(size=(120, 40)) as pilot:
        await until(pilot, "● live")
        app.read_only = False
        app.act("session.end", {"hotkey": ASSIGNED}, "end it")
        await until(pilot, "read-only session")
    assert engine.ended == []
