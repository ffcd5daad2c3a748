"""Dialogs on small terminals: how to answer is always in sight, and all of what is agreed to can be seen."""

from __future__ import annotations

import pytest
from textual.events import Key

from basilica_tui.app import ConsoleApp
from basilica_tui.screens.confirm import Confirm
from tests.console.conftest import MakeApp
from tests.console.screen import rest, send, text_of
from tests.console.world import TestEngine

KEY = "SHA256:" + "b" * 43


def _joined(text: str) -> str:
    return "".join(line.strip(" │╭╮╰╯─") for line in text.splitlines())


@pytest.mark.parametrize("size", [(50, 12), (40, 10), (80, 24)])
async def test_a_dialog_that_is_too_high_scrolls(make_app: MakeApp, engine: TestEngine, size: tuple[int, int]) -> None:
    """The whole fingerprint comes into sight, how to answer never leaves it, and a yes is a yes."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await rest(pilot)
        await pilot.press("1", "tab", "H")
        await rest(pilot)
        assert isinstance(app.screen, Confirm)
        seen = ""
        for _ in range(24):
            shown = text_of(app)
            assert "y accept" in shown
            assert "esc" in shown
            seen += _joined(shown)
            if "below" not in shown:
                break
            await pilot.press("down")
            await rest(pilot)
        else:
            raise AssertionError("it never ended")
        assert KEY in seen
        await pilot.press("y")
        await rest(pilot)
    assert [args["fingerprint"] for verb, args in engine.acted] == [KEY]


@pytest.mark.parametrize(("first", "second"), [("enter", "enter"), ("escape", "enter")])
async def test_the_first_answer_closes_a_list_and_the_next_one_nothing(
    make_app: MakeApp, first: str, second: str
) -> None:
    """Two keys in one go reach the list before it is gone; the screen below stays."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("1", "s")
        await rest(pilot)
        dialog, depth = app.screen, len(app.screen_stack)
        for key in (first, second):
            dialog.post_message(Key(key, None))
        await rest(pilot)
        assert len(app.screen_stack) == depth - 1
        assert "FIX FIRST" in text_of(app)
    assert app.crash is None


async def test_two_times_yes_is_one_yes(make_app: MakeApp, engine: TestEngine) -> None:
    """Whoever holds the key asks for the action once, and the screen below stays."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("1", "tab", "H")
        await rest(pilot)
        dialog, depth = app.screen, len(app.screen_stack)
        assert isinstance(dialog, Confirm)
        dialog.action_yes()
        dialog.action_yes()
        await rest(pilot)
        assert len(app.screen_stack) == depth - 1
        assert "FIX FIRST" in text_of(app)
    assert app.crash is None
    assert len(engine.acted) == 1


def asks(app: ConsoleApp) -> bool:
    return isinstance(app.screen, Confirm)


@pytest.mark.parametrize("typed", ["Hy", "HyY", ":logs\r1Hy"])
async def test_nothing_is_agreed_to_that_nobody_could_read(make_app: MakeApp, engine: TestEngine, typed: str) -> None:
    """A yes in one piece with the key that asks is none; a yes afterwards, and escape in the piece, are answers."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("1", "tab")
        await rest(pilot)
        send(app, typed)
        await rest(pilot)
        assert asks(app)
        assert engine.acted == []
        send(app, "\x1b")
        await rest(pilot)
        assert not asks(app)
        send(app, "H\x1b")
        await rest(pilot)
        assert not asks(app)
        await pilot.press("H")
        await rest(pilot)
        await pilot.press("y")
        await rest(pilot)
    assert len(engine.acted) == 1


async def test_a_dialog_takes_another_size(make_app: MakeApp) -> None:
    """What was cut off by a small terminal is there on a large one, without being asked again."""
    app = make_app()
    async with app.run_test(size=(50, 12)) as pilot:
        await rest(pilot)
        await pilot.press("1", "tab", "H")
        await rest(pilot)
        assert KEY not in text_of(app)
        await pilot.resize_terminal(120, 40)
        await rest(pilot)
        assert KEY in text_of(app)
        assert "below" not in text_of(app)


async def test_a_plan_is_shown_to_its_last_line(make_app: MakeApp) -> None:
    """Also one that is longer than the screen, with words that are longer than the dialog."""
    app = make_app()
    lines = [*(f"step {number}" for number in range(60)), f"echo {'x' * 200}END"]
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        app.push_screen(Confirm("Repair node-1: everything?", lines, "do this"))
        await rest(pilot)
        assert "step 0" in text_of(app)
        assert "y do this" in text_of(app)
        for _ in range(10):
            await pilot.press("pagedown")
        await rest(pilot)
        assert "END" in text_of(app)
        assert "above" in text_of(app)
        assert "y do this" in text_of(app)


@pytest.mark.parametrize("name", ["yes-no-quit", "jkjk"])
async def test_a_name_of_any_letters_can_be_typed(make_app: MakeApp, engine: TestEngine, name: str) -> None:
    """Letters that answer or move in other dialogs are letters in a typed one."""
    engine.state.engine.name = name
    app = make_app()
    async with app.run_test(size=(60, 14)) as pilot:
        await rest(pilot)
        await pilot.press("colon", *"engine stop", "enter")
        await rest(pilot)
        assert isinstance(app.screen, Confirm)
        await pilot.press(*name, "enter")
        await rest(pilot)
    assert engine.acted == [("engine.stop", {})]


@pytest.mark.parametrize(("keys", "last"), [("ctrl+p", "esc close"), ("2 c", "esc close    +"), ("2 s", "esc close")])
async def test_a_list_uses_the_rows_of_a_low_terminal(make_app: MakeApp, keys: str, last: str) -> None:
    """Several choices are seen at once, and how many more there are runs into nothing."""
    app = make_app()
    async with app.run_test(size=(50, 12)) as pilot:
        await rest(pilot)
        for key in keys.split():
            await pilot.press(key)
            await rest(pilot)
        lines = [line.strip(" \u2502") for line in text_of(app).splitlines() if "\u2502" in line]
        shown = [line for line in lines if line]
        assert len(shown) >= 5
        assert last in shown[-1]


@pytest.mark.parametrize("view", ["nodes", "logs", "ssh", "tree", "config"])
async def test_leaving_while_a_screen_is_made_is_no_mistake(make_app: MakeApp, view: str) -> None:
    """Detaching in the same moment as a screen is opened takes down what is half made, and nothing is reported."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        app.show_view(view)
        app.detach()
    assert app.crash is None
    assert app.return_code == 0
