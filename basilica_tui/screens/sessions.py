"""Sessions: who may enter, since when and until when."""

from __future__ import annotations

from basilica_tui.screens.session_actions import act_on_session
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.tables import SESSIONS
from engine.control.models import SessionView


class SessionsScreen(TableScreen[SessionView]):
    """Validators' access."""

    SCREEN_ID = "sessions"
    TABLE = SESSIONS

    def perform(self, binding_id: str) -> bool:
        """Open one with its history, end it, renew it."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.open_session(self.table.cursor_id)
        elif not act_on_session(self.desk, binding_id, self.table.targets()):
            return super().perform(binding_id)
        return True
