"""``:console reload``: what ``console.toml`` says now, without losing the screen, the engine or the history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from basilica_tui import run
from basilica_tui.app import ConsoleApp
from basilica_tui.link import connect_to_engine
from basilica_tui.settings import unreadable
from basilica_tui.ways import Way, as_now
from tests.console.conftest import MakeApp
from tests.console.screen import rest, text_of


async def test_the_console_ends_to_begin_anew(make_app: MakeApp) -> None:
    """With the screen and the commands that it had, for the next one to begin with."""
    app = make_app(settings_problem=lambda: "")
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("2")
        await pilot.press("colon", *"console reload", "enter")
        await rest(pilot)
    assert app.is_read_again
    assert app.return_code == 0
    assert (app.views.now, app.command_history) == ("nodes", ["console reload"])
    again = make_app(first=app.views.now, command_history=app.command_history)
    async with again.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        assert "NODES" in text_of(again)
        assert again.views.now == "nodes"
        await pilot.press("colon", "up")
        await rest(pilot)
        assert "console reload" in text_of(again)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (lambda: "console.toml cannot be read: x", "nothing was changed: console.toml"),
        (None, "read once, at its start"),
    ],
)
async def test_what_cannot_be_read_changes_nothing(make_app: MakeApp, problem: Any, words: str) -> None:
    """The console stays as it is and says why."""
    app = make_app(settings_problem=problem)
    async with app.run_test(size=(80, 24)) as pilot:
        await rest(pilot)
        await pilot.press("colon", *"console reload", "enter")
        await rest(pilot)
        assert words in text_of(app)
        assert not app.is_read_again


def test_a_file_that_is_no_toml_is_told(tmp_path: Path) -> None:
    """Mistakes in single lines are told by the console that begins; a missing file says nothing at all."""
    assert unreadable(tmp_path) == ""
    (tmp_path / "console.toml").write_text('theme = "nosuch"\n')
    assert unreadable(tmp_path) == ""
    (tmp_path / "console.toml").write_text("theme = [\n")
    assert unreadable(tmp_path).startswith("console.toml cannot be read: ")


def way(where: str, **look: Any) -> Way:
    return Way("a", Path(where), connect_to_engine, **look)


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ({}, way("/a", edge="red")),
        ({"a": way("/a", read_only=True, theme="light")}, way("/a", read_only=True, theme="light")),
        ({"a": way("/b")}, way("/b")),
    ],
)
def test_an_engine_keeps_its_connection_and_gets_its_new_look(ways: dict[str, Way], expected: Way) -> None:
    """A name that is gone stays as it is; one that leads elsewhere now is followed."""
    assert as_now(way("/a", edge="red"), ways) == expected


def test_each_console_is_made_with_what_the_files_say_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three consoles one after the other: each has the refresh of its time, and the screen of the one before it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(run, "_lacking", lambda: "")
    file = tmp_path / "basilica-tui" / "console.toml"
    file.parent.mkdir()
    file.write_text('refresh = "2s"\n')
    made: list[dict[str, Any]] = []

    class Brief(ConsoleApp):
        """A console that is left at once, twice to begin anew."""

        def run(self, **_: Any) -> None:
            self.views.now = f"screen-{len(made)}"
            file.write_text(f'refresh = "{2 + len(made)}s"\n')
            self.is_read_again = len(made) < 3

    def make(options: dict[str, Any], before: ConsoleApp | None) -> ConsoleApp:
        made.append(options)
        assert (before is None) == (len(made) == 1)
        return Brief(tmp_path / "engine.sock", connect=connect_to_engine, **{**options, "bell": "off"})

    assert run._run(make, None, None) == 0
    assert [options["pace_s"] for options in made] == [2.0, 3.0, 4.0]
    assert [options.get("first") for options in made] == [None, "screen-1", "screen-2"]
