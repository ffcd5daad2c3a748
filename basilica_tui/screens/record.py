"""One object with everything that is known about it, for what has no detail screen of its own."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.panels.record import record_lines
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.store import Dirty
from engine.control.models import view_to_json


class RecordScreen(ConsoleScreen):
    """Fields and values of one view."""

    SCREEN_ID = "record"

    def __init__(self, collection: str, view_id: str) -> None:
        super().__init__()
        self._collection = collection
        self._view_id = view_id

    def body(self) -> ComposeResult:
        """A list of fields."""
        yield ScrollingLines(id="record")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """All fields again; only what differs is painted."""
        view = self.desk.store.collection(self._collection).get(self._view_id)
        if view is not None:
            self.show_values(self._collection, view_to_json(view), look)
            return
        gone: list[Line] = [(), ((f" {self._view_id} is not there any more.", "warn"),)]
        self.query_one(ScrollingLines).show(gone, faded=self.is_faded)

    def show_values(self, title: str, values: Mapping[str, object], look: Look) -> None:
        """Draw these fields."""
        self.query_one(ScrollingLines).show(record_lines(title, values, look), faded=self.is_faded)

    def perform(self, binding_id: str) -> bool:
        """Scrolling."""
        return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
