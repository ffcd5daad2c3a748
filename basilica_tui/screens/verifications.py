"""Verifications: the latest result for each node that a miner named."""

from __future__ import annotations

from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.tables import VERIFICATIONS
from engine.control.models import VerificationView


class VerificationsScreen(TableScreen[VerificationView]):
    """One row per verified node."""

    SCREEN_ID = "verifications"
    TABLE = VERIFICATIONS

    def perform(self, binding_id: str) -> bool:
        """Open the record."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(RecordScreen("verifications", self.table.cursor_id))
            return True
        return super().perform(binding_id)
