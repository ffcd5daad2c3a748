"""The keys of the tables, the log and the menus, by what they show and what they ask of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from basilica_tui.bindings import BINDINGS
from basilica_tui.preferences import Preferences
from basilica_tui.screens.chooser import Chooser
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.logs import LogsScreen
from basilica_tui.screens.record import RecordScreen
from basilica_tui.settings import load_settings
from basilica_tui.widgets.prompt import WAITING_KEYS
from engine.events import DriftSeen
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import rest, send, settle, table_screen, text_of
from tests.console.world import ASSIGNED, NOW, TestEngine, node_id

SIZES = [(80, 24), (120, 40), (200, 60)]


async def test_sorting_and_columns_are_chosen_and_remembered(make_app: MakeApp, tmp_path: Path) -> None:
    """s and a letter sort, c hides and moves, and the next console begins that way."""
    path = tmp_path / "views.json"
    app = make_app(preferences=Preferences(path))
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "s")
        await settle(pilot)
        assert "sorted by it now" in text_of(app)
        await pilot.press("s")
        await settle(pilot)
        assert table_screen(app).view_query.sort == "state"
        await pilot.press("c", "j", "j", "space", "k", "less_than_sign", "escape")
        await settle(pilot)
        assert table_screen(app).view_columns[:3] == ("state", "node", "util")
        assert "GPUs" not in text_of(app).splitlines()[2]
    again = make_app(preferences=Preferences(path))
    async with again.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        assert table_screen(again).view_query.sort == "state"
        assert table_screen(again).view_columns[:2] == ("state", "node")


@pytest.mark.parametrize("size", SIZES)
async def test_actions_of_the_marked_rows(make_app: MakeApp, engine: TestEngine, size: tuple[int, int]) -> None:
    """V marks to here, x lists what can be done, danger asks once and names them."""
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("2", "space", "j", "V", "x")
        await settle(pilot)
        assert "With 3 nodes" in text_of(app)
        assert ":node.reconcile" in text_of(app)
        await pilot.press("m")
        await settle(pilot)
        assert [verb for verb, _ in engine.acted] == ["node.reconcile"] * 3
        await pilot.press("x", "a")
        await settle(pilot)
        assert isinstance(app.screen, Confirm)
        assert "node-02" in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert len(engine.acted) == 3


async def test_the_palette_finds_and_runs(make_app: MakeApp) -> None:
    """ctrl+p, a part of a name, enter."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p", *"aler")
        await settle(pilot)
        assert isinstance(app.screen, Chooser)
        assert "sessions" not in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert " ALERTS 2" in text_of(app)


