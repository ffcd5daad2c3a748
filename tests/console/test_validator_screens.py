"""The validator's screens through the pilot: what waits and runs, a node's ladder, the vector, and setting it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from basilica_tui.format import Look
from basilica_tui.panels.formula import node_formula
from basilica_tui.panels.verification import Step, progress_words, steps_of, verification_lines
from basilica_tui.show import render_show
from basilica_tui.validator_tables import MINERS as MINERS_TABLE
from engine import events as ev
from engine.control.client import Snapshot
from engine.control.models import NodeView, VerificationView
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


async def test_help_begins_with_the_arithmetic_of_the_selected_uid(make_app: MakeApp, validator: TestEngine) -> None:
    """On the weights screen: the profile in force, each part, and what it is of the whole."""
    app = make_app(connect=validator.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for key in ("4", "question_mark"):
            await pilot.press(key)
            await settle(pilot)
        text = text_of(app)
        assert "WEIGHT OF UID" in text
        assert f"by {validator.state.engine.weights_profile}" in text
        assert f"of {validator.state.engine.weights_total:,}" in text


def test_a_score_is_explained_by_both_profiles_with_the_rows_numbers() -> None:
    """Documented numbers in full; the deployed score says what a miner cannot know; nothing known is a dash."""
    look = Look()
    known = NodeView(
        "n", label="gpu-01", gpu_count=8, ssh_success_percent=98.0, estimated_score=0.99, ramp_days=7.0,
        ramp_percent=50.0,
    )  # fmt: skip
    text = "\n".join("".join(part for part, _ in line) for line in node_formula(known, look))
    times = look.symbols.times
    for words in (
        "by documented", "by deployed-2025-10", f"0.5 {times} 0.980 + 0.5 {times} 1 = 0.990",
        "10,080 / 20,160 = 0.500", f"8 {times} 0.500 = 4.00", "no miner can",
    ):  # fmt: skip
        assert words in text
    empty = "\n".join("".join(part for part, _ in line) for line in node_formula(NodeView("n"), look))
    assert "None" not in empty
    assert look.symbols.dash in empty


def test_a_rented_node_says_so() -> None:
    """In the column of what happens to it, and with the rental's id in its record."""
    view = VerificationView("n", rental_id="r1", rented_since=NOW - 3600)
    look = Look(now=NOW)
    assert progress_words(view, look)[0].startswith("rented ")
    assert "r1" in "\n".join("".join(part for part, _ in line) for line in verification_lines(view, look))


def test_a_neuron_that_is_not_called_says_why() -> None:
    """Miners screen and ``show miners`` have the reason; it does not count as trouble or as a miner that answers."""
    state = make_engine(role="validator").state
    state.apply(ev.MinerSkipped(at=NOW, hotkey="5X", uid=9, endpoint="10.0.0.7:80", reason="an address behind NAT"))
    views = {name: dict(rows) for name, rows in state.collections().items()}
    snapshot = Snapshot(views=views, counters={}, at=NOW, log_seq=0)
    assert "not called" in render_show(snapshot, "miners")
    assert "behind NAT" in render_show(snapshot, "miners")
    view = state.miners["5X"]
    assert not MINERS_TABLE.is_problem(view)
    state.apply(ev.MinerDiscovered(at=NOW, hotkey="5X", uid=9, endpoint="203.0.113.7:80"))
    assert (view.state, view.last_error) == ("discovered", "")


LONG = "miner {hotkey} at 203.0.113.9:8091: the certificate of its axon names another host, and nobody vouches for it"


