"""One validator's access: what stands now, and what became of it before."""

from __future__ import annotations

from textual.app import ComposeResult

from basilica_tui.format import Line, Look, short_hotkey
from basilica_tui.panels.record import record_lines
from basilica_tui.screens.asking import Asking
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.menus import choose_action
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.screens.session_actions import act_on_session
from basilica_tui.store import Dirty
from basilica_tui.tables import SESSIONS, item_words
from basilica_tui.text import clean
from basilica_tui.timeline import SESSION_EVENTS, Record, timeline_lines
from engine.control.models import view_to_json
from engine.errors import BasilicaError

READ_EVERY_S = 30.0
HISTORY_LINES = 60


class SessionScreen(ConsoleScreen):
    """Fields on top, history below."""

    SCREEN_ID = "session"

    def __init__(self, hotkey: str) -> None:
        super().__init__()
        self._hotkey = hotkey
        self._records: list[Record] | None = None
        self._note = "asking the engine"
        self._asking = Asking(READ_EVERY_S)

    def body(self) -> ComposeResult:
        """Lines that may be longer than the screen."""
        yield ScrollingLines(id="session")

    @property
    def crumb(self) -> str:
        """Its place in the path."""
        return short_hotkey(self._hotkey, self.desk.look())

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """All of it again; only what differs is painted."""
        self._ask_when_due()
        view = self.desk.store.sessions.get(self._hotkey)
        lines: list[Line] = [(), ((" The engine knows no session of this validator now.", "warn"),)]
        if view is not None:
            lines = record_lines("session", view_to_json(view), look)
        history: list[Line] = [((self._note, "dim"),)]
        if self._records is not None:
            history = timeline_lines(self._records, SESSION_EVENTS, look, self.size.width, limit=HISTORY_LINES)
            history = history or [(("nothing on record", "dim"),)]
        lines = [*lines, (), ((" HISTORY", "title"),), *(((" ", ""), *line) for line in history)]
        self.query_one(ScrollingLines).show(lines, faded=self.is_faded)

    def _ask_when_due(self) -> None:
        if self._asking.starts(self.desk.clock.monotonic(), self.desk.store.replay):
            self.desk.start(self._read())

    async def _read(self) -> None:
        try:
            self._records = list(await self.desk.link.events(self._hotkey, list(SESSION_EVENTS), 200))
        except BasilicaError as error:
            self._note = f"the history cannot be read: {error}"
        self._asking.ends()
        if self.is_mounted:
            self.flush(None)

    def perform(self, binding_id: str) -> bool:
        """End, renew, copy, scroll."""
        view = self.desk.store.sessions.get(self._hotkey)
        if binding_id == "actions":
            choose_action(self.desk, "sessions", [self._hotkey])
        elif binding_id == "item.logs" and view is not None:
            self.desk.show_logs_of(item_words(view))
        elif binding_id == "item.tree" and view is not None:
            self.desk.show_tree_of(item_words(view))
        elif binding_id == "copy":
            self.desk.copy_text(clean(self._hotkey), "hotkey")
        elif binding_id == "copy.row" and view is not None:
            self.desk.copy_text(SESSIONS.copy_text(view), "session")
        elif not act_on_session(self.desk, binding_id, [self._hotkey]):
            return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
        return True