async def test_the_command_line_remembers_and_runs_actions(make_app: MakeApp, engine: TestEngine) -> None:
    """Arguments complete from the fleet; up brings the last line back; danger asks."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("colon", *"node.check n", "tab", "2", "enter")
        await settle(pilot)
        assert engine.acted == [("node.check", {"node_id": node_id(2)})]
        await pilot.press("colon", "up", "enter")
        await settle(pilot)
        assert len(engine.acted) == 2
        app.run_command(f"session.end {ASSIGNED}")
        await settle(pilot)
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await settle(pilot)
        assert engine.acted[-1] == ("session.end", {"hotkey": ASSIGNED})
        app.run_command("node.check nobody")
        await settle(pilot)
        assert "there is no node called nobody" in text_of(app)


async def test_describe_logs_and_copies_of_a_row(make_app: MakeApp) -> None:
    """d has every field and whole times, L the lines that name it, y and Y the clipboard."""
    app = make_app()
    async with app.run_test(size=(120, 140)) as pilot:
        await settle(pilot)
        await pilot.press("2", "j", "j", "y")
        await settle(pilot)
        assert "node-03 sent to the terminal's clipboard" in text_of(app)
        await pilot.press("d")
        await settle(pilot)
        assert isinstance(app.screen, RecordScreen)
        assert "2026-09-21 14:" in text_of(app)
        await pilot.press("q", "L")
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, LogsScreen)
        assert "filter node-03|" in text_of(app)
        assert "key.deployed" in text_of(app)
        assert "door.refused" not in text_of(app)


async def test_tables_are_written_to_files(make_app: MakeApp, tmp_path: Path) -> None:
    """e says where; :export takes a path."""
    app = make_app(files=tmp_path)
    async with app.run_test(size=(200, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "e")
        await settle(pilot)
        assert "6 rows written to" in text_of(app)
        (written,) = (tmp_path / "exports").iterdir()
        assert len(written.read_text().splitlines()) == 7
        app.run_command(f"export json {tmp_path}/x.json")
        assert (tmp_path / "x.json").exists()
        app.run_command("export /nowhere/at/all.csv")
        await settle(pilot)
        assert "cannot be written" in text_of(app)
        app.run_command(f"export png {tmp_path}/x.png")
        await settle(pilot)
        assert "png is for plots (P)" in text_of(app)
        (tmp_path / "here").mkdir()
        app.run_command(f"export csv {tmp_path}/here/")
        await settle(pilot)
        assert [p.name for p in (tmp_path / "here").iterdir()] == [written.name]


async def test_a_file_is_replaced_after_a_yes_only(make_app: MakeApp, tmp_path: Path) -> None:
    """The one that is there may be the only one."""
    there = tmp_path / "mine.csv"
    there.write_text("mine")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        for answer in ("escape", "y"):
            app.run_command(f"export {there}")
            await settle(pilot)
            assert "mine.csv" in text_of(app)
            assert "Replace" in text_of(app)
            assert there.read_text() == "mine"
            await pilot.press(answer)
            await settle(pilot)
    assert there.read_text().startswith("node,")


async def test_words_after_sort_and_columns_that_mean_nothing_change_nothing(make_app: MakeApp) -> None:
    """A slip is told, and the table stays as it is."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        app.run_command("columns node State util")
        await settle(pilot)
        for line, words in (
            ("columns node nosuch", "there is no column nosuch"),
            ("sort nosuch", "there is no column nosuch"),
            ("sort util desc", "desc is no order; reverse turns it round"),
        ):
            app.run_command(line)
            await settle(pilot)
            assert words in text_of(app)
        assert table_screen(app).view_columns == ("node", "state", "util")
        app.run_command("at 14:05")
        await settle(pilot)
        assert "go to a time: only on logs" in text_of(app)