@pytest.mark.parametrize(("size", "room"), [((80, 24), 18), ((120, 40), 40)], ids=["80x24", "120x40"])
async def test_the_last_trouble_of_a_miner_can_be_read(
    make_app: MakeApp, validator: TestEngine, size: tuple[int, int], room: int
) -> None:
    """The column begins with what happened, not with the hotkey, has room, and the last line has all of it."""
    hotkey = "5F" + "z" * 46
    validator.emit(
        ev.MinerDiscovered(at=NOW - 90, hotkey=hotkey, uid=1, endpoint="203.0.113.9:8091"),
        ev.MinerFailed(at=NOW - 60, hotkey=hotkey, uid=1, stage="discovery", error_code="miner_unreachable",
                       message=LONG.format(hotkey=hotkey)),
    )  # fmt: skip
    app = make_app(connect=validator.connect)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        *rows, words, _footer = [line for line in text_of(app).splitlines() if line.strip()]
        row = next(line for line in rows if "5Fzz" in line)
        shown = row[row.index("1 min") :].rstrip()
        assert len(shown) >= room and shown.startswith("1 min the certificate")
        assert words.startswith(" uid 1 1 min the certificate of its axon names another host, and nobody vouches")
        await pilot.press("j")
        await settle(pilot)
        assert "the certificate" not in [line for line in text_of(app).splitlines() if line.strip()][-2]


async def test_the_message_of_a_verification_is_there_in_full(make_app: MakeApp, validator: TestEngine) -> None:
    """Below the table, for the selected row."""
    app = make_app(connect=validator.connect)
    failed = next(v for v in validator.state.verifications.values() if v.state == "failed")
    failed.message = "step docker_gpu: " + "the container lists other GPUs than the host, twice over"
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        for _ in range(len(validator.state.verifications)):
            await settle(pilot)
            if failed.message in text_of(app):
                break
            await pilot.press("j")
        assert failed.message in text_of(app)


async def test_one_verification_has_the_keys_of_its_row(make_app: MakeApp, validator: TestEngine) -> None:
    """Its log lines, its place in the tree, the next round: nobody has to go back to the table for them."""
    validator.verbs = frozenset({"verify.now"})
    app = make_app(connect=validator.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for key, words in (("L", "LOG"), ("u", "TREE"), ("y", "node id sent")):
            await pilot.press("3", "enter")
            await settle(pilot)
            assert "T verify now" in text_of(app)
            await pilot.press(key)
            await settle(pilot)
            assert words in text_of(app)
        await pilot.press("T")
        await settle(pilot)
    assert [verb for verb, _ in validator.acted] == ["verify.now"]


async def test_a_rental_is_noted_and_ended_from_its_row(make_app: MakeApp, validator: TestEngine) -> None:
    """Both ask first and name the node; typed, a rental's own id or the node's does as well."""
    validator.verbs = frozenset({"rental.begin", "rental.end"})
    view = min(validator.state.verifications.values(), key=lambda v: v.node_id)
    app = make_app(connect=validator.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("3", "g")
        await settle(pilot)
        row = app.screen.table.cursor_id  # type: ignore[attr-defined]
        await pilot.press("x", "enter")
        await settle(pilot)
        assert "Note the rental of" in text_of(app) and validator.acted == []
        assert f"of the miner uid {view.miner_uid}, {view.miner_hotkey}" in text_of(app)
        await pilot.press("y")
        await settle(pilot)
        assert validator.acted == [("rental.begin", {"place": row})]
        view.rental_id, view.rented_since = "order-7", NOW - 60
        validator.emit(
            ev.RentalBegan(at=NOW - 60, rental_id="order-7", miner_hotkey=view.miner_hotkey, node_id=view.node_id)
        )
        app.flush()
        for words in ("rental.end order-7", f"rental.end {view.node_id}"):
            await pilot.press("colon", *words, "enter")
            await settle(pilot)
            assert "which works its GPUs" in text_of(app)
            await pilot.press("y")
            await settle(pilot)
            assert validator.acted[-1] == ("rental.end", {"place": view.id})
        await pilot.press("colon", *f"rental.end {view.node_id} reason=over", "enter")
        await settle(pilot)
        assert "reason: over" in text_of(app)
        await pilot.press("y")
        await settle(pilot)
        assert validator.acted[-1] == ("rental.end", {"place": view.id, "reason": "over"})
