"""Miners: what a validator has discovered on the chain."""

from __future__ import annotations

from basilica_tui.format import Line, Look, number
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.selected_words import PlottedRows
from basilica_tui.validator_tables import MINERS, miner_trouble
from engine.control.models import MinerView


class MinersScreen(PlottedRows[MinerView]):
    """One row per miner; the last line has the selected one's trouble in full."""

    SCREEN_ID = "miners"
    TABLE = MINERS

    def words(self, row: MinerView, look: Look) -> Line:
        """Why it is not called, or what went wrong."""
        text, tone = miner_trouble(row, look)
        return ((f" uid {number(row.uid, look)} ", "dim"), (text, tone)) if row.last_error else ()

    def perform(self, binding_id: str) -> bool:
        """Open the record."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(RecordScreen("miners", self.table.cursor_id))
            return True
        return super().perform(binding_id)
