"""The SSH check by keyboard: climb, see what decided, see the plan before it runs, copy the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from textual.pilot import Pilot

from basilica_tui.format import Look
from basilica_tui.lines import plain
from basilica_tui.show import render_ssh_check
from basilica_tui.ssh_table import ladder_lines, report_text, row_of_progress, rungs_of
from basilica_tui.symbols import UNICODE
from engine.errors import ControlRefused
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import settle, text_of
from tests.console.test_attached import until
from tests.console.world import TestClient, TestEngine, node_id

RUNGS = [
    {"check": "node.resolve", "title": "The name has an address", "verdict": "ok", "evidence": ["10.0.0.1"]},
    {"check": "node.tcp", "title": "The port answers", "verdict": "ok", "evidence": []},
    {
        "check": "node.auth", "title": "The key opens the account", "verdict": "failed", "cause": "key_not_there",
        "evidence": ["publickey refused\x1b[2J"], "cause_words": "the key is not in authorized_keys",
        "fixes": ["node_authorize"], "meaning": "the node earns nothing",
    },
    {"check": "node.shell", "title": "A shell answers", "verdict": "skipped", "reason": "node.auth failed first"},
]  # fmt: skip


def summary(node: str, verdict: str = "failed") -> dict[str, object]:
    return {
        "node_id": node, "label": "x", "at": 0.0, "verdict": verdict, "check": "node.auth", "title": "t",
        "cause": "the key is not in authorized_keys", "fix": "node_authorize", "findings": 1, "passed": 2, "rungs": 4,
    }  # fmt: skip


class ClimbingClient(TestClient):
    """An engine that knows ladders."""

    async def act(
        self,
        verb: str,
        args: Mapping[str, object],
        *,
        key: str | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Mapping[str, object]:
        self._engine.acted.append((verb, dict(args)))
        nodes = [str(args["node_id"])] if "node_id" in args else [node_id(n) for n in range(1, 7)]
        if verb == "ssh.check":
            for node in nodes if on_progress else ():
                assert on_progress is not None
                on_progress(json.dumps(summary(node) | {"done": 1, "total": 1}))
            return {"message": f"{len(nodes)} checked", "nodes": [summary(node) for node in nodes]}
        if verb == "ssh.ladder":
            return {"rungs": RUNGS}
        if verb == "ssh.plan":
            if self._engine.verbs and "needs-admin" in self._engine.verbs:
                return {"fix": "node_create_user", "title": "create the account", "text": "1. useradd", "account": "",
                        "needs_admin": True, "needs_password": False, "is_reversible": True}  # fmt: skip
            if self._engine.verbs and "needs-password" in self._engine.verbs:
                return {"fix": "node_authorize", "title": "add the key", "text": "1. append one line",
                        "account": "basilica", "needs_admin": False, "needs_password": True,
                        "is_reversible": True}  # fmt: skip
            return {"fix": "node_authorize", "title": "add the key", "text": "1. append one line", "needs_admin": False,
                    "is_reversible": True}  # fmt: skip
        return {"message": "repaired"}


@pytest.fixture
def engine() -> TestEngine:
    """Six nodes, and the verbs of the ladder."""
    made = make_engine()
    made.verbs = frozenset({"ssh.check", "ssh.ladder", "ssh.plan", "ssh.fix", "node.check"})

    async def connect(path: Path, *, role: str) -> TestClient:
        client = await TestEngine.connect(made, path, role=role)
        client.__class__ = ClimbingClient
        return client

    made.connect = connect  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_one_node_is_climbed_and_repaired(make_app: MakeApp, engine: TestEngine, size: tuple[int, int]) -> None:
    """t climbs; cause, evidence and fix are in view; F shows the plan and does it only after a yes."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("5")
        await settle(pilot)
        assert "not checked" in text_of(app)
        await pilot.press("t")
        await settle(pilot)
        await settle(pilot)
        shown = text_of(app)
        assert "the key is not in authorized_keys" in shown
        assert "publickey refused" in shown
        assert "\x1b[2J" not in shown
        assert "resolve" in shown
        assert "not looked at (node.auth failed first)" in shown
        await pilot.press("F")
        await settle(pilot)
        assert "append one line" in text_of(app)
        assert "ssh.fix" not in [verb for verb, _ in engine.acted]
        await pilot.press("escape")
        await settle(pilot)
        assert "ssh.fix" not in [verb for verb, _ in engine.acted]
        await pilot.press("F")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        await settle(pilot)
        fixed = [args for verb, args in engine.acted if verb == "ssh.fix"]
        assert [args["fix"] for args in fixed] == ["node_authorize"]
        assert [verb for verb, _ in engine.acted].count("ssh.check") == 2  # checked again after the repair


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("keys", [("5", "t"), ("5", "t", "F")], ids=["ladder", "login"])
def test_it_looks_as_before(
    snap_compare: Callable[..., bool],
    make_app: MakeApp,
    engine: TestEngine,
    size: tuple[int, int],
    keys: tuple[str, ...],
) -> None:
    """One node that was climbed, and the dialog that asks for an administrator's login."""
    engine.verbs = (engine.verbs or frozenset()) | {"needs-admin"}

    async def prepare(pilot: Pilot[int]) -> None:
        for key in keys:
            await settle(pilot)
            await pilot.press(key)
        await settle(pilot)
        await settle(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=prepare)


