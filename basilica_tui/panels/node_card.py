"""Everything that is known about one node."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.format import Line, Look
from basilica_tui.lines import beside, field, fold_line, line_width
from basilica_tui.node_table import keys_cell, node_name, node_state_span
from basilica_tui.scores_table import full_day, next_full, ramp_bar, resets
from engine.control.models import GpuView, NodeView, gpus_of

NAME_WIDTH = 15
NOT_KNOWN: Line = ((f.NOT_KNOWN, "dim"),)


def node_lines(node: NodeView, look: Look, width: int) -> list[Line]:
    """Identity and state on top, then two columns from 100 cells on, one below that."""
    head = _head(node, look, width)
    left = [
        *_section("CHECKS", _checks(node, look)),
        (),
        *_section("GPUS", _gpus(node, look)),
        (),
        *_section("HOST", _host(node, look)),
    ]
    right = [
        *_section("ACCESS", _access(node, look)),
        (),
        *_section("SSH", _ssh(node, look)),
        (),
        *_section("RAMP AND SCORE", _ramp(node, look)),
    ]
    if width >= 100:
        half = (width - 4) // 2
        columns = [([part for line in lines for part in fold_line(line, half)], half) for lines in (left, right)]
        body = beside(columns, 2, look.symbols.ellipsis)
    else:
        body = [*left, (), *right]
    return [*head, (), *(((" ", ""), *line) for line in body)]


def _section(title: str, lines: list[Line]) -> list[Line]:
    return [((title, "title"),), *lines]


def _head(node: NodeView, look: Look, width: int) -> list[Line]:
    address = f"{node.username}@{node.host}:{node.port}"
    mark = node_state_span(node, look)
    name: Line = ((f" {node_name(node)}  ", "title"), mark, (f"   {address}", "accent"))
    node_id = f"id {node.id}"
    whole: Line = (*name, (f"   {node_id}", "dim"))
    # An id that is broken over two lines cannot be copied with the mouse.
    lines: list[Line] = [whole] if line_width(whole) <= width else [name, ((f" {node_id}", "dim"),)]
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
        field("took", ((latency, look.limits.latency.tone(node.latency_ms)),), NAME_WIDTH),
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
    each = gpus_of(node)
    for gpu in each:
        lines.append(field(f"GPU {gpu.index}", _gpu(gpu, look), NAME_WIDTH))
    for number, uuid in enumerate(node.gpu_uuids if not each else ()):
        lines.append(field(f"GPU {number}", ((uuid, "dim"),), NAME_WIDTH))
    if node.shared_gpus:
        text = f"{f.plural(len(node.shared_gpus), 'GPU')} of another node too"
        lines.append(field("shared", ((text, "bad"),), NAME_WIDTH))
    return lines


def _gpu(gpu: GpuView, look: Look) -> Line:
    """One GPU: load, memory, heat, power, errors, id."""
    memory = look.symbols.dash
    if gpu.memory_mib:
        memory = f"{(gpu.memory_used_mib or 0) / 1024:.0f}/{gpu.memory_mib / 1024:.0f}G"
    heat = look.symbols.dash if gpu.temperature_c is None else f"{gpu.temperature_c:.0f}{look.symbols.degree}"
    power = "" if gpu.power_w is None else f" {gpu.power_w:.0f} W"
    hot = look.limits.temperature.tone(gpu.temperature_c)
    errors: Line = ((f"  {gpu.ecc_errors} ECC errors", "bad"),) if gpu.ecc_errors else ()
    load = f.percent(gpu.utilisation_percent, look)
    return ((f"{load:>4} {memory:>7} {heat:>4}{power}", hot), *errors, (f"  {gpu.uuid}", "dim"))


def _yes(value: bool | None, good: str, bad: str, *, wanted: bool = True) -> Line:
    if value is None:
        return NOT_KNOWN
    return ((good, "") if value is wanted else (bad, "warn"),)


def _host(node: NodeView, look: Look) -> list[Line]:
    """What the node said about itself: Docker, disk, how it lets people in, and what is not right."""
    docker = _yes(node.docker_ok, f"works {node.docker_version}".rstrip(), node.docker_error or "does not work")
    disk: Line = NOT_KNOWN
    if node.disk_free_bytes is not None:
        total = f" of {node.disk_total_bytes / 1e9:,.0f}" if node.disk_total_bytes else ""
        disk = ((f"{node.disk_free_bytes / 1e9:,.0f}{total} GB free", ""), (f"  {node.disk_path}", "dim"))
    limits = f"{node.sshd_max_startups or look.symbols.dash} startups, "
    limits += f"{f.number(node.sshd_max_sessions, look)} sessions each"
    lines = [
        field("Docker", docker, NAME_WIDTH),
        field("NVIDIA runtime", _yes(node.nvidia_runtime_ok, "there", "missing"), NAME_WIDTH),
        field("disk", disk, NAME_WIDTH),
        field("password login", _yes(node.sshd_password_login, "off", "allowed", wanted=False), NAME_WIDTH),
        field("root login", ((node.sshd_root_login, ""),) if node.sshd_root_login else NOT_KNOWN, NAME_WIDTH),
        field("sshd allows", ((limits, ""),) if node.sshd_max_startups else NOT_KNOWN, NAME_WIDTH),
    ]  # fmt: skip
    return [*lines, *(field("warning", ((text, "warn"),), NAME_WIDTH) for text in node.warnings)]


def _ramp(node: NodeView, look: Look) -> list[Line]:
    """Estimate, what is at stake, what validators publish, and the last resets."""
    ramp: Line = NOT_KNOWN
    if node.ramp_percent is not None:
        ramp = (ramp_bar(node, look), (f"  {node.ramp_percent:.1f} %", ""))
    stake: Line = NOT_KNOWN
    if node.failure_cost_gpus is not None:
        share = f" ({node.failure_cost_percent:.1f} % of yours)" if node.failure_cost_percent is not None else ""
        stake = ((f"{node.failure_cost_gpus:.1f} effective GPUs{share}", ""),)
    score: Line = NOT_KNOWN
    if node.estimated_score is not None:
        score = ((f"{node.estimated_score:.2f}", ""), ("  estimated here", "dim"))
    observed: Line = NOT_KNOWN
    if node.observed_multiplier is not None or node.observed_status:
        figure = look.symbols.dash if node.observed_multiplier is None else f"{node.observed_multiplier:.2f}"
        observed = ((f"{figure} {node.observed_status}".rstrip(), ""), (f"  {f.ago(node.observed_at, look)}", "dim"))
    quiet: Line = NOT_KNOWN
    if node.quiet_until is not None:
        quiet = ((f"until {f.clock_time(node.quiet_until)}", ""), ("  good for work on the node", "dim"))
    lines = [
        field("ramp", ramp, NAME_WIDTH),
        field("counted by", ((f.short_hotkey(node.ramp_validator, look), "accent"),), NAME_WIDTH),
        field("100 %", (full_day(node, look),), NAME_WIDTH),
        field("score", score, NAME_WIDTH),
        field("observed", observed, NAME_WIDTH),
        field("at stake", stake, NAME_WIDTH),
        field("next full", (next_full(node, look),), NAME_WIDTH),
        field("quiet", quiet, NAME_WIDTH),
        field("resets", ((f.number(node.ramp_resets_total, look), "warn" if node.ramp_resets_total else "dim"),),
              NAME_WIDTH),
    ]  # fmt: skip
    for at, minutes, cause in resets(node)[:5]:
        lost = f.duration(minutes * 60.0)
        lines.append(field("", ((f"{f.day(at, look)}: {cause}", ""), (f"  lost {lost}", "warn")), NAME_WIDTH))
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
    if node.drift:
        lines.append(field("unknown keys", ((f.plural(node.drift, "line"), "warn"),), NAME_WIDTH))
        lines += [field("", ((text, "dim"),), NAME_WIDTH) for text in node.drift_lines[:5]]
    others = count(node.live_sessions, "connection")
    if node.live_sessions and node.live_sessions_oldest_s is not None:
        others = (*others, (f"  oldest {f.duration(node.live_sessions_oldest_s)}", "dim"))
    lines.append(field("inside now", count(node.live_sessions_of_grants, "connection"), NAME_WIDTH))
    lines.append(field("others inside", others, NAME_WIDTH))
    if node.expiry_enforced:
        lines.append(field("expiry", ((node.expiry_enforced, ""),), NAME_WIDTH))
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