async def test_the_log_is_searched_with_its_context(make_app: MakeApp) -> None:
    """/ n N move, nothing hides; v raises the level, m marks, :at jumps; all of them hold together."""
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await pilot.press("6", "slash", *"refused", "enter")
        await settle(pilot)
        table = table_screen(app).table
        assert table.cursor_id == "38"
        assert "8 matches" in text_of(app)
        assert "node.checked" in text_of(app)
        await pilot.press("N", "N", "n")
        assert table.cursor_id == "33"
        await pilot.press("m", "v", "v")
        await settle(pilot)
        assert set(table.order) == {*(str(n) for n in range(3, 41, 5)), *(str(n) for n in range(4, 41, 5)), "marker-1"}
        assert "search refused" in text_of(app)
        app.run_command("at -5m")
        await settle(pilot)
        assert "at 14:08:" in text_of(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "search" not in text_of(app)


async def test_alerts_are_acknowledged_and_silenced(make_app: MakeApp, engine: TestEngine) -> None:
    """a asks the engine for each marked one, A for how long."""
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("7", "space", "space", "a")
        await settle(pilot)
        assert [v for v, _ in engine.acted] == ["alert.acknowledge"] * 2
        await pilot.press("escape", "A")
        await settle(pilot)
        assert "30 minutes" in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert engine.acted[-1][0] == "alert.silence"
        assert engine.acted[-1][1]["seconds"] == 3600.0


@pytest.mark.parametrize("size", SIZES)
async def test_scores_show_what_is_known(make_app: MakeApp, size: tuple[int, int]) -> None:
    """Ramp, estimate and what the selected node would cost."""
    app = make_app(connect=make_engine(with_ramp=True).connect)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "full 1 of 6" in text_of(app)
        await pilot.press("4", "j")
        await settle(pilot)
        shown = text_of(app)
        assert "if node-02 fails now you lose 6.4 effective GPUs" in shown
        assert "11.2 d" in shown
        assert "estimated 0.83" in shown
        await pilot.press("enter")
        await settle(pilot)
        assert "RAMP AND SCORE" in text_of(app) or size[1] < 40


async def test_the_configuration_is_shown_to_operators(make_app: MakeApp, engine: TestEngine) -> None:
    """Dotted keys and where they came from; a visitor gets a sentence and asks nothing."""
    engine.answers["config.show"] = {"config": {"bittensor": {"netuid": 39}}, "sources": {"bittensor.netuid": "file"}}
    for options, expected in (({}, "bittensor.netuid"), ({"read_only": True}, "to operators only")):
        app = make_app(**options)
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            await pilot.press("8")
            await settle(pilot)
            await settle(pilot)
            assert expected in text_of(app)
    assert [v for v, _ in engine.acted] == ["config.show"]


async def test_a_setting_is_changed_after_a_dialog_and_a_backup_restored(make_app: MakeApp, engine: TestEngine) -> None:
    """The dialog shows file, old and new value; what the file says already is what is changed; R reloads."""
    values = {"bittensor.netuid": {"value": "387", "file": "39", "source": "file"},
              "bittensor.wallet_name": {"value": "default", "file": "default", "source": "default"}}  # fmt: skip
    engine.answers["config.show"] = {
        "values": values,
        "path": "/etc/basilica/miner.toml",
        "sha256": "ab",
        "problems": [],
    }
    engine.answers["config.backups"] = {"backups": [{"name": "miner.toml.bak-1", "at": NOW - 3600, "bytes": 10}]}
    engine.verbs = frozenset({"config.show", "config.set", "config.backups", "config.restore", "engine.reload"})
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("8")
        await settle(pilot)
        await settle(pilot)
        assert "file valid" in text_of(app) and "1 setting not in force" in text_of(app)
        await pilot.press("exclamation_mark")
        await settle(pilot)
        assert "wallet_name" not in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("ctrl+u", *"40", "enter")
        await settle(pilot)
        text = text_of(app)
        assert "Change bittensor.netuid?" in text and "from   39" in text and "to     40" in text
        await pilot.press("y")
        await settle(pilot)
        assert ("config.set", {"key": "bittensor.netuid", "value": "40", "sha256": "ab"}) in engine.acted
        await pilot.press("B")
        await settle(pilot)
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert ("config.restore", {"name": "miner.toml.bak-1"}) in engine.acted
        await pilot.press("R", "y")
        await settle(pilot)
        assert engine.acted[-1][0] == "engine.reload" or ("engine.reload", {}) in engine.acted


async def test_keys_that_the_engine_cannot_follow_are_hidden(make_app: MakeApp, engine: TestEngine) -> None:
    """D drains only where draining exists."""
    app = make_app()
    async with app.run_test(size=(200, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "D")
        await settle(pilot)
        assert "this engine knows no node.drain" in text_of(app)
    engine.verbs = frozenset({"node.drain", "node.enable"})
    app = make_app()
    async with app.run_test(size=(200, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "D", "y")
        await settle(pilot)
        assert engine.acted == [("node.drain", {"node_id": node_id(1)})]


async def test_zoom_gives_one_panel_the_screen(make_app: MakeApp) -> None:
    """The table, then the problems, then everything again."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for has_boxes, has_table in ((False, True), (False, False), (True, True)):
            await pilot.press("z")
            await settle(pilot)
            assert ("ACCESS NOW" in text_of(app)) is has_boxes
            assert ("node-05" in text_of(app)) is has_table


async def test_the_operators_keys_and_theme_hold(make_app: MakeApp, tmp_path: Path) -> None:
    """The footer and the help know them; mistakes are told once at the start."""
    (tmp_path / "console.toml").write_text('theme = "deuteranopia"\n[keys]\nhelp = "f2"\nnope = "x"\n')
    settings = load_settings(tmp_path)
    app = make_app(bindings=settings.bindings, theme=settings.theme, greetings=settings.problems)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "there is no command called nope" in text_of(app)
        assert app.theme == "deuteranopia"
        await pilot.press("f2")
        await settle(pilot)
        assert "KEYS AND COMMANDS" in text_of(app)


async def test_many_mistakes_in_the_settings_can_all_be_read(make_app: MakeApp, tmp_path: Path) -> None:
    """The first at the start with how many more there are, all of them with :info; a clash says who has the key."""
    (tmp_path / "console.toml").write_text('colour = 1\nbell = "loud"\n[keys]\npause = "r"\nnope = "x"\n')
    settings = load_settings(tmp_path)
    app = make_app(bindings=settings.bindings, greetings=settings.problems)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "4 mistakes, :info lists them" in text_of(app)
        await pilot.press("colon", *"info", "enter")
        await rest(pilot)
        shown = " ".join(text_of(app).split())
        assert len(settings.problems) == 4
        assert [text for text in settings.problems if text not in shown] == []
        assert "pause has it" in shown


async def test_no_binding_crashes_on_any_screen(make_app: MakeApp, engine: TestEngine) -> None:
    """Every id on every screen, empty or not."""
    engine.emit(DriftSeen(at=NOW, node_id=node_id(1), count=1, lines=("SHA256:x unknown",)))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for screen in ("dashboard", "nodes", "sessions", "scores", "logs", "alerts", "config"):
            for binding in BINDINGS:
                if binding.id in {"detach", "leave"} or binding.id.startswith("screen."):
                    continue
                app.show_view(screen)
                app.do(binding.id)
                while len(app.screen_stack) > 2:
                    app.pop_screen()
            await settle(pilot)
            assert app.is_running


async def test_a_command_typed_in_one_go_reaches_the_prompt(make_app: MakeApp, engine: TestEngine) -> None:
    """As a quick typist or a paste over a slow link sends it: no letter of it is a key of the screen."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        names = {":": "colon", " ": "space"}
        for char in ":sort gpus":
            app.post_message(events.Key(names.get(char, char), char))
        await settle(pilot)
        assert text_of(app).splitlines()[-1].split() == [":", "sort", "gpus"]
        assert engine.acted == []
        app.post_message(events.Key("enter", None))
        await settle(pilot)
        assert table_screen(app).view_query.sort == "gpus"


@pytest.mark.parametrize(
    ("typed", "screen", "filter_words", "problems_only"),
    [
        ("/node-01\x1b!", "nodes", "", True),
        ("/node-01\r!", "nodes", "node-01", True),
        (":sco\x1b6", "logs", "", False),
        (":nodes\r/node-0\x1b:nodes\r!", "nodes", "", True),
        ("!\x1b/node-02\r:alerts\r:nodes\r", "nodes", "node-02", False),
    ],
)
async def test_escape_in_one_piece_with_other_keys_is_between_them(
    make_app: MakeApp, typed: str, screen: str, filter_words: str, problems_only: bool
) -> None:
    """What stands before it goes into the prompt, what stands behind it to the screen."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        send(app, typed)
        await rest(pilot)
        assert app.views.now == screen
        if screen == "nodes":
            query = table_screen(app).view_query
            assert (query.filter.source, query.problems_only) == (filter_words, problems_only)
        assert app.focused is None


async def test_too_many_keys_behind_enter_are_told_and_none_acts(make_app: MakeApp) -> None:
    """Half of what was pasted is not what anybody meant; as many as are kept all act."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        send(app, ":nodes\r" + "j" * (WAITING_KEYS + 1) + "6")
        await rest(pilot)
        assert app.views.now == "nodes"
        assert "1,002 keys came at once behind enter; none of them was used" in text_of(app)
        send(app, ":alerts\r" + "j" * (WAITING_KEYS - 1) + "6")
        await rest(pilot)
        assert app.views.now == "logs"


async def test_a_paste_and_enter_in_one_piece_are_one_command(make_app: MakeApp) -> None:
    """The first line of what is pasted goes into the line before enter sends it."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        send(app, ":")
        app.post_message(events.Paste("logs\nquit"))
        send(app, "\r")
        await rest(pilot)
        assert app.views.now == "logs"