async def test_all_nodes_at_once_and_the_whole_ladder(make_app: MakeApp, engine: TestEngine) -> None:
    """T climbs all with one question; enter opens every rung of one node; esc comes back."""
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("5", "T")
        await settle(pilot)
        await settle(pilot)
        assert [args for verb, args in engine.acted if verb == "ssh.check"] == [{}]
        assert "6 checked" in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "The name has an address" in text_of(app)
        assert "10.0.0.1" in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "SSH CHECK" in text_of(app)


async def test_a_visitor_looks_and_changes_nothing(make_app: MakeApp, engine: TestEngine) -> None:
    """Read-only: no key here asks the engine for anything."""
    app = make_app(read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("5", "t", "T", "F", "enter")
        await settle(pilot)
        assert [verb for verb, _ in engine.acted if verb.startswith("ssh.")] == []


async def test_setup_opens_over_the_console(make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """9 shows the wizard; its letters are not the console's keys; ctrl+q comes back to the console."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("9")
        await until(pilot, "basilica-tui setup")
        await pilot.press("q", "2")
        await settle(pilot)
        assert "basilica-tui setup" in text_of(app)
        await pilot.press("ctrl+q")
        await until(pilot, "FIX FIRST")


def test_the_check_is_also_text() -> None:
    """``show ssh-check``: a row per node, the ladders with findings below; JSON has every rung; nothing obeys."""
    nodes, ladders = [summary("n1"), summary("n2", "ok") | {"findings": 0}], {"n1": {"rungs": RUNGS}}
    text = render_ssh_check(nodes, ladders, width=100)
    assert text.count("the key is not in authorized_keys") >= 2
    assert "\x1b" not in text
    assert json.loads(render_ssh_check(nodes, ladders, json=True))[0]["ladder"] == RUNGS
    assert render_ssh_check([], {}) == "no node is configured\n"


def test_ladders_read_well_in_text() -> None:
    """Findings come first with cause, evidence, cost and fix; a report for pasting names each rung."""
    rungs = rungs_of({"rungs": [*RUNGS, "nonsense"]})
    lines = [plain(line) for line in ladder_lines(rungs, Look(0.0, UNICODE), 80)]
    assert "The key opens the account" in lines[0]
    assert [word for word in ("cause", "seen", "costs", "fix") if any(word in line for line in lines)] == [
        "cause", "seen", "costs", "fix"]  # fmt: skip
    assert "node.auth" in report_text("n", rungs)
    assert len(report_text("n", rungs).splitlines()) == 6
    assert row_of_progress("working") is None
    assert row_of_progress('{"node_id": 3}') is None
    assert rungs_of({}) == ()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_repair_by_an_administrator_asks_for_the_login_once(
    make_app: MakeApp, engine: TestEngine, size: tuple[int, int]
) -> None:
    """F asks for name and password, looks again as the administrator, shows the plan, and hands the password on."""
    engine.verbs = (engine.verbs or frozenset()) | {"needs-admin"}
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("5", "t")
        await settle(pilot)
        await settle(pilot)
        await pilot.press("F")
        await settle(pilot)
        assert "administrator" in text_of(app)
        await pilot.press(*"se cret".replace(" ", ""))
        assert "secret" not in text_of(app)
        await pilot.press("shift+tab", "ctrl+u", *"ops", "enter", "enter")
        await settle(pilot)
        await settle(pilot)
        assert "1. useradd" in text_of(app)
        checks = [args for verb, args in engine.acted if verb == "ssh.check"]
        assert checks[-1] == {"node_id": node_id(1), "admin": "ops", "password": "secret"}
        assert [args.get("password", "") for verb, args in engine.acted if verb == "ssh.plan"] == ["", ""]
        await pilot.press("y")
        await settle(pilot)
        await settle(pilot)
        (fixed,) = [args for verb, args in engine.acted if verb == "ssh.fix"]
        assert (fixed["admin"], fixed["password"], fixed["fix"]) == ("ops", "secret", "node_create_user")


async def test_the_accounts_own_password_is_enough_for_its_key(make_app: MakeApp, engine: TestEngine) -> None:
    """Without a name the password is the account's, as for ssh-copy-id; esc asks nothing of the engine."""
    engine.verbs = (engine.verbs or frozenset()) | {"needs-password"}
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("5", "t")
        await settle(pilot)
        await settle(pilot)
        await pilot.press("F")
        await settle(pilot)
        assert "empty: basilica itself" in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "ssh.fix" not in [verb for verb, _ in engine.acted]
        await pilot.press("F")
        await settle(pilot)
        await pilot.press("enter", *"secret", "enter")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        await settle(pilot)
        (fixed,) = [args for verb, args in engine.acted if verb == "ssh.fix"]
        assert (fixed["admin"], fixed["password"]) == ("", "secret")


async def test_nothing_is_said_of_nodes_before_the_engine_answered(make_app: MakeApp) -> None:
    """A console that never reached its engine does not know that it has no nodes."""

    async def nobody(path: Path, *, role: str) -> TestClient:
        raise ControlRefused("nobody listens", reason="refused")

    for connect, told, not_told in (
        (nobody, "Nothing is known yet.", "No node is configured."),
        (TestEngine().connect, "No node is configured.", "Nothing is known yet."),
    ):
        app = make_app(connect=connect)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await pilot.press("5")
            await settle(pilot)
            shown = text_of(app)
            assert (told in shown, not_told in shown) == (True, False)
