"""Verifications: what waits, what runs and how far it is, and the latest result for each node that a miner named."""

from __future__ import annotations

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.panels.verification import queue_line, verification_lines
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.screens.selected_words import PlottedRows
from basilica_tui.store import Dirty
from basilica_tui.tables import item_words
from basilica_tui.text import clean
from basilica_tui.validator_tables import VERIFICATIONS, verification_word
from engine.control.models import VerificationView


class VerificationsScreen(PlottedRows[VerificationView]):
    """One row per node; the queue is in the title, the selected one's message below."""

    SCREEN_ID = "verifications"
    TABLE = VERIFICATIONS

    def more_title(self, look: Look) -> list[Line]:
        """How many wait, run and failed."""
        return [queue_line(self.desk.store.verifications.values(), self.desk.store.engine, look)]

    def words(self, row: VerificationView, look: Look) -> Line:
        """The whole message of the last result."""
        text, tone = verification_word(row, look)
        return ((f" {text}", tone),) if row.message else ()

    def perform(self, binding_id: str) -> bool:
        """Open the ladder of one node's steps."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(VerificationScreen(self.table.cursor_id))
            return True
        return super().perform(binding_id)


class VerificationScreen(ConsoleScreen):
    """One node's verification, step by step, while it runs and after."""

    SCREEN_ID = "verification"
    plot_chart = "node-score"

    def __init__(self, view_id: str) -> None:
        super().__init__()
        self._view_id = view_id

    @property
    def plot_subject(self) -> str:
        """What a plot opened from here is about."""
        return self._view_id

    def body(self) -> ComposeResult:
        """A list of lines."""
        yield ScrollingLines(id="verification")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """All lines again; only what differs is painted."""
        view = self.desk.store.verifications.get(self._view_id)
        gone: list[Line] = [(), ((f" {self._view_id} is not there any more.", "warn"),)]
        lines = gone if view is None else verification_lines(view, look)
        self.query_one(ScrollingLines).show(lines, faded=self.is_faded)

    def perform(self, binding_id: str) -> bool:
        """The log about it, the tree around it, copying, scrolling."""
        view = self.desk.store.verifications.get(self._view_id)
        if view is not None and binding_id == "item.logs":
            self.desk.show_logs_of(item_words(view))
        elif view is not None and binding_id == "item.tree":
            self.desk.show_tree_of(item_words(view))
        elif view is not None and binding_id == "copy":
            self.desk.copy_text(clean(view.node_id), "node id")
        elif view is not None and binding_id == "copy.row":
            self.desk.copy_text(VERIFICATIONS.copy_text(view), "verification")
        else:
            return self._scroll(binding_id)
        return True

    def _scroll(self, binding_id: str) -> bool:
        return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
