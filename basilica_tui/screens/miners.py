"""Miners: what a validator has discovered on the chain."""

from __future__ import annotations

from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.validator_tables import MINERS
from engine.control.models import MinerView


class MinersScreen(TableScreen[MinerView]):
    """One row per miner."""

    SCREEN_ID = "miners"
    TABLE = MINERS

    def perform(self, binding_id: str) -> bool:
        """Open the record."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(RecordScreen("miners", self.table.cursor_id))
            return True
        return super().perform(binding_id)
