"""``/health`` on its own port: the document's fields, and 503 with the check that is not well."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.control.models import NodeView, ServiceView, SessionView
from engine.control.state import LiveState
from engine.events import ChainFailed
from engine.observe.http import health_app, listen, serve


@dataclass
class Health:
    """A healthy miner's state with two nodes, behind a health port."""

    state: LiveState
    port: int

    async def ask(self, verb: str = "GET", path: str = "/health") -> tuple[int, Any]:
        """Status, and the document if there is one."""

        def ask() -> tuple[int, Any]:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                connection.request(verb, path)
                answer = connection.getresponse()
                is_json = answer.headers["content-type"] == "application/json"
                return answer.status, json.loads(answer.read()) if is_json else None

        return await asyncio.to_thread(ask)


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    state = LiveState()
    for name in ("n1", "n2"):
        state.nodes[name] = NodeView(id=name, label=name, state="healthy")
    state.sessions["5V"] = SessionView(id="5V", hotkey="5V", state="active")
    state.sessions["5W"] = SessionView(id="5W", hotkey="5W", state="ended")
    state.services["door"] = ServiceView(id="door", state="running")
    listener = listen("health", "127.0.0.1", 0)
    serving = asyncio.create_task(serve(health_app(state), listener))
    yield Health(state, listener.getsockname()[1])
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    listener.close()


async def test_a_healthy_miner(health: Health) -> None:
    """200, and the five fields with what is true; no other path, no other verb."""
    status, document = await health.ask()
    assert status == 200
    said_at = datetime.fromisoformat(document.pop("timestamp"))
    assert abs((datetime.now(UTC) - said_at).total_seconds()) < 60
    assert document == {
        "status": "healthy",
        "nodes": 2,
        "active_sessions": 1,
        "checks": {"services": "ok", "chain": "ok", "nodes": "ok"},
    }
    assert [(await health.ask(path="/"))[0], (await health.ask("POST"))[0]] == [404, 405]


@pytest.mark.parametrize(
    ("wrong", "check", "verdict"),
    [
        ("service", "services", "restarting: door"),
        ("chain", "chain", "unavailable"),
        ("unhealthy", "nodes", "1 of 2 not healthy"),
        ("stopped", "nodes", "1 of 2 not healthy"),
    ],
)
async def test_a_degraded_miner(health: Health, wrong: str, check: str, verdict: str) -> None:
    """503, ``degraded``, and the one check that is not well says why; well again, it is 200 again."""
    state = health.state
    if wrong == "service":
        state.services["door"].state = "restarting"
    elif wrong == "chain":
        state.engine.chain_error = "no route to host"
    else:
        state.nodes["n1"].state = wrong
    status, document = await health.ask()
    assert (status, document["status"]) == (503, "degraded")
    assert {name: said for name, said in document["checks"].items() if said != "ok"} == {check: verdict}
    state.services["door"].state, state.engine.chain_error, state.nodes["n1"].state = "running", "", "healthy"
    assert (await health.ask())[0] == 200


@pytest.mark.parametrize("operation", ["serve_axon", "weights"])
async def test_a_chain_that_refuses_a_call_is_no_chain_that_cannot_be_read(health: Health, operation: str) -> None:
    """The serving rate limit, or weights that are not told, degrade nothing: the metagraph is read."""
    health.state.apply(ChainFailed(at=1.0, operation=operation, error="rate limit", metagraph_age_s=None))
    assert (await health.ask())[0] == 200
    health.state.apply(ChainFailed(at=1.0, operation="metagraph", error="no route", metagraph_age_s=4.0))
    assert (await health.ask())[0] == 503


async def test_a_drained_node_degrades_nothing(health: Health) -> None:
    """A node that its operator works on may fail."""
    state = health.state
    state.nodes["n1"].state, state.nodes["n1"].drained_since = "unhealthy", 1.0
    assert (await health.ask())[0] == 200
