"""The console through its keys, by what it shows."""

from __future__ import annotations

import pytest

from basilica_tui.bindings import BINDINGS
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.help import HelpScreen
from basilica_tui.screens.node_detail import NodeScreen
from engine.clock import ManualClock
from engine.control.models import LogRecord
from engine.events import ChainFailed, HostKeyAccepted, NodeAdded, NodeRemoved, NodeStateChanged
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import settle, table_screen, text_of
from tests.console.world import ASSIGNED, NOW, TestEngine, checked, node_id, some_logs

SIZES = [(80, 24), (120, 40)]


@pytest.mark.parametrize("size", SIZES)
async def test_the_first_glance_answers_the_five_questions(make_app: MakeApp, size: tuple[int, int]) -> None:
    """Reach, nodes by state, who is inside, ramp in words, and what to fix first."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        shown = text_of(app)
    assert "validators reach you" in shown
    assert "4 healthy" in shown
    assert "sessions 1 of 2" in shown
    assert "not known yet" in shown
    first = next(line for line in shown.splitlines() if "node-02" in line)
    assert "host key changed 14 min ago; traffic stopped" in first


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (200, 60)])
async def test_every_screen_draws_at_every_size(make_app: MakeApp, size: tuple[int, int]) -> None:
    """No size is too small to show something, and no line is wider than the terminal."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        for key in ("1", "2", "3", "4", "6", "7", "8", "question_mark"):
            await pilot.press(key)
            await settle(pilot)
            lines = text_of(app).splitlines()
            assert len(lines) == size[1]
            assert any(line.strip() for line in lines[1:-1])


async def test_digits_lead_to_screens(make_app: MakeApp) -> None:
    """And minus to the one before."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for key, title in (("2", " NODES 6"), ("3", " SESSIONS 2"), ("6", " LOG 40"), ("7", " ALERTS 2")):
            await pilot.press(key)
            await settle(pilot)
            assert title in text_of(app)
        await pilot.press("5")
        await settle(pilot)
        assert " SSH CHECK 6" in text_of(app)
        await pilot.press("minus")
        await settle(pilot)
        assert " ALERTS 2" in text_of(app)


async def test_q_goes_back_and_at_the_root_detaches(make_app: MakeApp, engine: TestEngine) -> None:
    """Detail, screen, dashboard, out; the engine is asked for nothing."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, NodeScreen)
        await pilot.press("q")
        await settle(pilot)
        assert " NODES 6" in text_of(app)
        await pilot.press("q")
        await settle(pilot)
        assert "FIX FIRST" in text_of(app)
        await pilot.press("escape", "escape")
        await settle(pilot)
        assert app.is_running
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0
    assert engine.acted == []


async def test_selection_and_marks_follow_their_ids(make_app: MakeApp, engine: TestEngine) -> None:
    """Rows come, go and change places; the cursor stays on its node, a vanished mark is forgotten."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "j", "space", "j")
        await settle(pilot)
        table = table_screen(app).table
        assert table.cursor_id == node_id(4)
        assert table.marks == {node_id(2)}
        engine.emit(
            NodeAdded(at=NOW, node_id="zz", label="aaa-first", host="10.1.1.1", port=22, username="u"),
            NodeRemoved(at=NOW, node_id=node_id(1)),
            NodeRemoved(at=NOW, node_id=node_id(2)),
        )
        await settle(pilot)
        assert table.cursor_id == node_id(4)
        assert table.marks == set()
        assert next(iter(table.order)) == "zz"
        await pilot.press("S")
        await settle(pilot)
        assert table.cursor_id == node_id(4)
        engine.emit(NodeRemoved(at=NOW, node_id=node_id(4)))
        await settle(pilot)
        assert table.cursor_id in table.order


async def test_filter_narrows_while_typing_and_escape_undoes_it_in_order(make_app: MakeApp) -> None:
    """Letters go to the prompt, not to the keys; prompt, filter, marks."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "space", "slash", *"state:stopped")
        await settle(pilot)
        assert list(table_screen(app).table.order) == [node_id(2)]
        await pilot.press("enter")
        await settle(pilot)
        assert "1 of 6" in text_of(app)
        assert "filter state:stopped" in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert len(table_screen(app).table.order) == 6
        await pilot.press("exclamation_mark")
        await settle(pilot)
        assert set(table_screen(app).table.order) == {node_id(2), node_id(3)}
        assert "problems only" in text_of(app)


