"""The table of log lines. Pure, no Textual."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.cells import state_cell
from basilica_tui.columns import Column, Table
from basilica_tui.states import (
    LOG_LEVELS,
    look_of,
)
from engine.control.models import (
    LogRecord,
)

OTHERS = 2
_RANKS = {"ok": 0, "node_id": 1, "verification_id": 9, "request_id": 9}
"""Ids that are new with every event come last: a narrow terminal has room for two words."""


def log_fields(record: LogRecord) -> str:
    """The structured part of a log line as ``key=value`` words: how it went and with which node stand first."""
    pairs = sorted(record.fields.items(), key=lambda pair: _RANKS.get(pair[0], OTHERS))
    return "  ".join(f"{key}={value}" for key, value in pairs if not _is_said(record, key))


def _is_said(record: LogRecord, key: str) -> bool:
    """Whether the column before it has it: events of the engine carry their own name."""
    return key == "kind" and record.fields[key] == record.event


def log_line(record: LogRecord) -> str:
    """A log line as one text: what a search looks through and what is copied."""
    return f"{f.clock_time(record.at)} {record.level} {record.event} {log_fields(record)}".rstrip()


def whole_line(record: LogRecord) -> f.Line:
    """The same for reading: the time in full, what happened, then the details."""
    tone = look_of(LOG_LEVELS, record.level).tone
    head = (f" {f.exact_time(record.at)} ", "dim"), (f"{record.level} ", tone), (f"{record.event}  ", "title")
    return (*head, (log_fields(record), ""))


def _quiet(record: LogRecord) -> str:
    return "dim" if record.level == "debug" else ""


LOGS: Table[LogRecord] = Table(
    collection="logs",
    noun="line",
    first_sort="seq",
    is_problem=lambda r: r.level in {"warning", "error", "critical"},
    copy_text=log_line,
    columns=(
        Column("seq", "time", 8, lambda r, k: (f.clock_time(r.at), "dim"), lambda r: float(r.seq), 1),
        Column("stamp", "date and time", 23, lambda r, k: (f.exact_time(r.at), "dim"), lambda r: r.at, 9),
        Column("level", "level", 9, lambda r, k: state_cell(LOG_LEVELS, r.level, k),
               lambda r: look_of(LOG_LEVELS, r.level).rank, 2, value=lambda r: r.level),
        Column("event", "event", 26, lambda r, k: (r.event, _quiet(r)), lambda r: r.event, 1),
        Column("fields", "details", 24, lambda r, k: (log_fields(r), _quiet(r)), log_fields, 1, grow=4, comfort=140),
    ),
)  # fmt: skip
