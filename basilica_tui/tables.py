"""The tables themselves: nodes, sessions, services, alerts, miners, verifications, log. Pure, no Textual."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from basilica_tui import format as f
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from basilica_tui.panels.verification import progress_words
from basilica_tui.states import (
    ALERT_LEVELS,
    LOG_LEVELS,
    MINER_STATES,
    NODE_STATES,
    SERVICE_STATES,
    SESSION_STATES,
    VERIFICATION_STATES,
    StateLook,
    look_of,
    state_span,
)
from basilica_tui.weights_table import WEIGHTS
from engine.control.models import (
    AlertView,
    LogRecord,
    MinerView,
    NodeView,
    ServiceView,
    SessionView,
    VerificationView,
    View,
    view_to_json,
)


def _state(states: Mapping[str, StateLook], state: str, look: Look) -> Span:
    return state_span(states, state, look.symbols)


def _json(view: View) -> str:
    return json.dumps(view_to_json(view), ensure_ascii=False)


RAMP_DAYS = 14.0
LOAD = 12
"""Checks whose load is drawn."""


# --- nodes ----------------------------------------------------------------------------------------------------


def node_name(node: NodeView) -> str:
    """What an operator calls the node."""
    return node.label or node.host or f.short_node(node.id)


def _ramp(node: NodeView, look: Look) -> Span:
    """Eight cells for fourteen days, then the days."""
    if node.ramp_percent is None or node.ramp_days is None:
        return look.symbols.dash, "dim"
    days = f"{min(node.ramp_days, RAMP_DAYS):.0f}d"
    return f"{f.bar(node.ramp_percent / 100, 8, look.symbols)} {days:>4}", "good" if node.ramp_percent >= 100 else ""


def _score(value: float | None, look: Look) -> Span:
    return (look.symbols.dash, "dim") if value is None else (f"{value:.2f}", "")


def _ssh_ok(node: NodeView) -> float | None:
    if node.ssh_success_percent is not None:
        return node.ssh_success_percent
    return 100.0 * node.checks_ok / node.checks_total if node.checks_total else None


def _ssh_ok_cell(node: NodeView, look: Look) -> Span:
    share = _ssh_ok(node)
    return f.percent(share, look), look.limits.ssh.tone(share)


def keys_cell(node: NodeView, look: Look) -> Span:
    """Keys in place out of those wanted, a question mark while the node cannot be read; too many are about to go."""
    if node.keys_wanted == 0 and node.keys_in_place == 0:
        return look.symbols.dash, "dim"
    if node.state == "stopped":
        return f"?/{node.keys_wanted}", "warn"
    if node.keys_in_place > node.keys_wanted:
        return f"{node.keys_in_place} ending", "bad" if node.key_error else "warn"
    tone = "good" if node.keys_in_place == node.keys_wanted else "warn"
    return f"{node.keys_in_place}/{node.keys_wanted}", "bad" if node.key_error else tone


def _temperature(node: NodeView, look: Look) -> Span:
    if node.temperature_c is None:
        return look.symbols.dash, "dim"
    return f"{node.temperature_c:.0f}{look.symbols.degree}", look.limits.temperature.tone(node.temperature_c)


def _memory(node: NodeView, look: Look) -> Span:
    return f.percent(node.memory_percent, look), look.limits.memory.tone(node.memory_percent)


def _latency(node: NodeView, look: Look) -> Span:
    if node.latency_ms is None:
        return look.symbols.dash, ""
    return f"{node.latency_ms:.0f} ms", look.limits.latency.tone(node.latency_ms)


def _checked(node: NodeView, look: Look) -> Span:
    late_s = None if node.last_check_at is None else look.now - node.last_check_at
    return f.age(node.last_check_at, look), look.limits.checked.tone(late_s)


def trouble(node: NodeView) -> str:
    """What is wrong now, or was last."""
    if node.key_error:
        return node.key_error
    return (node.reason if node.state != "healthy" else "") or node.last_trouble


def _trouble_cell(node: NodeView, look: Look) -> Span:
    text = trouble(node)
    if not text:
        return look.symbols.dash, "dim"
    when = f"{f.age(node.last_trouble_at, look)} " if node.last_trouble_at is not None else ""
    if when == "now ":
        when = "now: "
    return when + text, "" if node.state != "healthy" or node.key_error else "dim"


def _checks(node: NodeView, look: Look) -> Span:
    strip = f.check_strip(node.recent_checks, 12, look.symbols)
    return strip, "warn" if 0 in node.recent_checks[-12:] else "dim"


def node_state_span(node: NodeView, look: Look) -> Span:
    """The state; a healthy node that is out of service says so instead."""
    if node.drained_since is None:
        return _state(NODE_STATES, node.state, look)
    if node.state in {"healthy", "unknown"}:
        return f"{look.symbols.half} drained", "accent"
    mark, tone = _state(NODE_STATES, node.state, look)
    return f"{mark}, out", tone


def node_state_words(node: NodeView) -> str:
    """What ``state:`` finds."""
    return node.state if node.drained_since is None else f"{node.state} drained"


def load_span(node: NodeView, look: Look) -> Span:
    """GPU load at the last checks; a gap where it was not known."""
    if not node.recent_load:
        return f.not_known(look)
    steps = look.symbols.sparks
    marks = (" " if v < 0 else steps[min(v * len(steps) // 101, len(steps) - 1)] for v in node.recent_load[-LOAD:])
    return "".join(marks).rjust(LOAD), "accent"


def _node_problem(node: NodeView) -> bool:
    return node.state not in {"healthy"} or bool(node.key_error) or node.keys_in_place < node.keys_wanted


NODES: Table[NodeView] = Table(
    collection="nodes",
    noun="node",
    first_sort="node",
    is_problem=_node_problem,
    copy_text=_json,
    watched=frozenset({"state", "gpus", "ssh", "score", "keys", "cuda", "driver"}),
    columns=(
        Column("node", "node", 12, lambda n, k: (node_name(n), ""), node_name, 1, grow=1),
        Column("state", "state", 11, node_state_span,
               lambda n: look_of(NODE_STATES, n.state).rank, 1, value=node_state_words),
        Column("gpus", "GPUs", 12, lambda n, k: (f.gpus(n.gpu_count, n.gpu_model, n.gpu_memory_mib, k), ""),
               lambda n: float(n.gpu_count) if n.gpu_count is not None else None, 2, descending=True,
               value=lambda n: f"{n.gpu_model} {n.gpu_count or ''}"),
        Column("util", "util", 4, lambda n, k: (f.percent(n.utilisation_percent, k), ""),
               lambda n: n.utilisation_percent, 4, "right", descending=True),
        Column("temp", "temp", 4, _temperature, lambda n: n.temperature_c, 5, "right", descending=True),
        Column("load", "load", LOAD, load_span,
               lambda n: float(sum(n.recent_load)) / len(n.recent_load) if n.recent_load else None, 6,
               descending=True, value=lambda n: f.percent(n.utilisation_percent, Look())),
        Column("memory", "mem", 4, _memory, lambda n: n.memory_percent, 7,
               "right", descending=True),
        Column("ssh", "SSH ok", 6, _ssh_ok_cell, _ssh_ok, 4, "right"),
        Column("ramp", "ramp", 13, _ramp, lambda n: n.ramp_percent, 2, descending=True, number=lambda n: n.ramp_days),
        Column("score", "score", 5, lambda n, k: _score(n.estimated_score, k), lambda n: n.estimated_score, 5, "right",
               descending=True),
        Column("checks", "recent checks", 13, _checks, lambda n: float(sum(n.recent_checks)), 7),
        Column("latency", "latency", 7, _latency,
               lambda n: n.latency_ms, 8, "right", descending=True),
        Column("cuda", "CUDA", 5, lambda n, k: (n.cuda or k.symbols.dash, ""), lambda n: n.cuda or None, 9),
        Column("driver", "driver", 10, lambda n, k: (n.driver or k.symbols.dash, ""), lambda n: n.driver or None, 10),
        Column("checked", "checked", 7, _checked,
               lambda n: n.last_check_at, 6, "right", descending=True),
        Column("keys", "keys", 8, keys_cell, lambda n: float(n.keys_in_place - n.keys_wanted), 3, "right"),
        Column("trouble", "last trouble", 18, _trouble_cell, lambda n: n.last_trouble_at, 2, grow=5,
               descending=True, value=trouble, comfort=22),
        Column("address", "address", 22, lambda n, k: (f"{n.username}@{n.host}:{n.port}", "dim"),
               lambda n: f"{n.host}:{n.port}", 11, grow=1),
    ),
)  # fmt: skip


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
    copy_text=_json,
    watched=frozenset({"state", "nodes", "assigned"}),
    columns=(
        Column("hotkey", "validator", 12, lambda s, k: (f.short_hotkey(s.hotkey or s.id, k), "accent"),
               lambda s: s.hotkey, 1, value=lambda s: s.hotkey or s.id),
        Column("state", "state", 11, lambda s, k: _state(SESSION_STATES, s.state, k),
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
    copy_text=_json,
    watched=frozenset({"state", "restarts"}),
    columns=(
        Column("service", "service", 14, lambda s, k: (s.id, ""), lambda s: s.id, 1),
        Column("state", "state", 12, lambda s, k: _state(SERVICE_STATES, s.state, k),
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
    mark, tone = _state(ALERT_LEVELS, alert.level, look)
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
    copy_text=_json,
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


# --- the validator's tables -----------------------------------------------------------------------------------


def _milliseconds(value: float | None, look: Look) -> str:
    if value is None:
        return look.symbols.dash
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def _miner_trouble(miner: MinerView, look: Look) -> Span:
    if not miner.last_error:
        return look.symbols.dash, "dim"
    if not miner.is_called:
        return miner.last_error, "dim"
    return f"{f.age(miner.last_error_at, look)} {miner.last_error}", "" if miner.state != "answered" else "dim"


MINERS: Table[MinerView] = Table(
    collection="miners",
    noun="miner",
    first_sort="uid",
    is_problem=lambda m: m.state not in {"answered", "discovered", "skipped"},
    copy_text=_json,
    watched=frozenset({"state", "nodes", "endpoint"}),
    columns=(
        Column("uid", "uid", 4, lambda m, k: (f.number(m.uid, k), ""), lambda m: m.uid, 1, "right"),
        Column("hotkey", "miner", 12, lambda m, k: (f.short_hotkey(m.hotkey or m.id, k), "accent"),
               lambda m: m.hotkey, 1, value=lambda m: m.hotkey or m.id),
        Column("state", "state", 13, lambda m, k: _state(MINER_STATES, m.state, k),
               lambda m: look_of(MINER_STATES, m.state).rank, 1, value=lambda m: m.state),
        Column("nodes", "nodes", 5, lambda m, k: (f.number(m.nodes, k), ""), lambda m: float(m.nodes), 2, "right",
               descending=True),
        Column("answered", "answered", 8, lambda m, k: (f.age(m.last_answer_at, k), ""), lambda m: m.last_answer_at, 2,
               "right", descending=True),
        Column("duration", "took", 8, lambda m, k: (_milliseconds(m.duration_ms, k), ""), lambda m: m.duration_ms, 4,
               "right", descending=True),
        Column("dialect", "dialect", 7, lambda m, k: (m.dialect or k.symbols.dash, ""), lambda m: m.dialect, 5),
        Column("endpoint", "axon", 21, lambda m, k: (m.endpoint or k.symbols.dash, "dim"), lambda m: m.endpoint, 3,
               grow=1),
        Column("trouble", "last trouble", 18, _miner_trouble, lambda m: m.last_error_at, 2, grow=3, descending=True),
    ),
)  # fmt: skip


def _verification_word(view: VerificationView, look: Look) -> Span:
    """What happened; without the row's address at its front, as the width is for what comes after it."""
    first, _, rest = view.message.partition(" ")
    is_address = ":" in first and view.endpoint.endswith(first)
    words = rest if is_address else view.message
    return words or look.symbols.dash, "" if view.state not in {"passed", ""} else "dim"


