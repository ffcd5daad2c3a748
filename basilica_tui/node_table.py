"""The table of GPU nodes. Pure, no Textual."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.cells import row_json, state_cell
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from basilica_tui.states import (
    NODE_STATES,
    SHOWN_AS_DRAINED,
    look_of,
)
from engine.control.models import (
    NodeView,
)

RAMP_DAYS = 14.0
LOAD = 12
"""Checks whose load is drawn."""


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
        return state_cell(NODE_STATES, node.state, look)
    if node.state in SHOWN_AS_DRAINED:
        return f"{look.symbols.half} drained", "accent"
    mark, tone = state_cell(NODE_STATES, node.state, look)
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
    copy_text=row_json,
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
