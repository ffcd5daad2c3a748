"""What the log screen shows of the log: filter, level, markers and where to jump to. Pure, no Textual."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from basilica_tui.columns import Query, select
from basilica_tui.filters import Filter
from basilica_tui.format import Look
from basilica_tui.log_table import LOGS, log_line
from engine.control.models import LogRecord

LEVELS = ("all", "info", "warning", "error")
_RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}
MARKER = "marker"
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Immutable: every toggle derives a new one, and nothing else is forgotten by it."""

    filter: Filter = field(default_factory=Filter)
    level: str = "all"
    problems_only: bool = False

    def next_level(self) -> LogQuery:
        """The next stricter level, after the strictest all of them."""
        return replace(self, level=LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)])


class LogLines:
    """The lines that pass a query. Each line is judged once; markers pass always."""

    def __init__(self) -> None:
        self.records: dict[str, LogRecord] = {}
        self._passing: list[str] = []
        self._markers: dict[str, LogRecord] = {}
        self._query = LogQuery()
        self._last_seq = -1

    def update(self, logs: Sequence[LogRecord], query: LogQuery, look: Look) -> list[str]:
        """The ids to show, oldest first. ``logs`` only grows at its end and loses lines at its start."""
        if query != self._query or not logs or logs[-1].seq < self._last_seq:
            self._query, self._last_seq = query, -1
            self.records, self._passing = {}, []
        fresh = []
        for record in reversed(logs):
            if record.seq <= self._last_seq:
                break
            fresh.append((str(record.seq), record))
        fresh.reverse()
        self.records.update(fresh)
        self._passing += self._judge(fresh, look)
        first = logs[0].seq if logs else 0
        if self._passing and int(self._passing[0]) < first:
            self._passing = [i for i in self._passing if int(i) >= first]
        if len(self.records) > len(logs):
            self.records = {i: r for i, r in self.records.items() if r.seq >= first}
        self._last_seq = logs[-1].seq if logs else -1
        return self._with_markers()

    def mark(self, at: float) -> str:
        """Put a marker after the newest line; returns its id."""
        number = len(self._markers) + 1
        marker_id = f"{MARKER}-{number}"
        self._markers[marker_id] = LogRecord(max(self._last_seq, 0), at, MARKER, f"---- marker {number} ----")
        return marker_id

    def lookup(self, row_id: str) -> LogRecord | None:
        """A line or a marker."""
        return self.records.get(row_id) or self._markers.get(row_id)

    def _judge(self, fresh: Iterable[tuple[str, LogRecord]], look: Look) -> list[str]:
        floor = _RANKS.get(self._query.level, 0)
        loud = [(i, r) for i, r in fresh if _RANKS.get(r.level, 1) >= floor]
        query = Query(self._query.filter, self._query.problems_only)
        return sorted(select(LOGS, loud, query, look), key=int)

    def _with_markers(self) -> list[str]:
        if not self._markers:
            return list(self._passing)
        keyed = [((int(i), 0), i) for i in self._passing]
        keyed += [((r.seq, n), i) for n, (i, r) in enumerate(self._markers.items(), 1)]
        return [i for _, i in sorted(keyed)]


def find(order: Sequence[str], lines: LogLines, text: str, start: int, step: int) -> int | None:
    """The next line from ``start`` on, without it, that holds the text; round the end; None where there is none."""
    wanted = text.lower()
    for distance in range(1, len(order) + 1):
        index = (start + step * distance) % len(order)
        record = lines.lookup(order[index])
        if record is not None and wanted in log_line(record).lower():
            return index
    return None


def count_matches(order: Sequence[str], lines: LogLines, text: str) -> int:
    """How many of the lines hold the text."""
    wanted = text.lower()
    return sum(wanted in log_line(r).lower() for i in order if (r := lines.lookup(i)) is not None)


def line_at(order: Sequence[str], lines: LogLines, at: float) -> int:
    """The first line at that time or later; the last one when all are older."""
    for index, row_id in enumerate(order):
        record = lines.lookup(row_id)
        if record is not None and record.at >= at:
            return index
    return max(len(order) - 1, 0)


def parse_time(text: str, now: float) -> float | None:
    """``14:05``, ``14:05:30``, ``2026-11-20 14:05`` in local time, or ``-30m``; None for anything else."""
    text = text.strip()
    back = re.fullmatch(r"-\s*(\d+)\s*(s|min|m|h|d)", text)
    if back is not None:
        return now - float(back[1]) * _SECONDS[back[2]]
    for form in ("%H:%M", "%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            found = time.strptime(text, form)
        except ValueError:
            continue
        if form.startswith("%H"):
            today = time.localtime(now)
            at = time.mktime((*today[:3], *found[3:6], 0, 0, -1))
            return at if at <= now else at - 86_400  # a time of day that is still to come was yesterday's
        return time.mktime((*found[:6], 0, 0, -1))
    return None
