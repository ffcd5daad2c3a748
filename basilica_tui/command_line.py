"""What was typed after ``:`` or chosen in the palette: commands of the console and actions of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from basilica_tui.actions import parse_args
from basilica_tui.bindings import SCREEN_IDS, key_face
from basilica_tui.charts import CHARTS, SPANS
from basilica_tui.commands import ActionCall, Vocabulary, command_list, parse_command, unknown_command
from basilica_tui.screens.chooser import Choice, Chooser
from basilica_tui.screens.menus import act_on_rows, confirm
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.vocabulary import names_of

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def vocabulary_of(desk: ConsoleApp) -> Vocabulary:
    """What commands may name now."""
    store = desk.store
    words: dict[str, Sequence[str]] = {
        "engine": [f"@{name}" for name in desk.ways],
        "theme": desk.theme_names,
        "level": ("all", "info", "warning", "error"),
        "export": ("csv", "json", "png", "svg"),
        "plot": (*(c.id for c in CHARTS), *(name for name, _ in SPANS)),
    }
    if isinstance(desk.screen, TableScreen):
        columns = [c.id for c in desk.screen.TABLE.columns]
        words |= {"sort": columns, "columns": columns}
    return Vocabulary(store.engine.role or "miner", store.verbs, names_of(store.collection), words)


def run_command(desk: ConsoleApp, text: str) -> None:
    """Run a line of the command prompt."""
    if text.strip().startswith("@"):
        text = f"engine {text.strip()}"
    command = parse_command(text, desk.bindings_table, read_only=desk.read_only, vocabulary=vocabulary_of(desk))
    if isinstance(command, ActionCall):
        _call(desk, command)
    elif command is not None:
        desk.do(command.id, command.argument)
    elif text.strip() in SCREEN_IDS:
        desk.show_view(text.strip())
    elif text.strip():
        words = unknown_command(
            text, desk.bindings_table, read_only=desk.read_only, vocabulary=vocabulary_of(desk), refusal=desk.refusal
        )
        desk.say(words, "warn")


def open_palette(desk: ConsoleApp) -> None:
    """Every command that means something here, found by a part of its name."""
    here = getattr(desk.screen, "SCREEN_ID", "")
    rows = command_list(desk.bindings_table, here, read_only=desk.read_only, vocabulary=vocabulary_of(desk))
    choices = [Choice(line, line, text, key_face(key) if key else "") for line, text, key in rows]

    def chosen(line: str | None) -> None:
        if line is None:
            return
        by_id = next((b for b in desk.bindings_table if b.id == line and not b.command), None)
        if by_id is not None:
            desk.do(by_id.id)
        else:
            run_command(desk, line)

    desk.push_screen(Chooser("Commands", choices, typing=True), chosen)


def _call(desk: ConsoleApp, call: ActionCall) -> None:
    """An action of the engine's, typed with its arguments; danger asks as it does by key."""
    action = call.action
    args, problem = parse_args(action, call.words, vocabulary_of(desk).names)
    words = " ".join([action.words, *call.words])
    if problem:
        desk.say(problem, "warn")
    elif action.danger and action.is_for_rows:
        first = action.args[0].name
        more = {name: value for name, value in args.items() if name != first}
        act_on_rows(desk, action, action.subject, [str(args[first])], more)
    elif action.danger:
        confirm(desk, f"{words.capitalize()}?", [action.warning], action.words.split(" ")[0],
                lambda: desk.act(action.verb, args, words))  # fmt: skip
    else:
        desk.act(action.verb, args, words)
