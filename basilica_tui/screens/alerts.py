"""Alerts: what is wrong now, and what was."""

from __future__ import annotations

from basilica_tui.format import Line, Look
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.tables import ALERTS
from engine.control.models import AlertView


class AlertsScreen(TableScreen[AlertView]):
    """Active alerts first."""

    SCREEN_ID = "alerts"
    TABLE = ALERTS

    def more_title(self, look: Look) -> list[Line]:
        """How many are active."""
        active = sum(a.active for a in self.desk.store.alerts.values())
        return [((f"{active} active", "warn" if active else "good"),)] if self.total() else []

    def perform(self, binding_id: str) -> bool:
        """Open the record."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(RecordScreen("alerts", self.table.cursor_id))
            return True
        return super().perform(binding_id)
