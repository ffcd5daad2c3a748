"""``basilica-tui setup`` as a program of its own: the wizard without an engine to attach to."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, ClassVar, cast

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from rich.console import RenderableType
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen

from basilica_tui.painter import Painter, Written, is_held_back
from basilica_tui.paths import styles_folder
from basilica_tui.screens.setup import SetupScreen
from basilica_tui.symbols import speaks_utf8
from basilica_tui.themes import THEMES, choose_theme
from engine.setup.phases import Setup


class SetupApp(App[bool], inherit_bindings=False):
    """One screen; ends with whether the engine serves."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    TITLE = "basilica-tui setup"

    def __init__(self, setup: Setup, state_file: Path, *, theme: str = "dark", ascii_only: bool = False) -> None:
        super().__init__(css_path=styles_folder() / "console.tcss")
        self.animation_level = "none"
        self.wizard = SetupScreen(setup, state_file, ascii_only=ascii_only)
        self._theme_wanted = theme
        self._painter = Painter()
        for each in THEMES:
            self.register_theme(each)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Values for the style sheet's own variables under themes that do not name them."""
        return dict(next(t for t in THEMES if t.name == "dark").variables)

    def on_mount(self) -> None:
        """Show the wizard."""
        self.theme = self._theme_wanted
        self.push_screen(self.wizard, self._left)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Only the cells that differ go to the terminal, as in the console."""
        update: object = renderable
        if isinstance(update, CompositorUpdate) and not is_held_back(self):
            text = self._painter.difference(update, self.size, self.console)
            if text == "" and self.cursor_position == self._previous_cursor_position:
                self.post_display_hook()
                return
            if text is not None:
                super()._display(screen, cast("Any", Written(text)))
                return
        super()._display(screen, renderable)

    def _left(self, is_serving: bool | None) -> None:
        self.exit(bool(is_serving))


def run_setup(setup: Setup, state_file: Path, *, theme: str | None = None) -> int:
    """Run the wizard; 0 when the engine serves at its end, 1 when it was left before."""
    app = SetupApp(setup, state_file, theme=choose_theme(theme, os.environ), ascii_only=not speaks_utf8(os.environ))
    is_serving = app.run(mouse=False)
    answers = app.wizard.setup.answers
    if is_serving:
        sys.stdout.write(f"the engine serves; look at it with: basilica-tui --config {answers.config_path}\n")
        return 0
    if app.wizard.unkept:
        sys.stdout.write(f"the answers are NOT kept: {app.wizard.unkept}\n")
        return 1
    sys.stdout.write("the answers are kept; go on with: basilica-tui setup\n")
    return 1
