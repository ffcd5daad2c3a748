"""Logs: the engine's structured log, filtered as it comes in; any movement upwards leaves following."""

from __future__ import annotations

from dataclasses import replace

from basilica_tui.columns import Query, select
from basilica_tui.format import Line, Look, plural
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from basilica_tui.tables import LOGS
from engine.control.models import LogRecord

_DOWN = frozenset({"nav.down", "nav.page_down", "nav.half_down", "nav.bottom"})
_UP = frozenset({"nav.up", "nav.page_up", "nav.half_up", "nav.top"})


class LogsScreen(TableScreen[LogRecord]):
    """The newest line is at the bottom. Each line is judged by the filter once."""

    SCREEN_ID = "logs"
    TITLE_WORD = "log"
    TABLE = LOGS

    def __init__(self) -> None:
        super().__init__()
        self.is_following = True
        self._records: dict[str, LogRecord] = {}
        self._passing: list[str] = []
        self._judged = Query()
        self._last_seq = -1

    def lookup(self, row_id: str) -> LogRecord | None:
        """A line by its number."""
        return self._records.get(row_id)

    def total(self) -> int:
        """Lines that the console holds."""
        return len(self.desk.store.logs)

    def select_rows(self, look: Look) -> list[str]:
        """Judge only the lines that are new since the last time, unless the query is another one."""
        logs = self.desk.store.logs
        query = replace(self.view_query, sort="", reverse=False)
        first = logs[0].seq if logs else 0
        if query != self._judged or not logs or logs[-1].seq < self._last_seq:
            self._judged, self._last_seq = query, -1
            self._records, self._passing = {}, []
        fresh = []
        for record in reversed(logs):
            if record.seq <= self._last_seq:
                break
            fresh.append((str(record.seq), record))
        fresh.reverse()
        self._records.update(fresh)
        self._passing += select(LOGS, fresh, query, look)
        for row_id in [r for r in self._records if int(r) < first]:
            del self._records[row_id]
        self._passing = [row_id for row_id in self._passing if row_id in self._records]
        self._last_seq = logs[-1].seq if logs else -1
        return list(self._passing)

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """New lines at the end; the window stays where it is unless it follows."""
        if dirty is None or dirty.logs:
            self.table.set_rows(self.select_rows(look), self.view_query)
            if self.is_following:
                self.table.move_to(len(self.table.order) - 1)
        super().draw(look, Dirty(link=True) if dirty is not None else None)

    def more_title(self, look: Look) -> list[Line]:
        """Whether it follows, and whether lines were lost on the way here."""
        parts: list[Line] = [(("following", "good"),) if self.is_following else (("f follows", "dim"),)]
        lost = self.desk.store.lost_log_lines
        if lost:
            parts.append(((f"{plural(lost, 'line')} lost on the way", "warn"),))
        return parts

    def perform(self, binding_id: str) -> bool:
        """Movement decides about following; sorting makes no sense here."""
        if binding_id.startswith("sort."):
            self.desk.say("the log is always in the order of time")
            return True
        if binding_id == "follow":
            self.is_following = not self.is_following
            if self.is_following:
                self.table.move_to(len(self.table.order) - 1)
        elif binding_id == "open":
            self._open()
        else:
            done = super().perform(binding_id)
            if binding_id in _UP:
                self.is_following = False
            elif binding_id in _DOWN:
                self.is_following = self.table.is_at_end
            self.draw_title(self.desk.look())
            return done
        self.draw_title(self.desk.look())
        return True

    def _open(self) -> None:
        record = self.lookup(self.table.cursor_id or "")
        if record is not None:
            self.desk.push_screen(LogRecordScreen(record))


class LogRecordScreen(RecordScreen):
    """One log line, field by field."""

    def __init__(self, record: LogRecord) -> None:
        super().__init__("logs", str(record.seq))
        self._record = record

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """The line never changes."""
        values: dict[str, object] = {
            "id": self._record.seq, "logged_at": self._record.at, "level": self._record.level,
            "event": self._record.event, **self._record.fields,
        }  # fmt: skip
        self.show_values("line", values, look)
