"""Everything that is known about one node."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.format import Line, Look
from basilica_tui.lines import beside, field
from basilica_tui.states import NODE_STATES, state_span
from basilica_tui.tables import keys_cell, node_name
from engine.control.models import NodeView

NAME_WIDTH = 15
NOT_KNOWN: Line = (("not known yet", "dim"),)


def node_lines(node: NodeView, look: Look, width: int) -> list[Line]:
    """Identity and state on top, then two columns from 100 cells on, one below that."""
    head = _head(node, look)
    left = [*_section("CHECKS", _checks(node, look)), (), *_section("GPUS", _gpus(node, look))]
    right = [
        *_section("ACCESS", _access(node, look)),
        (),
        *_section("SSH", _ssh(node, look)),
        (),
        *_section("RAMP AND SCORE", [field("ramp", NOT_KNOWN, NAME_WIDTH), field("score", NOT_KNOWN, NAME_WIDTH)]),
    ]
    if width >= 100:
        half = (width - 4) // 2
        body = beside([(left, half), (right, half)], 2, look.symbols.ellipsis)
    else:
        body = [*left, (), *right]
    return [*head, (), *(((" ", ""), *line) for line in body)]


def _section(title: str, lines: list[Line]) -> list[Line]:
    return [((title, "title"),), *lines]


def _head(node: NodeView, look: Look) -> list[Line]:
    address = f"{node.username}@{node.host}:{node.port}"
    mark = state_span(NODE_STATES, node.state, look.symbols)
    lines: list[Line] = [
        ((f" {node_name(node)}  ", "title"), mark, (f"   {address}", "accent"), (f"   id {node.id}", "dim"))
    ]
    if node.reason:
        when = f"  ({f.ago(node.last_trouble_at, look)})" if node.last_trouble_at is not None else ""
        lines.append(((f" {node.reason}{when}", mark[1]),))
    if node.hint:
        lines.append(((" what to do: ", "dim"), (node.hint, "")))
    return lines


def _checks(node: NodeView, look: Look) -> list[Line]:
    share = f"{node.checks_ok:,} of {node.checks_total:,} passed" if node.checks_total else look.symbols.dash
    percentage = f"  {100 * node.checks_ok / node.checks_total:.1f}%" if node.checks_total else ""
    latency = look.symbols.dash if node.latency_ms is None else f"{node.latency_ms:.0f} ms"
    strip = f.check_strip(node.recent_checks, min(len(node.recent_checks), 40), look.symbols)
    trouble: Line = (("none", "dim"),)
    if node.last_trouble:
        trouble = ((node.last_trouble, ""), (f"  {f.ago(node.last_trouble_at, look)}", "dim"))
    return [
        field("passed", ((share, ""), (percentage, "dim")), NAME_WIDTH),
        field("last ones", ((strip or look.symbols.dash, "warn" if 0 in node.recent_checks else "dim"),), NAME_WIDTH),
        field("last check", ((f.stamp(node.last_check_at, look), ""),), NAME_WIDTH),
        field("took", ((latency, ""),), NAME_WIDTH),
        field("last trouble", trouble, NAME_WIDTH),
    ]


def _gpus(node: NodeView, look: Look) -> list[Line]:
    memory = f"{node.gpu_memory_mib:,} MiB each" if node.gpu_memory_mib else ""
    if not node.gpu_model and not node.gpu_count:
        return [field("model", NOT_KNOWN, NAME_WIDTH)]
    load = f"{f.percent(node.utilisation_percent, look)} busy"
    heat = look.symbols.dash if node.temperature_c is None else f"{node.temperature_c:.0f} {look.symbols.degree}"
    heat = heat if look.symbols.is_ascii or node.temperature_c is None else heat.replace(" °", " °C")
    lines: list[Line] = [
        field("model", ((f"{node.gpu_count or '?'} {look.symbols.times} {node.gpu_model}", ""),), NAME_WIDTH),
        field("memory", ((memory or look.symbols.dash, ""),), NAME_WIDTH),
        field("now", ((f"{load}, {heat}", ""),), NAME_WIDTH),
        field(
            "driver, CUDA", ((f"{node.driver or look.symbols.dash}, {node.cuda or look.symbols.dash}", ""),), NAME_WIDTH
        ),
    ]
    for number, uuid in enumerate(node.gpu_uuids):
        lines.append(field(f"GPU {number}", ((uuid, "dim"),), NAME_WIDTH))
    return lines


def _access(node: NodeView, look: Look) -> list[Line]:
    def count(value: int | None, noun: str, tone: str = "") -> Line:
        if value is None:
            return NOT_KNOWN
        return ((f.plural(value, noun), tone if value else "dim"),)

    lines: list[Line] = [
        field("keys in place", (keys_cell(node, look), (" of validators", "dim")), NAME_WIDTH),
        field("operator's", count(node.operator_keys, "key"), NAME_WIDTH),
        field("older miner's", count(node.leftovers, "line", "warn"), NAME_WIDTH),
        field("without grant", count(node.orphans, "line", "warn"), NAME_WIDTH),
    ]
    if node.key_error:
        lines.append(field("trouble", ((node.key_error, "bad"),), NAME_WIDTH))
    return lines


def _ssh(node: NodeView, look: Look) -> list[Line]:
    skew = look.symbols.dash if node.clock_skew_s is None else f"{node.clock_skew_s:+.1f} s against this host"
    lines: list[Line] = [
        field("server", ((node.sshd_version or look.symbols.dash, ""),), NAME_WIDTH),
        field("clock", ((skew, "warn" if abs(node.clock_skew_s or 0) > 30 else ""),), NAME_WIDTH),
        field("host key", ((node.host_key_fingerprint or "not pinned yet", ""),), NAME_WIDTH),
    ]
    if node.host_key_presented:
        lines.append(field("presented now", ((node.host_key_presented, "bad"),), NAME_WIDTH))
        lines.append(field("", (("H", "key"), (" compares and accepts it", "dim")), NAME_WIDTH))
    return lines
