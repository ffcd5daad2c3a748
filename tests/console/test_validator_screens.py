"""The validator's screens through the pilot: what waits and runs, a node's ladder, the vector, and setting it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from basilica_tui.panels.verification import Step, steps_of
from basilica_tui.show import render_show
from engine import events as ev
from engine.control.client import Snapshot
from engine.control.models import VerificationView
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import settle, text_of
from tests.console.world import MINER, NOW, TestEngine, busy_validator_events, node_id

SnapCompare = Callable[..., bool]
SIZES = [(80, 24), (120, 40)]


@pytest.fixture
def validator() -> TestEngine:
    engine = make_engine(role="validator")
    for event in busy_validator_events():
        engine.state.apply(event)
    engine.verbs = frozenset({"verify.now", "weights.set"})
    return engine


def pressing(*keys: str) -> Callable[[Pilot[int]], object]:
    async def prepare(pilot: Pilot[int]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return prepare


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    "keys",
    [("2",), ("3",), ("3", "enter"), ("4",), ("4", "W")],
    ids=["miners", "verifications", "ladder", "weights", "set-weights"],
)
def test_validator_screens_look_as_before(
    snap_compare: SnapCompare, make_app: MakeApp, validator: TestEngine, keys: tuple[str, ...], size: tuple[int, int]
) -> None:
    """Each at the two sizes it is designed for."""
    app = make_app(connect=validator.connect)
    assert snap_compare(app, terminal_size=size, run_before=pressing(*keys))


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
async def test_the_queue_and_what_runs_are_seen(
    make_app: MakeApp, validator: TestEngine, size: tuple[int, int]
) -> None:
    """The title counts them, the running node is on top with its progress, and its ladder grows while looked at."""
    app = make_app(connect=validator.connect)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        text = text_of(app)
        assert "queue 1" in text and "running 1" in text and "failed 1" in text
        assert "6/13" in text and "queued 50 s" in text
        await pilot.press("enter")
        await settle(pilot)
        assert "attestation" in text_of(app) and "7 steps to go" in text_of(app)
        validator.emit(
            ev.VerificationStepFinished(
                at=NOW, verification_id="v3", miner_hotkey=MINER, node_id=node_id(3), step="nat", verdict="ok",
                evidence="port 31000 answers from outside", duration_ms=900.0, position=6,
            )
        )  # fmt: skip
        app.flush()
        await settle(pilot)
        assert "port 31000 answers" in text_of(app) and "6 steps to go" in text_of(app)


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
async def test_weights_are_shown_and_set_after_a_dialog(
    make_app: MakeApp, validator: TestEngine, size: tuple[int, int]
) -> None:
    """Vector, burn, pools and the next block; W asks first, and only a yes reaches the engine."""
    app = make_app(connect=validator.connect)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("4")
        await settle(pilot)
        text = text_of(app)
        for words in ("4,812,180", "next in 307 blocks", "10.00 %", "40,000", "burn", "rents nothing out"):
            assert words in text, words
        await pilot.press("W")
        await settle(pilot)
        assert "Set weights now?" in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert validator.acted == []
        await pilot.press("W", "y")
        await settle(pilot)
        assert validator.acted == [("weights.set", {})]
        await pilot.press("T")
        await settle(pilot)
        assert validator.acted[-1] == ("verify.now", {})


async def test_a_visitor_may_not_set_weights(make_app: MakeApp, validator: TestEngine) -> None:
    """A read-only console says so and asks nothing."""
    app = make_app(connect=validator.connect, read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("4", "W", "T")
        await settle(pilot)
        assert "read-only" in text_of(app)
        assert validator.acted == []


async def test_a_failed_attempt_is_the_first_thing_to_fix(make_app: MakeApp, validator: TestEngine) -> None:
    """The dashboard and the weights screen say why."""
    validator.emit(
        ev.WeightsFailed(at=NOW, block=1, error_code="chain_refused", message="NotEnoughStake", retry_in_s=60.0)
    )
    app = make_app(connect=validator.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "NotEnoughStake" in text_of(app)
        await pilot.press("4")
        await settle(pilot)
        assert "last attempt failed: NotEnoughStake" in text_of(app)


@pytest.mark.parametrize(
    ("what", "words"),
    [("miners", "117"), ("verifications", "queued 50 s"), ("weights", "40,000")],
)
def test_the_same_is_text(validator: TestEngine, what: str, words: str) -> None:
    """``show`` prints each table, and JSON with every field."""
    views = {name: dict(rows) for name, rows in validator.state.collections().items()}
    snapshot = Snapshot(views=views, counters={}, at=NOW, log_seq=0)
    assert words in render_show(snapshot, what)
    assert render_show(snapshot, what, json=True).startswith("[\n  {")


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("gpu ok 12 8 x H100", Step("gpu", "ok", 12.0, "8 x H100")),
        ("gpu ok x y", Step("gpu", "ok", None, "y")),
        ("nat skipped 0 ", Step("nat", "skipped", 0.0, "")),
        ("gpu fine 12 x", None),
        ("", None),
    ],
)
def test_a_step_is_read_or_left_out(text: str, step: Step | None) -> None:
    """Text that is no step of ours is not drawn."""
    assert steps_of(VerificationView("n", steps=(text,))) == (() if step is None else (step,))
