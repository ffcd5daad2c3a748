"""From a binding to what it does: the console's own commands, then those of the screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from basilica_tui.bindings import REPLAY, SCREEN_IDS, KeyBinding
from basilica_tui.command_line import open_palette
from basilica_tui.filters import is_pattern, words_of
from basilica_tui.pace import next_pace, parse_pace
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.config_editing import edit_config
from basilica_tui.screens.engine_actions import choose_theme, reload_engine, set_weights, stop_engine
from basilica_tui.screens.help import HelpScreen
from basilica_tui.screens.info import InfoScreen
from basilica_tui.screens.plot import open_plot

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp

_ALWAYS = frozenset({"leave", "detach"})
"""Keys that need nothing on the screen; the others wait until it is drawn."""


def run_binding(desk: ConsoleApp, binding_id: str, argument: str = "") -> None:
    """Run a binding if this engine, this console and this screen have a use for it; else say why not."""
    binding = next((b for b in desk.bindings_table if b.id == binding_id), None)
    screen = desk.screen
    if binding is None or not isinstance(screen, ConsoleScreen):
        return
    if binding.needs and binding.needs not in (desk.store.verbs or ()):
        words = "only in a replay" if binding.needs == REPLAY else f"this engine knows no {binding.needs}"
        desk.say(words, "warn")
        return
    if binding.danger and desk.read_only:
        desk.say(desk.refusal, "warn")
        return
    if not screen.is_drawn and not needs_no_screen(binding_id):
        screen.typed_ahead.append((binding_id, argument))
        return
    own = desk.own_commands(screen, argument)
    if binding_id.startswith("screen."):
        name = binding_id.removeprefix("screen.")
        if (notice := desk.notice_now()) is not None and notice[1] == "dim":
            desk.say("")  # what is not to be had on one screen is not said on the next
        desk.show_view(desk.views.last if name == "last" else name)
        if argument:
            desk.do("log.filter" if name == "logs" else "filter", _filter_words(argument))
    elif binding_id in own and not (binding_id == "help" and isinstance(screen, HelpScreen)):
        own[binding_id]()
    elif argument and screen.command(binding_id, argument):
        return
    elif not screen.perform(binding_id):
        desk.say(not_here(binding), "dim")


def needs_no_screen(binding_id: str) -> bool:
    """Whether it can act before the screen is drawn: what goes elsewhere."""
    return binding_id.startswith("screen.") or binding_id in _ALWAYS


def not_here(binding: KeyBinding) -> str:
    """``put a marker after the newest line: only on logs``: what a key or command does, and where if in one place."""
    words = re.split(r"[;:(]", binding.help)[0].strip()
    where = binding.scope[0] if len(binding.scope) == 1 and binding.scope[0] in SCREEN_IDS else ""
    return f"{words[:1].lower()}{words[1:]}: {f'only on {where}' if where else 'not on this screen'}"


def _filter_words(argument: str) -> str:
    """``:nodes /state:stopped`` is ``:nodes state:stopped``; the slashes round a regular expression stay."""
    return argument if any(map(is_pattern, words_of(argument)[:1])) else argument.removeprefix("/")


def own_commands(desk: ConsoleApp, screen: ConsoleScreen, argument: str) -> Mapping[str, Callable[[], object]]:
    """What the console does itself, whatever the screen, by binding id."""
    return {
        "help": lambda: desk.push_screen(HelpScreen(screen.SCREEN_ID, screen.formula)),
        "command": screen.open_command,
        "palette": lambda: open_palette(desk),
        "back": lambda: _back(desk, screen),
        "leave": desk.leave,
        "detach": desk.detach,
        "hint": lambda: desk.say("q leaves; the engine keeps running"),
        "refresh": lambda: _refresh(desk, argument),
        "pace.faster": lambda: desk.set_pace(next_pace(desk.pace_s, slower=False)),
        "pace.slower": lambda: desk.set_pace(next_pace(desk.pace_s, slower=True)),
        "suspend": desk.suspend_to_shell,
        "info": lambda: desk.push_screen(InfoScreen()),
        "theme": lambda: choose_theme(desk, argument),
        "console.reload": desk.read_settings_again,
        "plot": lambda: open_plot(desk, argument),
        "engine.switch": lambda: desk.switch_engine(argument.removeprefix("@")),
        "config.edit": lambda: desk.start(edit_config(desk)),
        "engine.reload": lambda: reload_engine(desk),
        "verify.now": lambda: desk.act("verify.now", {}, "verify now"),
        "reach.check": lambda: desk.act("reach.check", {}, "a call from outside"),
        "weights.set": lambda: set_weights(desk),
        "engine.stop": lambda: stop_engine(desk),
    }


def _refresh(desk: ConsoleApp, argument: str) -> None:
    if not argument:
        desk.start(desk.refresh_all())
    elif (pace := parse_pace(argument)) is not None:
        desk.set_pace(pace)
    else:
        desk.say(f"{argument} is no pace; half a second to a minute are:   :refresh 5s", "warn")


def _back(desk: ConsoleApp, screen: ConsoleScreen) -> None:
    if not screen.step_back() and desk.views.is_over:
        desk.pop_screen()
