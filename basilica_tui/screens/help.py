"""Help: the binding table as it applies to the screen it was opened from."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.panels.help import help_lines
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.store import Dirty


class HelpScreen(ConsoleScreen):
    """Any back key closes it."""

    SCREEN_ID = "help"

    def __init__(self, about: str, formula: Callable[[Look], list[Line]] = lambda _look: []) -> None:
        """``formula`` explains the row that is selected there, if there is something to explain."""
        super().__init__()
        self._about = about
        self._formula = formula

    def body(self) -> ComposeResult:
        """The list."""
        yield ScrollingLines(id="help")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """The same lines each time; nothing is painted twice."""
        desk = self.desk
        lines = help_lines(
            desk.bindings_table,
            self._about,
            look,
            self.size.width,
            read_only=desk.read_only,
            is_validator=desk.store.is_validator,
            verbs=desk.store.verbs or frozenset(),
        )
        if formula := self._formula(look):
            lines = [*formula, (), *lines]
        self.query_one(ScrollingLines).show(lines)

    def perform(self, binding_id: str) -> bool:
        """Scroll; the help key closes what it opened."""
        if binding_id == "help":
            self.desk.pop_screen()
            return True
        return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
