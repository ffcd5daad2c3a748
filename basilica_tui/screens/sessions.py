"""Sessions: who may enter, since when and until when."""

from __future__ import annotations

from basilica_tui.format import plural, short_hotkey, tao
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.tables import SESSIONS
from engine.control.models import SessionView


class SessionsScreen(TableScreen[SessionView]):
    """Validators' access."""

    SCREEN_ID = "sessions"
    TABLE = SESSIONS

    def perform(self, binding_id: str) -> bool:
        """Open the record, end the access."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.push_screen(RecordScreen("sessions", self.table.cursor_id))
        elif binding_id == "session.end":
            self._end(self.table.cursor_id)
        else:
            return super().perform(binding_id)
        return True

    def _end(self, hotkey: str | None) -> None:
        session = self.desk.store.sessions.get(hotkey or "")
        if session is None:
            return
        look = self.desk.look()
        short = short_hotkey(session.id, look)
        if session.state == "ended":
            self.desk.say(f"the access of {short} is over already")
            return
        lines = [
            f"validator {session.id}",
            f"stake {tao(session.stake_tao, look)}, keys in place on {plural(session.nodes_ready, 'node')}",
            "",
            "Its keys are removed from every node at once. It may sign in again if it is still assigned.",
        ]

        def decided(is_sure: bool | None) -> None:
            if is_sure:
                self.desk.act("session.end", {"hotkey": session.id}, f"end the access of {short}")

        self.desk.push_screen(Confirm(f"End the access of {short}?", lines, "end it"), decided)
