"""A read-only console can do nothing at all: the engine refuses, whatever the console shows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.control.actions import ActionTable, Report
from engine.control.client import ControlClient
from engine.control.ring import LogRing
from engine.control.server import ControlServer
from engine.control.state import LiveState
from engine.errors import ControlRefused
from engine.events import Event, OperatorActed
from tests.support.registered import registered_actions


def test_the_code_registers_the_actions_that_operators_know() -> None:
    """The search finds them: those of both roles, and the dangerous ones as such."""
    found = registered_actions()
    assert {"session.end", "node.drain", "grant.revoke", "weights.set", "verify.now", "engine.stop"} <= found.keys()
    assert found["engine.stop"] and found["node.drain"] and not found["node.check"]
    assert len(found) >= 30


async def test_every_registered_action_is_refused_to_a_read_only_console(tmp_path: Path) -> None:
    """Over the real socket, each of them, with an entry in the audit; an operator's call of the same verb runs."""
    ran: list[str] = []
    told: list[OperatorActed] = []

    def note(event: Event) -> None:
        assert isinstance(event, OperatorActed)
        told.append(event)

    actions = ActionTable(note, SystemClock())

    def handler_of(verb: str) -> object:
        async def handler(args: Mapping[str, object], report: Report) -> Mapping[str, object]:
            ran.append(verb)
            return {}

        return handler

    verbs = registered_actions()
    for verb, danger in verbs.items():
        actions.register(verb, handler_of(verb), help="", danger=danger)  # type: ignore[arg-type]  # made above
    path = tmp_path / "run" / "engine.sock"
    server = ControlServer(
        path, LiveState(), clock=SystemClock(), logs=LogRing(10), actions=actions, instance="i", build="1"
    )
    server.bind()
    serving = asyncio.create_task(server.serve())
    visitor = await ControlClient.connect(path, role="read-only")
    operator = await ControlClient.connect(path)
    try:
        assert set(await visitor.actions()) == set(verbs)
        for verb in verbs:
            with pytest.raises(ControlRefused) as refusal:
                await visitor.act(verb, {"node_id": "a", "hotkey": "b"})
            assert refusal.value.reason == "read_only"
        assert ran == []
        assert [e.outcome for e in told] == ["refused: read_only"] * len(verbs)
        for verb in verbs:
            await operator.act(verb, {})
        assert ran == list(verbs)
    finally:
        await visitor.close()
        await operator.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