def _running_first(view: VerificationView) -> float:
    """What runs before what waits, then by verdict."""
    return {"running": 0, "queued": 1}.get(view.phase, 2) * 100.0 + look_of(VERIFICATION_STATES, view.state).rank


VERIFICATIONS: Table[VerificationView] = Table(
    collection="verifications",
    noun="verified node",
    first_sort="now",
    is_problem=lambda v: v.state in {"failed", "access_lost"},
    copy_text=_json,
    watched=frozenset({"state", "tally"}),
    columns=(
        Column("node", "node", 10, lambda v, k: (f.short_node(v.id), ""), lambda v: v.id, 1, value=lambda v: v.id),
        Column("state", "result", 13, lambda v, k: _state(VERIFICATION_STATES, v.state, k),
               lambda v: look_of(VERIFICATION_STATES, v.state).rank, 1, value=lambda v: v.state),
        Column("now", "now", 14, progress_words, _running_first, 2, value=lambda v: v.phase),
        Column("miner", "miner", 12, lambda v, k: (f.short_hotkey(v.miner_hotkey, k), "accent"),
               lambda v: v.miner_hotkey, 2, value=lambda v: v.miner_hotkey),
        Column("uid", "uid", 4, lambda v, k: (f.number(v.miner_uid, k), ""), lambda v: v.miner_uid, 4, "right"),
        Column("tier", "tier", 11, lambda v, k: (v.tier or k.symbols.dash, ""), lambda v: v.tier, 5),
        Column("gpus", "GPUs", 12,
               lambda v, k: (f.gpus(len(v.gpu_uuids) or None, v.gpu_model, None, k), ""),
               lambda v: float(len(v.gpu_uuids)), 3, descending=True),
        Column("at", "when", 7, lambda v, k: (f.age(v.at, k), ""), lambda v: v.at, 2, "right", descending=True),
        Column("duration", "took", 8, lambda v, k: (_milliseconds(v.duration_ms, k), ""), lambda v: v.duration_ms, 5,
               "right", descending=True),
        Column("tally", "ok / bad", 9, lambda v, k: (f"{v.passed:,} / {v.failed:,}", "warn" if v.failed else ""),
               lambda v: float(v.failed), 5, "right", descending=True),
        Column("endpoint", "address", 21, lambda v, k: (v.endpoint or k.symbols.dash, "dim"), lambda v: v.endpoint, 6,
               grow=1),
        Column("message", "message", 18, _verification_word, lambda v: v.message or None, 3, grow=3,
               comfort=40),
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
    return str(getattr(row, "hotkey", "") or getattr(row, "id", ""))


def item_words(row: object) -> str:
    """A filter that finds the log lines about a row: any of the names that it goes by."""
    if isinstance(row, NodeView):
        names = [row.label, row.id, row.host]
    elif isinstance(row, AlertView):
        names = [row.subject]
    else:
        names = [str(getattr(row, "hotkey", "")), str(getattr(row, "id", ""))]
    return "|".join(dict.fromkeys(name.replace(" ", "|") for name in names if name))


# --- log ------------------------------------------------------------------------------------------------------


def log_fields(record: LogRecord) -> str:
    """The structured part of a log line as ``key=value`` words."""
    return "  ".join(f"{key}={value}" for key, value in record.fields.items())


def log_line(record: LogRecord) -> str:
    """A log line as one text: what a search looks through and what is copied."""
    return f"{f.clock_time(record.at)} {record.level} {record.event} {log_fields(record)}".rstrip()


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
        Column("level", "level", 9, lambda r, k: _state(LOG_LEVELS, r.level, k),
               lambda r: look_of(LOG_LEVELS, r.level).rank, 2, value=lambda r: r.level),
        Column("event", "event", 26, lambda r, k: (r.event, _quiet(r)), lambda r: r.event, 1),
        Column("fields", "details", 24, lambda r, k: (log_fields(r), _quiet(r)), log_fields, 1, grow=4, comfort=140),
    ),
)  # fmt: skip

ALL_TABLES: Mapping[str, Table[Any]] = {
    t.collection: t for t in (NODES, SESSIONS, SERVICES, ALERTS, MINERS, VERIFICATIONS, WEIGHTS)
}
"""The tables that ``basilica-tui show`` knows, by name."""
