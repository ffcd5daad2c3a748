"""Tables of both roles: sessions, services, alerts; what a row is called; all tables by name. Pure, no Textual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basilica_tui import format as f
from basilica_tui.cells import row_json, state_cell
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from basilica_tui.log_table import log_line
from basilica_tui.node_table import NODES, node_name
from basilica_tui.states import (
    ALERT_LEVELS,
    SERVICE_STATES,
    SESSION_STATES,
    look_of,
)
from basilica_tui.validator_tables import MINERS, VERIFICATIONS
from basilica_tui.weights_table import WEIGHTS
from engine.control.models import (
    AlertView,
    LogRecord,
    NodeView,
    ServiceView,
    SessionView,
    VerificationView,
)

# --- sessions -------------------------------------------------------------------------------------------------


def _placed(session: SessionView, look: Look) -> Span:
    if session.nodes_ready == 0 and session.nodes_failed == 0:
        return look.symbols.dash, "dim"
    if session.nodes_failed:
        return f"{session.nodes_ready} ok, {session.nodes_failed} failed", "warn"
    return f"{session.nodes_ready} ok", "good"


def _access(session: SessionView, look: Look) -> Span:
    if session.state == "ended":
        return f"ended {f.ago(session.ended_at, look)}", "dim"
    if session.access_until is None:
        return "none yet", "dim"
    if session.access_until <= look.now:
        return "ending", "warn"
    return f.remaining(session.access_until, look), ""


def _assigned(session: SessionView, look: Look) -> Span:
    return ("yes", "good") if session.assigned else ("no", "dim")


SESSIONS: Table[SessionView] = Table(
    collection="sessions",
    noun="session",
    first_sort="state",
    is_problem=lambda s: s.nodes_failed > 0,
    copy_text=row_json,
    watched=frozenset({"state", "nodes", "assigned"}),
    columns=(
        Column("hotkey", "validator", 12, lambda s, k: (f.short_hotkey(s.hotkey or s.id, k), "accent"),
               lambda s: s.hotkey, 1, value=lambda s: s.hotkey or s.id),
        Column("state", "state", 11, lambda s, k: state_cell(SESSION_STATES, s.state, k),
               lambda s: look_of(SESSION_STATES, s.state).rank, 1, value=lambda s: s.state),
        Column("access", "access ends in", 15, _access, lambda s: s.access_until, 2),
        Column("nodes", "keys in place", 15, _placed, lambda s: float(s.nodes_ready), 2, descending=True),
        Column("uid", "uid", 5, lambda s, k: (f.number(s.uid, k), ""), lambda s: s.uid, 5, "right"),
        Column("stake", "stake", 11, lambda s, k: (f.tao(s.stake_tao, k), ""), lambda s: s.stake_tao, 3, "right",
               descending=True),
        Column("assigned", "assigned", 8, _assigned, lambda s: float(not s.assigned), 4),
        Column("authenticated", "signed in", 9, lambda s, k: (f.age(s.authenticated_at, k), ""),
               lambda s: s.authenticated_at, 4, "right", descending=True),
        Column("discovery", "last asked", 10, lambda s, k: (f.age(s.last_discovery_at, k), ""),
               lambda s: s.last_discovery_at, 3, "right", descending=True),
        Column("dialect", "dialect", 7, lambda s, k: (s.dialect or k.symbols.dash, ""), lambda s: s.dialect, 7),
        Column("peer", "from", 16, lambda s, k: (s.peer or k.symbols.dash, "dim"), lambda s: s.peer, 6, grow=1),
        Column("reason", "why it ended", 14, lambda s, k: (s.end_reason or k.symbols.dash, "dim"),
               lambda s: s.end_reason or None, 8, grow=2),
    ),
)  # fmt: skip


# --- services, alerts -----------------------------------------------------------------------------------------


def _service_note(service: ServiceView, look: Look) -> Span:
    if service.state == "restarting" and service.retry_at is not None:
        return f"{service.last_error} (again in {f.remaining(service.retry_at, look)})", "warn"
    return service.last_error or look.symbols.dash, "dim"


SERVICES: Table[ServiceView] = Table(
    collection="services",
    noun="service",
    first_sort="state",
    is_problem=lambda s: s.state != "running",
    copy_text=row_json,
    watched=frozenset({"state", "restarts"}),
    columns=(
        Column("service", "service", 14, lambda s, k: (s.id, ""), lambda s: s.id, 1),
        Column("state", "state", 12, lambda s, k: state_cell(SERVICE_STATES, s.state, k),
               lambda s: look_of(SERVICE_STATES, s.state).rank, 1, value=lambda s: s.state),
        Column("since", "since", 8, lambda s, k: (f.age(s.since, k), ""), lambda s: s.since, 2, "right"),
        Column("restarts", "restarts", 8, lambda s, k: (f.number(s.restarts, k), "warn" if s.restarts else ""),
               lambda s: float(s.restarts), 3, "right", descending=True),
        Column("error", "last error", 20, _service_note, lambda s: s.last_error or None, 2, grow=1),
    ),
)  # fmt: skip


def _impact(alert: AlertView, look: Look) -> Span:
    return (alert.impact, "warn") if alert.impact and alert.active else (alert.impact or look.symbols.dash, "dim")


def _alert_state(alert: AlertView, look: Look) -> Span:
    if not alert.active:
        return f"{look.symbols.tick} over", "dim"
    mark, tone = state_cell(ALERT_LEVELS, alert.level, look)
    if alert.silenced_until is not None and alert.silenced_until > look.now:
        return f"{mark}, silent", "dim"
    if alert.muted:
        return f"{mark}, {'drained' if alert.muted == 'drain' else 'silent'}", "dim"
    return (f"{mark}, seen" if alert.acknowledged else mark), "dim" if alert.acknowledged else tone


def _alert_length(alert: AlertView, look: Look) -> Span:
    if alert.began_at is None:
        return look.symbols.dash, "dim"
    end = look.now if alert.active or alert.ended_at is None else alert.ended_at
    return f.duration(end - alert.began_at), ""


def _alert_rank(alert: AlertView) -> float:
    return look_of(ALERT_LEVELS, alert.level).rank + (0 if alert.active else 10)


ALERTS: Table[AlertView] = Table(
    collection="alerts",
    noun="alert",
    first_sort="state",
    is_problem=lambda a: a.active,
    copy_text=row_json,
    watched=frozenset({"state"}),
    columns=(
        Column("state", "state", 18, _alert_state, _alert_rank, 1,
               value=lambda a: f"{a.level} {'active' if a.active else 'over'}"),
        Column("subject", "subject", 14, lambda a, k: (a.subject, ""), lambda a: a.subject, 1, grow=1),
        Column("message", "message", 28, lambda a, k: (a.message, ""), lambda a: a.message, 1, grow=4),
        Column("began", "began", 7, lambda a, k: (f.age(a.began_at, k), ""), lambda a: a.began_at, 2, "right",
               descending=True),
        Column("lasted", "lasted", 7, _alert_length, lambda a: a.ended_at, 3, "right"),
        Column("impact", "impact", 14, _impact, lambda a: a.impact or None, 5, grow=2),
        Column("hint", "what to do", 20, lambda a, k: (a.hint or k.symbols.dash, "dim"), lambda a: a.hint or None, 4,
               grow=3),
    ),
)  # fmt: skip


# --- any of them ----------------------------------------------------------------------------------------------


def item_name(row: object) -> str:
    """What an operator calls a row: a label, a hotkey, an id."""
    if isinstance(row, NodeView):
        return node_name(row)
    if isinstance(row, AlertView):
        return f"{row.subject} {row.message}".strip() or row.id
    if isinstance(row, LogRecord):
        return log_line(row)
    return next((name for name in _names(row) if name), "")


def item_words(row: object) -> str:
    """A filter that finds the log lines about a row: any of the names that it goes by."""
    if isinstance(row, NodeView):
        names = [row.label, row.id, row.host]
    elif isinstance(row, AlertView):
        names = [row.subject]
    else:
        names = _names(row)
    return "|".join(dict.fromkeys(name.replace(" ", "|") for name in names if name))


def _names(row: object) -> list[str]:
    """What others call a row, the best name first."""
    if isinstance(row, VerificationView):
        return [row.node_id, row.endpoint.rpartition("@")[2]]
    return [str(getattr(row, "hotkey", "")), str(getattr(row, "id", ""))]


ALL_TABLES: Mapping[str, Table[Any]] = {
    t.collection: t for t in (NODES, SESSIONS, SERVICES, ALERTS, MINERS, VERIFICATIONS, WEIGHTS)
}
"""The tables that ``basilica-tui show`` knows, by name."""
