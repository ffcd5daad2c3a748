"""A console on a test engine with a clock that stands still."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["TEXTUAL_ANIMATIONS"] = "none"

from basilica_tui.app import ConsoleApp
from engine.clock import ManualClock
from tests.console.world import NOW, TestEngine, miner_events, some_logs, validator_events

MakeApp = Callable[..., ConsoleApp]


@pytest.fixture(autouse=True)
def fixed_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, and no terminal variable of the host reaches a test."""
    monkeypatch.setenv("TZ", "UTC")
    for name in ("TMUX", "NO_COLOR", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def clock() -> ManualClock:
    """Stands at the test world's now."""
    return ManualClock(NOW)


@pytest.fixture
def engine() -> TestEngine:
    """A miner with six nodes and some log."""
    return make_engine()


@pytest.fixture
def make_app(engine: TestEngine, clock: ManualClock) -> MakeApp:
    """Builds a console attached to ``engine``."""

    def build(**options: object) -> ConsoleApp:
        settings: dict[str, object] = {"clock": clock, "connect": engine.connect, **options}
        return ConsoleApp(Path("/run/basilica/test/engine.sock"), **settings)  # type: ignore[arg-type]

    return build


def make_engine(nodes: int = 6, *, role: str = "miner", with_ramp: bool = False) -> TestEngine:
    """A test engine with a folded world."""
    engine = TestEngine(log_lines=some_logs())
    for event in miner_events(nodes, with_ramp=with_ramp) if role == "miner" else validator_events():
        engine.state.apply(event)
    return engine