async def test_sorting_by_keys(make_app: MakeApp) -> None:
    """> goes to the next visible column, S turns round."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "greater_than_sign")
        await settle(pilot)
        table = table_screen(app).table
        assert list(table.order)[:2] == [node_id(2), node_id(3)]
        await pilot.press("S")
        await settle(pilot)
        assert list(table.order)[-1] == node_id(2)


async def test_ending_a_session_asks_first_and_names_it(make_app: MakeApp, engine: TestEngine) -> None:
    """esc does nothing; y sends the id that the dialog named, even if the rows moved meanwhile."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("3", "K")
        await settle(pilot)
        assert isinstance(app.screen, Confirm)
        assert ASSIGNED in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert engine.acted == []
        await pilot.press("K", "y")
        await settle(pilot)
        assert engine.acted == [("session.end", {"hotkey": ASSIGNED})]
        assert "done" in text_of(app)


async def test_accepting_a_host_key_shows_both_fingerprints(make_app: MakeApp, engine: TestEngine) -> None:
    """The action carries the fingerprint that was shown; without a new key there is nothing to accept."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("tab", "H")
        await settle(pilot)
        shown = text_of(app)
        assert "SHA256:" + "a" * 43 in shown
        assert "SHA256:" + "b" * 43 in shown
        await pilot.press("y")
        await settle(pilot)
        args = {"node_id": node_id(2), "fingerprint": "SHA256:" + "b" * 43}
        assert engine.acted == [("node.accept_host_key", args)]
        engine.emit(HostKeyAccepted(at=NOW, node_id=node_id(2), fingerprint=str(args["fingerprint"]), actor="me"))
        await settle(pilot)
        await pilot.press("H")
        await settle(pilot)
        assert "nothing to accept" in text_of(app)


async def test_testing_goes_to_the_marked_nodes(make_app: MakeApp, engine: TestEngine) -> None:
    """One action for each, in the order of the rows."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "space", "space", "t")
        await settle(pilot)
    assert engine.acted == [("node.check", {"node_id": node_id(1)}), ("node.check", {"node_id": node_id(2)})]


async def test_a_refusal_is_told(make_app: MakeApp, engine: TestEngine) -> None:
    """The engine's words appear in the footer's place."""
    engine.refusal = "this node is being removed"
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "t")
        await settle(pilot)
        assert "this node is being removed" in text_of(app)


