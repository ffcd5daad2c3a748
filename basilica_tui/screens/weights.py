"""Weights: the vector in force by uid, how each weight came about, and setting the next one now."""

from __future__ import annotations

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.panels.formula import weight_formula
from basilica_tui.panels.weights import weight_height, weight_lines
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from basilica_tui.weights_table import WEIGHTS
from basilica_tui.widgets.lines import Lines
from engine.control.models import WeightView


class WeightsScreen(TableScreen[WeightView]):
    """Figures of the whole vector above, one row per uid below."""

    SCREEN_ID = "weights"
    TABLE = WEIGHTS

    def body(self) -> ComposeResult:
        """Title, figures, table."""
        yield Lines(1, id="title")
        yield Lines(8, id="figures")
        yield self.make_table()

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """The figures change with the engine, the rows with each vector."""
        figures = self.query_one("#figures", Lines)
        figures.set_rows(weight_height(self.desk.store))
        figures.set_lines(weight_lines(self.desk.store, look, self.size.width), faded=self.is_faded)
        super().draw(look, dirty)

    def formula(self, look: Look) -> list[Line]:
        """The selected uid's arithmetic, for the help screen."""
        row = self.desk.store.collection("weights").get(self.table.cursor_id or "")
        return weight_formula(row, self.desk.store.engine, look) if isinstance(row, WeightView) else []

    def perform(self, binding_id: str) -> bool:
        """Open a uid's record."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(RecordScreen("weights", self.table.cursor_id))
            return True
        return super().perform(binding_id)
