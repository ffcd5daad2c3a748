"""The arithmetic behind a score or a weight, with the selected row's own numbers, by either set of rules. Pure."""

from __future__ import annotations

from basilica_tui.format import Line, Look, plural
from basilica_tui.node_table import node_name
from engine.control.models import EngineView, NodeView, WeightView

FULL_MINUTES = 20_160
NAME_WIDTH = 11


def node_formula(node: NodeView, look: Look) -> list[Line]:
    """A node of the miner: documented rules with its numbers, deployed ones with those that a miner can know."""
    ramp = _ramp(node, look)
    counted = _counted(node, look)
    return [
        *_head(f"SCORE OF {node_name(node)}", "documented"),
        _row("score", "half SSH success of 24 h + half last full validation"),
        _row("", _documented(node, look)),
        _row("ramp", f"minutes of unbroken success / {FULL_MINUTES:,}, any failure begins it anew"),
        _row("", ramp),
        _row("counted", "GPUs, times the ramp"),
        _row("", counted),
        _row("miner", "mean of its nodes' scores, times the counted GPUs of each category"),
        *_head(f"SCORE OF {node_name(node)}", "deployed-2025-10"),
        _row(
            "score", "passed checks / all checks of 3 h, of all nodes together; a validator counts them, no miner can"
        ),
        _row("ramp", f"minutes since the first passed full validation of its row / {FULL_MINUTES:,}; a validator that"),
        _row("", f"forgot the node began anew. By this miner's own estimate: {ramp}"),
        _row("counted", f"GPUs, times the ramp = {counted}"),
        _row("miner", "score, times the counted GPUs of each category"),
    ]


def weight_formula(row: WeightView, engine: EngineView, look: Look) -> list[Line]:
    """A uid of the vector in force: how each part came about, and what it is of the whole."""
    of = f"{row.weight:,} of {engine.weights_total:,} = {100 * row.share:.2f} %"
    lines = [
        *_head(f"WEIGHT OF UID {row.uid}", engine.weights_profile or "rules not known"),
        _row("pools", "65,535 less the burn, by each category's share, fractions cut off"),
        _row("part", "a category's pool, by score among its miners, cut off; the last in line gets the rest"),
        *(_row("", how) for how in row.how),
    ]
    if row.is_burn:
        lines.append(_row("burn", "the burn percentage, and the pools of categories without a miner"))
    if len(row.how) > 1:
        lines.append(_row("sum", f"{plural(len(row.how), 'part')} of one uid are added"))
    return [*lines, _row("weight", of)]


def _documented(node: NodeView, look: Look) -> str:
    if node.ssh_success_percent is None or node.estimated_score is None:
        return look.symbols.dash
    ssh = node.ssh_success_percent / 100
    full = min(1.0, max(0.0, 2 * node.estimated_score - ssh))
    times = look.symbols.times
    return f"0.5 {times} {ssh:.3f} + 0.5 {times} {full:.0f} = {node.estimated_score:.3f}"


def _ramp(node: NodeView, look: Look) -> str:
    if node.ramp_days is None or node.ramp_percent is None:
        return look.symbols.dash
    minutes = min(FULL_MINUTES, round(node.ramp_days * 1440))
    return f"{minutes:,} / {FULL_MINUTES:,} = {node.ramp_percent / 100:.3f}"


def _counted(node: NodeView, look: Look) -> str:
    if node.gpu_count is None or node.ramp_percent is None:
        return look.symbols.dash
    ramp = node.ramp_percent / 100
    return f"{node.gpu_count} {look.symbols.times} {ramp:.3f} = {node.gpu_count * ramp:.2f}"


def _head(title: str, profile: str) -> list[Line]:
    return [(), ((f" {title}", "title"), (f"   by {profile}", "dim"))]


def _row(name: str, text: str) -> Line:
    return ((f" {name:<{NAME_WIDTH}}", "dim"), (text, ""))