async def test_read_only_hides_and_refuses_every_dangerous_binding(make_app: MakeApp, engine: TestEngine) -> None:
    """Walks the table, so that a new action cannot be forgotten."""
    app = make_app(read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "read-only" in text_of(app)
        for screen in ("1", "2", "3"):
            await pilot.press(screen)
            await settle(pilot)
            for binding in BINDINGS:
                if binding.danger:
                    app.do(binding.id)
                    await pilot.pause()
                    assert not isinstance(app.screen, Confirm)
            assert "t test" not in text_of(app)
            assert "K end" not in text_of(app)
    assert engine.acted == []


async def test_stopping_the_engine_wants_its_name_typed(make_app: MakeApp, engine: TestEngine) -> None:
    """A wrong word is a no."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for typed in ("no", "gpu-house-1"):
            await pilot.press("colon", *"engine stop", "enter")
            await settle(pilot)
            assert isinstance(app.screen, Confirm)
            await pilot.press(*typed, "enter")
            await settle(pilot)
    assert engine.acted == [("engine.stop", {})]


async def test_commands_complete_and_unknown_ones_are_told(make_app: MakeApp) -> None:
    """Tab completes; a word that is no command changes nothing."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("colon", *"dashb", "tab", "enter")
        await settle(pilot)
        assert "FIX FIRST" in text_of(app)
        await pilot.press("colon", *"explode", "enter")
        await settle(pilot)
        assert "there is no command explode" in text_of(app)
        await pilot.press("colon", *"theme light", "enter")
        await settle(pilot)
        assert app.theme == "light"


async def test_help_shows_the_keys_of_the_screen_it_came_from(make_app: MakeApp) -> None:
    """? opens and closes it."""
    app = make_app()
    async with app.run_test(size=(120, 90)) as pilot:
        await settle(pilot)
        await pilot.press("3", "question_mark")
        await settle(pilot)
        shown = text_of(app)
        assert "work on: sessions" in shown
        for binding in BINDINGS:
            if binding.keys and not binding.needs:
                assert binding.help[:20] in shown
        await pilot.press("question_mark")
        await settle(pilot)
        assert not isinstance(app.screen, HelpScreen)


async def test_paused_views_stand_still_and_say_so(make_app: MakeApp, engine: TestEngine) -> None:
    """Going on shows what happened meanwhile."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "p")
        await settle(pilot)
        assert "paused" in text_of(app)
        engine.emit(NodeStateChanged(at=NOW, node_id=node_id(5), old="healthy", new="unhealthy", reason="no route"))
        await settle(pilot)
        assert "unhealthy" not in text_of(app)
        await pilot.press("p")
        await settle(pilot)
        assert "unhealthy" in text_of(app)


async def test_the_log_follows_until_you_look_back(make_app: MakeApp, engine: TestEngine) -> None:
    """New lines never move a reader who scrolled up; G follows again."""
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await pilot.press("6")
        await settle(pilot)
        table = table_screen(app).table
        assert table.cursor_id == "40"
        await pilot.press("k", "k")
        await settle(pilot)
        engine.log(LogRecord(41, NOW, "info", "something.new", {"node": "node-01"}))
        await settle(pilot)
        assert table.cursor_id == "38"
        assert "f follows" in text_of(app)
        await pilot.press("G")
        engine.log(LogRecord(42, NOW, "error", "something.newer", {}))
        await settle(pilot)
        assert table.cursor_id == "42"
        await pilot.press("ampersand", *"level:error", "enter")
        await settle(pilot)
        engine.log(LogRecord(43, NOW, "info", "not.shown", {}), LogRecord(44, NOW, "error", "shown.too", {}))
        await settle(pilot)
        assert "shown.too" in text_of(app)
        assert "not.shown" not in text_of(app)


async def test_a_lost_engine_dims_and_comes_back(make_app: MakeApp, engine: TestEngine, clock: ManualClock) -> None:
    """Data stays with its age and a countdown; tries go on with growing delays; then all is current again."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        table = table_screen(app).table
        faded = [table.is_faded]
        engine.go_down()
        await settle(pilot)
        faded.append(table.is_faded)
        assert "engine gone" in text_of(app)
        assert "node-04" in text_of(app)
        for _ in range(12):
            await clock.advance(5)
            await settle(pilot)
        assert "data 1 min old" in text_of(app)
        assert "retry in" in text_of(app)
        assert 8 <= engine.attempts <= 16
        engine.is_up, engine.instance = True, "two"
        engine.log_lines = some_logs(3)
        engine.state.apply(
            NodeStateChanged(at=NOW, node_id=node_id(5), old="healthy", new="unhealthy", reason="no route")
        )
        await clock.advance(10)
        await settle(pilot)
        faded.append(table.is_faded)
        assert faded == [False, True, False]
        assert "live" in text_of(app)
        assert "unhealthy" in text_of(app)
        assert [r.seq for r in app.store.logs] == [1, 2, 3]


async def test_without_an_engine_it_says_how_to_start_one(make_app: MakeApp, engine: TestEngine) -> None:
    """And it keeps trying."""
    engine.is_up = False
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        shown = text_of(app)
        assert "No engine answers on /run/basilica/test/engine.sock." in shown
        assert "basilica-tui --daemon --config miner.toml" in shown
        assert "basilica-tui setup" in shown
        assert "basilica-tui demo" in shown
        assert shown.lower().count("start one with") == 1
        engine.is_up = True
        await pilot.press("r")
        await settle(pilot)
        assert "FIX FIRST" in text_of(app)


async def test_empty_and_unreachable_have_their_own_sentences(make_app: MakeApp, engine: TestEngine) -> None:
    """No box is ever just empty."""
    for number in range(1, 7):
        engine.state.apply(NodeRemoved(at=NOW, node_id=node_id(number)))
    engine.state.sessions.clear()
    engine.state.apply(ChainFailed(at=NOW, operation="metagraph", error="connection refused", metagraph_age_s=4.0))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "No nodes are configured" in text_of(app)
        assert "chain unreachable" in text_of(app)
        await pilot.press("3")
        await settle(pilot)
        assert "The chain is unreachable, so validators cannot be recognised" in text_of(app)


async def test_the_validator_sees_miners_and_verifications(make_app: MakeApp) -> None:
    """Screens 2 and 3 change their meaning with the role."""
    engine = make_engine(role="validator")
    app = make_app(connect=engine.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "1 of 2 miners answer" in text_of(app)
        await pilot.press("2")
        await settle(pilot)
        assert " MINERS 2" in text_of(app)
        await pilot.press("3")
        await settle(pilot)
        assert " VERIFICATIONS 2" in text_of(app)
        assert "no answer in 30 s" in text_of(app)


async def test_hostile_text_never_reaches_the_terminal(make_app: MakeApp, engine: TestEngine) -> None:
    """Names, reasons and log lines of others carry escapes; no screen hands one on."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202e[bold]x[/]\x9b31m"
    node = engine.state.nodes[node_id(2)]
    node.label, node.reason, node.gpu_model, node.hint, node.host_key_presented = (evil,) * 5
    engine.state.sessions[ASSIGNED].peer = evil
    engine.state.engine.name = evil
    engine.state.engine.assigned_reason = evil
    engine.log_lines = [LogRecord(1, NOW, evil, evil, {evil: evil})]
    for alert in engine.state.alerts.values():
        alert.message = alert.subject = alert.hint = evil
    app = make_app()
    async with app.run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        for keys in (["1"], ["2"], ["enter"], ["H"], ["n", "q", "3"], ["enter"], ["q", "6"], ["enter"], ["q", "7"]):
            await pilot.press(*keys)
            await settle(pilot)
            for strip in app.screen._compositor.render_strips():
                assert not [c for c in strip.text if c in "\x1b\x07\x9b\u202e"]


async def test_a_thousand_nodes_repaint_only_what_changed(make_app: MakeApp, clock: ManualClock) -> None:
    """2 % of the cells change: visible ones are painted, the others cost nothing, equal values neither."""
    engine = make_engine(nodes=1000)
    app = make_app(connect=engine.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        table = table_screen(app).table
        shown = [n for n in range(1, 1001) if node_id(n) in list(table.order)[: table.page]]
        assert len(shown) > 30

        before = table.repainted_cells, table.repainted_rows
        engine.emit(*(checked(n, at=NOW - 80, load=99.0) for n in range(500, 760)))
        await settle(pilot)
        assert (table.repainted_cells, table.repainted_rows) == before

        engine.emit(*(checked(n, at=NOW - 80, load=98.0) for n in shown[::5]))
        await settle(pilot)
        rows = table.repainted_rows - before[1]
        cells = table.repainted_cells - before[0]
        assert rows == len(shown[::5])
        assert cells <= rows * 25
        before = table.repainted_cells, table.repainted_rows

        engine.emit(*(checked(n, at=NOW - 80, load=98.0) for n in shown[::5]))
        app.flush()
        await settle(pilot)
        assert (table.repainted_cells, table.repainted_rows) == before


async def test_columns_beyond_the_edge_can_be_reached(make_app: MakeApp) -> None:
    """w shows all columns, l and h walk along them."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        assert "driver" not in text_of(app)
        await pilot.press("w", *["l"] * 12)
        await settle(pilot)
        assert "570.86.15" in text_of(app)
        await pilot.press(*["h"] * 12)
        await settle(pilot)
        assert "node-01" in text_of(app)


async def test_ascii_terminals_get_ascii_only(make_app: MakeApp) -> None:
    """Every screen, with names that are not."""
    app = make_app(ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for key in ("1", "2", "3", "6", "7", "question_mark"):
            await pilot.press(key)
            await settle(pilot)
            content = [line.rstrip("▁▂▃▄▅▆▇█ ") for line in text_of(app).splitlines()]
            assert [c for line in content for c in line if not c.isascii()] == []
