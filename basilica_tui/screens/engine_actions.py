"""Actions on the engine as a whole, each with its dialog; and the console's colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basilica_tui.screens.chooser import Choice, Chooser
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.menus import confirm
from basilica_tui.settings import load_themes

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def choose_theme(desk: ConsoleApp, name: str) -> None:
    """Colours by name; a list where there is no such name. Files in the folder of themes are read again."""
    if desk.themes_folder is not None:
        themes, problems = load_themes(desk.themes_folder)
        desk.add_themes(themes)
        if problems:
            desk.say("; ".join(problems), "warn")
    if name in desk.theme_names:
        desk.theme = name
        return
    if name:
        desk.say(f"there is no theme {name}", "warn")

    def chosen(wanted: str | None) -> None:
        if wanted is not None:
            desk.theme = wanted

    desk.push_screen(Chooser("Colours", [Choice(n, n) for n in desk.theme_names], start=desk.theme), chosen)


def reload_engine(desk: ConsoleApp) -> None:
    """Read the engine's configuration file again."""
    lines = ["Settings that can change while it runs are taken over; it says which ones need a restart."]
    confirm(desk, "Read the configuration file again?", lines, "reload",
            lambda: desk.act("engine.reload", {}, "reload the configuration"))  # fmt: skip


def set_weights(desk: ConsoleApp) -> None:
    """Score and set weights now."""
    engine = desk.store.engine
    last = (
        "none were set yet" if engine.weights_block is None else f"the last ones are of block {engine.weights_block:,}"
    )
    lines = [
        f"network {engine.network}, subnet {engine.netuid}, block {engine.block or 0:,}; {last}",
        "",
        "Everything is scored again and goes to the chain in place of what is there. Subnets limit how often.",
    ]
    confirm(desk, "Set weights now?", lines, "set them", lambda: desk.act("weights.set", {}, "set weights"))


def stop_engine(desk: ConsoleApp) -> None:
    """Stop it, after its name was typed."""
    name = desk.store.engine.name or "stop"
    lines = [
        "It stops serving validators. Keys that are on nodes stay until they expire.",
        "The console stays here and waits for it to come back.",
    ]

    def decided(is_sure: bool | None) -> None:
        if is_sure:
            desk.act("engine.stop", {}, f"stop the engine {name}")

    desk.push_screen(Confirm(f"Stop the engine {name}?", lines, "stop it", typed=name), decided)
