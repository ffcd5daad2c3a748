"""Logs: the engine's structured log. ``/`` searches and keeps the context, ``&`` filters, looking back unfollows."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult

from basilica_tui.exports import export_problem, log_text, parse_export
from basilica_tui.filters import parse_filter
from basilica_tui.format import Line, Look, clock_time, plural
from basilica_tui.lines import fold_line
from basilica_tui.log_query import LEVELS, LogLines, LogQuery, count_matches, find, line_at, parse_time
from basilica_tui.log_table import LOGS, whole_line
from basilica_tui.preferences import ViewPreferences
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.store import Dirty
from basilica_tui.widgets.lines import Lines
from basilica_tui.widgets.prompt import Prompt
from engine.control.models import LogRecord

_DOWN = frozenset({"nav.down", "nav.page_down", "nav.half_down", "nav.bottom"})
_UP = frozenset({"nav.up", "nav.page_up", "nav.half_up", "nav.top"})
JUMP_S = 600.0


class LogsScreen(TableScreen[LogRecord]):
    """The newest line is at the bottom. Search and filter are two things, and both are said in the title."""

    SCREEN_ID = "logs"
    TITLE_WORD = "log"
    TABLE = LOGS

    def __init__(self) -> None:
        super().__init__()
        self.is_following = True
        self.search = ""
        self.log_query = LogQuery()
        self._lines = LogLines()
        self._matches = 0
        self.is_whole = False
        """Whether the selected line stands below the others with all of its details."""

    def body(self) -> ComposeResult:
        """Title, lines, and the selected one as long as it is."""
        yield from super().body()
        yield Lines(0, id="whole")

    def lookup(self, row_id: str) -> LogRecord | None:
        """A line by its number, or a marker."""
        return self._lines.lookup(row_id)

    def total(self) -> int:
        """Lines that the console holds."""
        return len(self.desk.store.logs)

    def select_rows(self, look: Look) -> list[str]:
        """The lines that pass filter and level."""
        self.log_query = replace(
            self.log_query, filter=self.view_query.filter, problems_only=self.view_query.problems_only
        )
        return self._lines.update(self.desk.store.logs, self.log_query, look)

    def recall(self) -> None:
        """A log begins whole each time: a forgotten filter would hide what matters."""
        kept = self.desk.preferences.of(self.preference_key)
        self.view_columns = tuple(c for c in kept.columns if c in {c.id for c in LOGS.columns})
        self.table.set_columns(self.view_columns)
        self.is_whole = kept.wide

    def remember(self) -> None:
        """Only the columns, and whether the selected line is shown whole."""
        self.desk.preferences.keep(self.preference_key, ViewPreferences(columns=self.view_columns, wide=self.is_whole))

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """New lines at the end; the window stays where it is unless it follows."""
        if dirty is None or dirty.logs:
            self.table.set_rows(self.select_rows(look), self.view_query)
            self._count()
            if self.is_following:
                self.table.move_to(len(self.table.order) - 1)
        super().draw(look, Dirty(link=True) if dirty is not None else None)
        self._draw_whole()

    def _draw_whole(self) -> None:
        row = self.lookup(self.table.cursor_id or "") if self.is_whole else None
        lines = fold_line(whole_line(row), self.size.width)[: max(self.size.height // 2, 1)] if row is not None else []
        below = self.query_one("#whole", Lines)
        below.set_rows(len(lines))
        below.set_lines(lines, faded=self.is_faded)

    def more_title(self, look: Look) -> list[Line]:
        """Level, search, whether it follows, and whether lines were lost on the way here."""
        parts: list[Line] = []
        if self.log_query.level != "all":
            parts.append((("from ", "dim"), (self.log_query.level, "warn")))
        if self.search:
            found = plural(self._matches, "match", "matches")
            parts.append((("search ", "dim"), (self.search, "accent"), (f" {found}, n N", "dim")))
        behind = self.table.rows_below if not self.is_following else 0
        following: Line = (("following", "good"),) if self.is_following else (("f follows", "dim"),)
        if behind > 0:
            following = ((f"{behind:,} below", "key"), (", f follows", "dim"))
        parts.append(following)
        lost = self.desk.store.lost_log_lines
        if lost:
            parts.append(((f"{plural(lost, 'line')} lost on the way", "warn"),))
        return parts

    def empty_text(self, look: Look) -> str:
        """A level hides lines too."""
        if self.total() and not self.table.order and self.log_query.level != "all":
            return f"No line is as loud as {self.log_query.level}. v shows the others."
        return super().empty_text(look)

    def _count(self) -> None:
        self._matches = count_matches(self.table.order, self._lines, self.search) if self.search else 0

    # --- keys -------------------------------------------------------------------------------------------------

    def perform(self, binding_id: str) -> bool:
        """Movement decides about following; the order is always that of time."""
        if binding_id.startswith("search."):
            self._find(1 if binding_id == "search.next" else -1)
        elif binding_id in {"follow", "open", "describe", "filter"} or binding_id.startswith("log."):
            self._log_key(binding_id)
        elif binding_id == "wide":
            self.is_whole = not self.is_whole
            self._draw_whole()
            self.remember()
        elif binding_id.startswith("sort.") or binding_id in {"zoom", "actions", "item.logs"}:
            self.desk.say("the log is always in the order of time; each line stands by itself")
        else:
            done = super().perform(binding_id)
            if binding_id in _UP:
                self.is_following = False
            elif binding_id in _DOWN:
                self.is_following = self.table.is_at_end
            self.draw_title(self.desk.look())
            self._draw_whole()
            return done
        self.draw_title(self.desk.look())
        return True

    def _log_key(self, binding_id: str) -> None:
        if binding_id == "follow":
            self.is_following = not self.is_following
            if self.is_following:
                self.table.move_to(len(self.table.order) - 1)
        elif binding_id in {"open", "describe"}:
            self._open()
        elif binding_id == "filter":
            self.open_prompt("/", self.search)
        elif binding_id == "log.filter":
            self.open_prompt("&", self.view_query.filter.source)
        elif binding_id == "log.level":
            self._set_level(self.log_query.next_level().level)
        elif binding_id == "log.times":
            self.set_columns(() if "stamp" in self.view_columns else ("stamp", "level", "event", "fields"))
        elif binding_id == "log.marker":
            self._mark()
        elif binding_id == "log.at":
            self.desk.say("say when:   :at 14:05   :at -30m   :at 2026-11-20 14:05")
        else:
            self._jump_by(-JUMP_S if binding_id == "log.earlier" else JUMP_S)

    def command(self, binding_id: str, argument: str) -> bool:
        """Filter, search, level and time by their words."""
        if binding_id in {"log.filter", "filter"}:
            self.set_query(replace(self.view_query, filter=parse_filter(argument)))
        elif binding_id == "log.level" and argument in LEVELS:
            self._set_level(argument)
        elif binding_id == "log.at":
            at = parse_time(argument, self.desk.look().now)
            if at is None:
                self.desk.say(f"{argument} is no time; 14:05, -30m and 2026-11-20 14:05 are", "warn")
            else:
                self._go_to(at)
        else:
            return super().command(binding_id, argument)
        return True

    def step_back(self) -> bool:
        """The search goes before the filter."""
        if self.search and not self.query_one(Prompt).is_open:
            self._search("")
            return True
        return super().step_back()

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Search or filter while typing; the base class leaves a prevented message alone."""
        event.stop()
        event.prevent_default()
        if event.kind == "/":
            self._search(event.text)
        elif event.kind == "&":
            self.set_query(replace(self.view_query, filter=parse_filter(event.text)), keep=False)

    def on_prompt_done(self, event: Prompt.Done) -> None:
        """Enter goes to the newest line that matches."""
        if event.kind == "/" and self.search:
            self.is_following = False
            self._find(-1, from_end=True)

    def export(self, argument: str = "") -> None:
        """The lines that are shown: JSON lines, or CSV when asked for."""
        form, path = parse_export(argument)
        if problem := export_problem(argument):
            self.desk.say(problem, "warn")
            return
        if argument.strip().startswith("csv") or (path is not None and path.suffix == ".csv"):
            super().export(argument)
            return
        rows = [row for row_id in self.table.order if (row := self.lookup(row_id)) is not None]
        self.desk.save_text("log", log_text(rows), "json" if form == "csv" else form, path, len(rows))

    # --- what the keys do -------------------------------------------------------------------------------------

    def _search(self, text: str) -> None:
        self.search = text
        self.table.set_highlight(text)
        self._count()
        self.draw_title(self.desk.look())

    def _find(self, step: int, *, from_end: bool = False) -> None:
        if not self.search:
            self.desk.say("/ searches first")
            return
        order = self.table.order
        start = len(order) if from_end else self.table.cursor_index
        index = find(order, self._lines, self.search, start, step)
        if index is None:
            self.desk.say(f"no line has {self.search}", "warn")
            return
        self.is_following = False
        self.table.move_to(index)

    def _set_level(self, level: str) -> None:
        self.log_query = replace(self.log_query, level=level)
        self.set_query(self.view_query, keep=False)

    def _mark(self) -> None:
        self._lines.mark(self.desk.look().now)
        self.set_query(self.view_query, keep=False)
        if self.is_following:
            self.table.move_to(len(self.table.order) - 1)

    def _jump_by(self, seconds: float) -> None:
        record = self.lookup(self.table.cursor_id or "")
        if record is not None:
            self._go_to(record.at + seconds)

    def _go_to(self, at: float) -> None:
        self.is_following = False
        self.table.move_to(line_at(self.table.order, self._lines, at))
        record = self.lookup(self.table.cursor_id or "")
        if record is not None:
            self.desk.say(f"at {clock_time(record.at)}")

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
