"""The four boxes of the dashboard: nodes, access now, ramp, score; one line each on a small terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from basilica_tui import format as f
from basilica_tui.format import Line, Look, Span, ago
from basilica_tui.lines import beside, fit_line, join
from basilica_tui.node_table import node_name
from basilica_tui.states import MINER_STATES, NODE_STATES, SHOWN_AS_DRAINED, VERIFICATION_STATES, StateLook, look_of
from basilica_tui.store import ConsoleStore
from basilica_tui.text import fit
from engine.control.models import NodeView

NOT_KNOWN = f.NOT_KNOWN
BOX_ROWS = 3


def box_lines(store: ConsoleStore, look: Look, width: int) -> list[Line]:
    """The boxes side by side from 100 columns on (four lines), below each other otherwise (four lines too)."""
    boxes = _validator_boxes(store, look) if store.is_validator else _miner_boxes(store, look)
    if width >= 100:
        widths = _widths(width - 1, len(boxes))
        blocks = [
            ([((title, "title"),), *lines[:BOX_ROWS]], w) for (title, lines, _), w in zip(boxes, widths, strict=True)
        ]
        return [fit_line(((" ", ""), *row), width) for row in beside(blocks, 2, look.symbols.ellipsis)]
    return [
        fit_line(((" " + fit(title, 13), "title"), *short), width, look.symbols.ellipsis) for title, _, short in boxes
    ]


Box = tuple[str, list[Line], Line]
"""Title, lines of the large form, the one line of the small form."""


def _widths(width: int, count: int) -> list[int]:
    room = width - 2 * (count - 1)
    shares = [18, 42, 26, 26][:count]
    widths = [room * share // sum(shares) for share in shares]
    widths[-1] += room - sum(widths)
    return widths


def _tally(states: Mapping[str, StateLook], counts: Counter[str], look: Look) -> list[Line]:
    """One line per state that occurs, trouble last as in the list of a healthy fleet; digits aligned."""
    digits = max((len(f"{n:,}") for n in counts.values()), default=1)
    ordered = sorted(counts.items(), key=lambda item: -look_of(states, item[0]).rank)
    lines: list[Line] = []
    for state, n in ordered:
        how = look_of(states, state)
        lines.append(((f"{getattr(look.symbols, how.mark)} {n:>{digits},} {how.word}", how.tone),))
    return lines


def _fold(lines: list[Line]) -> list[Line]:
    """At most three lines: the last ones share a line."""
    if len(lines) <= BOX_ROWS:
        return lines
    return [*lines[: BOX_ROWS - 1], join(lines[BOX_ROWS - 1 :], (" ", ""))]


def _miner_boxes(store: ConsoleStore, look: Look) -> list[Box]:
    nodes = store.nodes.values()
    # A good node that is out of service counts as drained alone, as its row says; a bad one is bad first.
    is_out = [n for n in nodes if n.drained_since is not None and n.state in SHOWN_AS_DRAINED]
    tally = _tally(NODE_STATES, Counter(n.state for n in nodes) - Counter(n.state for n in is_out), look)
    if out := len(is_out):
        tally.insert(1, ((f"{look.symbols.half} {out:,} drained", "accent"),))
    none: Line = (("none configured", "warn"),) if store.has_data else ((NOT_KNOWN, "dim"),)
    return [
        (f"NODES {len(nodes):,}", _fold(tally) or [none], join(tally) or none),
        _access_box(store, look),
        _ramp_box(store, look),
        _score_box(store, look),
    ]


def _access_box(store: ConsoleStore, look: Look) -> Box:
    sessions = store.sessions.values()
    open_now = [s for s in sessions if s.state == "active"]
    nodes = store.nodes.values()
    wanted = sum(n.keys_wanted for n in nodes)
    placed = sum(min(n.keys_in_place, n.keys_wanted) for n in nodes)
    ending = sum(max(n.keys_in_place - n.keys_wanted, 0) for n in nodes)
    failed = any(n.state == "stopped" or n.key_error for n in nodes if n.keys_wanted)
    keys: Line = (("no keys on nodes", "dim"),)
    if wanted:
        keys = (
            (
                f"{'keys' if ending else 'keys in place'} {placed}/{wanted}",
                "good" if placed == wanted and not failed else "warn",
            ),
        )
    if ending:
        gone = f"{ending} ending" if wanted else f"{f.plural(ending, 'key')} ending"
        keys = join([keys if wanted else (), ((gone, "warn"),)], (", ", "dim"))
    count: Line = ((f"sessions {len(open_now)} of {len(sessions)}   ", "" if open_now else "dim"), *keys)
    until = min((s.access_until for s in open_now if s.access_until is not None), default=None)
    last: Line = ((f"next one {f.ends(until, look)}", ""),) if until else (("nobody is inside", "dim"),)
    return "ACCESS NOW", [_assignment(store, look), count, last], join([count, last], ("   ", ""))


def _assignment(store: ConsoleStore, look: Look) -> Line:
    engine = store.engine
    if engine.strategy == "open":
        return (("open to every permitted validator", "warn"),)
    if not engine.assigned_hotkey:
        reason = f": {engine.assigned_reason}" if engine.assigned_reason else ""
        return ((f"assigned to nobody{reason}", "warn" if engine.strategy else "dim"),)
    since = f"  since {f.age(engine.assigned_since, look)}" if engine.assigned_since else ""
    return (
        ("assigned ", "dim"),
        (f.short_hotkey(engine.assigned_hotkey, look), "accent"),
        (f"  {f.tao(engine.assigned_stake_tao, look)}", ""),
        (since, "dim"),
    )


def _ramp_box(store: ConsoleStore, look: Look) -> Box:
    known = [n for n in store.nodes.values() if n.ramp_percent is not None]
    if not known:
        return "RAMP", [((NOT_KNOWN, "dim"),)], ((NOT_KNOWN, "dim"),)
    shares = sorted(n.ramp_percent or 0.0 for n in known)
    full = sum(share >= 100 for share in shares)
    tone = "good" if full == len(known) else ""
    strip: Line = ((f.sparkline(shares, min(len(shares), 10), look.symbols, top=100.0) + "  ", "accent"),)
    count: Line = ((f"full {full} of {len(known)}", tone),)
    resets = sum(n.ramp_resets_total for n in known)
    resets_line: Line = ((f"resets {resets}", "warn" if resets else "dim"),)
    return (
        "RAMP",
        [(*strip, *count), _next_full(known, look), resets_line],
        join([count, _next_full(known, look), resets_line], ("   ", "")),
    )


def _next_full(nodes: Sequence[NodeView], look: Look) -> Line:
    coming = sorted((n.full_at, node_name(n)) for n in nodes if n.full_at is not None and n.full_at > look.now)
    if not coming:
        return (("none on its way to 100 %", "dim"),)
    at, name = coming[0]
    return (("next 100 %: ", "dim"), (f"{name} {f.day(at, look)}", ""))


def score_figures(store: ConsoleStore) -> tuple[float | None, float | None, float | None]:
    """Observed, on chain, estimated: the three scores of a miner as far as they are known."""
    engine = store.engine
    estimates = [(n.estimated_score, n.gpu_count or 1) for n in store.nodes.values() if n.estimated_score is not None]
    weight = sum(gpus for _, gpus in estimates)
    estimated = sum((score or 0.0) * gpus for score, gpus in estimates) / weight if weight else None
    return engine.observed_score, engine.incentive, estimated


def _score_box(store: ConsoleStore, look: Look) -> Box:
    observed, chain, estimated = score_figures(store)

    def figure(value: float | None, digits: int) -> Span:
        return (NOT_KNOWN, "dim") if value is None else (f"{value:.{digits}f}", "")

    rows = [("observed", figure(observed, 2)), ("on chain", figure(chain, 4)), ("estimated", figure(estimated, 2))]
    lines: list[Line] = [((fit(name, 11), "dim"), value) for name, value in rows]
    short: list[Line] = [((f"{name} ", "dim"), value) for name, value in rows if value[0] != NOT_KNOWN]
    missing = [name for name, value in rows if value[0] == NOT_KNOWN]
    if missing:
        short.append(((f"{', '.join(missing)}: {NOT_KNOWN}", "dim"),))
    return "SCORE", lines, join(short, ("   ", ""))


def _weights(store: ConsoleStore, look: Look) -> tuple[list[Line], Line]:
    engine = store.engine
    if engine.weights_error:
        failed: Line = (("failed  ", "bad"), (engine.weights_error, ""))
        return [failed], failed
    if engine.weights_block is None:
        nothing: Line = (("none set yet", "dim"),)
        return [nothing], nothing
    lines: list[Line] = [
        (("set       ", "dim"), (ago(engine.weights_at, look), "")),
        (("uids      ", "dim"), (f"{engine.weights_uids:,}", "")),
        (("burn      ", "dim"), (f"{100 * engine.weights_burn / 65_535:.1f} %", "")),
    ]
    return lines, join(lines, ("   ", ""))


def _validator_boxes(store: ConsoleStore, look: Look) -> list[Box]:
    called = sum(m.is_called for m in store.miners.values())
    miners = _tally(MINER_STATES, Counter(m.state for m in store.miners.values() if m.is_called), look)
    verified = _tally(VERIFICATION_STATES, Counter(v.state for v in store.verifications.values()), look)
    none: Line = ((NOT_KNOWN, "dim"),)
    counters = store.counters
    runs = counters.get("verifications", 0)
    bad = counters.get("verifications_failed", 0)
    lost = counters.get("access_lost", 0)
    totals: list[Line] = [
        (("runs      ", "dim"), (f"{runs:,}", "")),
        (("failed    ", "dim"), (f"{bad:,}", "warn" if bad else "")),
        (("access lost  ", "dim"), (f"{lost:,}", "")),
    ]
    return [
        (f"MINERS {called:,}", _fold(miners) or [none], join(miners) or none),
        (f"VERIFIED {len(store.verifications):,}", _fold(verified) or [none], join(verified) or none),
        ("SINCE START", totals, join(totals, ("   ", ""))),
        ("WEIGHTS", *_weights(store, look)),
    ]
