"""The scores table: what each node is worth now, why, and what a failure would cost. Pure, no Textual."""

from __future__ import annotations

import json
import time

from basilica_tui import format as f
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from basilica_tui.node_table import node_name, node_state_span, node_state_words
from basilica_tui.states import NODE_STATES, look_of
from engine.control.models import NodeView, view_to_json

BAR = 14
FULL_DAYS = 14.0


def effective_gpus(node: NodeView) -> float | None:
    """GPUs that count for now: all of them, times the ramp."""
    if node.gpu_count is None or node.ramp_percent is None:
        return None
    return node.gpu_count * node.ramp_percent / 100.0


def ramp_bar(node: NodeView, look: Look) -> Span:
    """Fourteen cells, one per day, and the days."""
    if node.ramp_percent is None:
        return f.not_known(look)
    tone = "good" if node.ramp_percent >= 100 else ""
    return f"{f.bar(node.ramp_percent / 100, BAR, look.symbols)} {ramp_days(node, look):>6}", tone


def ramp_days(node: NodeView, look: Look) -> str:
    """``11.2 d``; a full ramp says its fourteen days."""
    if node.ramp_days is None:
        return look.symbols.dash
    return f"{FULL_DAYS:.0f} d" if node.ramp_days >= FULL_DAYS else f"{node.ramp_days:.1f} d"


def full_day(node: NodeView, look: Look) -> Span:
    """When 100 % comes."""
    if node.ramp_percent is not None and node.ramp_percent >= 100:
        return "now", "good"
    return (f.day(node.full_at, look), "") if node.full_at is not None else f.not_known(look)


def next_full(node: NodeView, look: Look) -> Span:
    """When the next full validation is expected."""
    if node.next_full_at is None:
        return f.not_known(look)
    return ("due now", "warn") if node.next_full_at <= look.now else (f"in {f.remaining(node.next_full_at, look)}", "")


def resets(node: NodeView) -> list[tuple[float, int, str]]:
    """The last resets, newest first: when, minutes lost, why."""
    found = []
    for text in node.ramp_resets:
        at, _, rest = text.partition(" ")
        minutes, _, cause = rest.partition(" ")
        try:
            found.append((float(at), int(float(minutes)), cause))
        except ValueError:
            continue
    return found[::-1]


def what_if(node: NodeView, look: Look) -> Span:
    """The sentence about the selected node."""
    if node.failure_cost_gpus is None:
        return f"if {node_name(node)} fails now: {f.NOT_KNOWN}", "dim"
    share = "" if node.failure_cost_percent is None else f", {node.failure_cost_percent:.1f} % of what counts for you"
    when = time.strftime("%-d %b", time.localtime(look.now + FULL_DAYS * 86_400))
    cost = f"{node.failure_cost_gpus:.1f} effective GPUs{share}"
    return f"if {node_name(node)} fails now you lose {cost}; full again on {when} at the earliest", "warn"


def _figure(value: float | None, look: Look, digits: int = 2) -> Span:
    return f.not_known(look) if value is None else (f"{value:.{digits}f}", "")


def _percent(value: float | None, look: Look) -> Span:
    return f.not_known(look) if value is None else (f"{value:.0f}%", "warn" if value < 95 else "")


SCORES: Table[NodeView] = Table(
    collection="nodes",
    noun="node",
    first_sort="node",
    is_problem=lambda n: n.ramp_percent is None or n.ramp_percent < 100 or n.state != "healthy",
    copy_text=lambda n: json.dumps(view_to_json(n), ensure_ascii=False),
    columns=(
        Column("node", "node", 12, lambda n, k: (node_name(n), ""), node_name, 1, grow=2),
        Column("state", "state", 11, node_state_span, lambda n: look_of(NODE_STATES, n.state).rank, 2,
               value=node_state_words),
        Column("ramp", "ramp", BAR + 7, ramp_bar, lambda n: n.ramp_percent, 1, descending=True,
               number=lambda n: n.ramp_days),
        Column("full", "100 %", 6, full_day, lambda n: n.full_at, 2, "right"),
        Column("gpus", "GPUs", 4, lambda n, k: (f.number(n.gpu_count, k), ""), lambda n: n.gpu_count, 4, "right",
               descending=True),
        Column("effective", "counted", 7, lambda n, k: _figure(effective_gpus(n), k, 1), effective_gpus, 2, "right",
               descending=True),
        Column("ssh", "SSH ok", 6, lambda n, k: _percent(n.ssh_success_percent, k), lambda n: n.ssh_success_percent, 4,
               "right"),
        Column("estimated", "estimate", 8, lambda n, k: _figure(n.estimated_score, k), lambda n: n.estimated_score, 1,
               "right", descending=True),
        Column("observed", "observed", 8, lambda n, k: _figure(n.observed_multiplier, k),
               lambda n: n.observed_multiplier, 3, "right", descending=True),
        Column("cost", "at stake", 8, lambda n, k: _figure(n.failure_cost_gpus, k, 1), lambda n: n.failure_cost_gpus, 3,
               "right", descending=True),
        Column("resets", "resets", 6,
               lambda n, k: (f.number(n.ramp_resets_total, k), "warn" if n.ramp_resets_total else "dim"),
               lambda n: float(n.ramp_resets_total), 5, "right", descending=True),
        Column("next", "next full", 10, next_full, lambda n: n.next_full_at, 5, "right"),
        Column("by", "counted by", 12,
               lambda n, k: (f.short_hotkey(n.ramp_validator, k), "dim"), lambda n: n.ramp_validator or None, 6),
    ),
)  # fmt: skip
