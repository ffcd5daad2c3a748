"""f on the dashboard: the doctor looks, its plan is shown, and only after a yes exactly that is run."""

from __future__ import annotations

from typing import Any

import pytest

from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.repair import worst_finding
from engine import events as ev
from tests.console.conftest import MakeApp
from tests.console.screen import settle, text_of
from tests.console.world import NOW, TestEngine, node_id

VERBS = frozenset({"doctor.run", "doctor.plan", "doctor.fix", "node.check"})
PLAN = {"fix": "node.modes", "plan": "chmod 700 ~/.ssh\nchmod 600 ~/.ssh/authorized_keys", "consent": "c0ffee",
        "reversible": True, "needs_admin": False}  # fmt: skip


def report(*rows: dict[str, Any]) -> dict[str, object]:
    return {"report": {"results": list(rows)}}


def row(check: str, verdict: str = "failed", *fixes: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "node": node_id(5), "verdict": verdict, "fixes": list(fixes), **more}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([row("node.auth", "ok")], None),
        ([row("node.sshd", "warning", "a"), row("node.home", "failed", "b")], "node.home"),
        ([row("node.home", "failed", "b"), row("node.auth", "warning", "a")], "node.auth"),
        ([row("node.disk"), row("node.home", "failed", "b")], "node.home"),
        ([{**row("node.home", "failed", "b"), "node": "another"}], None),
        ("nonsense", None),
    ],
)
def test_what_was_asked_about_is_repaired_first(rows: Any, found: str | None) -> None:
    """Then what failed, then what can be repaired at all; other nodes and other shapes are none of it."""
    answer: dict[str, object] = {"report": {"results": rows}}
    result = worst_finding(answer, "node.auth", node_id(5))
    assert (result["check"] if result else None) == found


def failing(engine: TestEngine) -> None:
    """Node 5, which is at full ramp, fails; the changed host key of node 2 is dealt with."""
    engine.verbs = VERBS
    engine.state.nodes.pop(node_id(2))
    engine.emit(
        ev.NodeStateChanged(at=NOW - 60, node_id=node_id(5), old="healthy", new="unhealthy", reason="login refused")
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_plan_is_shown_before_anything_is_done(
    make_app: MakeApp, engine: TestEngine, size: tuple[int, int]
) -> None:
    """Examine, plan, dialog; a yes sends the consent for exactly that plan, esc sends nothing."""
    failing(engine)
    engine.answers |= {"doctor.run": report(row("node.home", "failed", "node.modes")), "doctor.plan": PLAN}
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "node-05" in text_of(app).split("FIX FIRST")[1].splitlines()[1]
        for answer, verbs in (("escape", []), ("y", ["doctor.fix"])):
            engine.acted.clear()
            await pilot.press("f")
            await settle(pilot)
            assert isinstance(app.screen, Confirm)
            assert "chmod 600 ~/.ssh/authorized_keys" in text_of(app)
            await pilot.press(answer)
            await settle(pilot)
            assert [verb for verb, _ in engine.acted] == ["doctor.run", "doctor.plan", *verbs]
        assert engine.acted[-1][1] == {"check": "node.home", "node_id": node_id(5), "consent": "c0ffee"}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"doctor.run": report()}, "finds nothing wrong now"),
        (
            {"doctor.run": report(row("node.disk", cause_words="the disk is full", advice="free some space"))},
            "the disk is full; free some space",
        ),
        (
            {"doctor.run": report(row("node.home", "failed", "x")), "doctor.plan": {**PLAN, "needs_admin": True}},
            "basilica-tui doctor --node node-05",
        ),
    ],
)
async def test_where_nothing_can_be_run_it_says_what_to_do(
    make_app: MakeApp, engine: TestEngine, answers: dict[str, dict[str, object]], words: str
) -> None:
    """Nothing wrong any more, nothing that repairs it, or a login that the engine does not have."""
    failing(engine)
    engine.answers |= answers
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("f")
        await settle(pilot)
        assert words in text_of(app)
        assert not isinstance(app.screen, Confirm)
        assert "doctor.fix" not in [verb for verb, _ in engine.acted]


async def test_an_engine_without_a_doctor_and_a_visitor_are_told(make_app: MakeApp, engine: TestEngine) -> None:
    """Neither asks the engine for anything."""
    failing(engine)
    engine.verbs = frozenset({"node.check"})
    for read_only, words in ((False, "basilica-tui doctor --fix"), (True, "read-only")):
        app = make_app(read_only=read_only)
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            await pilot.press("f")
            await settle(pilot)
            assert words in text_of(app)
            assert engine.acted == []
