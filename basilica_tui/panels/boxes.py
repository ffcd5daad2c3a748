"""The four boxes of the dashboard: nodes, access now, ramp, score; one line each on a small terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from basilica_tui import format as f
from basilica_tui.format import Line, Look
from basilica_tui.lines import beside, fit_line, join
from basilica_tui.states import MINER_STATES, NODE_STATES, VERIFICATION_STATES, StateLook, look_of
from basilica_tui.store import ConsoleStore
from basilica_tui.text import fit

NOT_KNOWN = "not known yet"
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
    shares = [18, 46, 20, 28][:count]
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
    tally = _tally(NODE_STATES, Counter(n.state for n in nodes), look)
    none: Line = (("none configured", "warn"),) if store.has_data else ((NOT_KNOWN, "dim"),)
    return [
        (f"NODES {len(nodes):,}", _fold(tally) or [none], join(tally) or none),
        _access_box(store, look),
        ("RAMP", [((NOT_KNOWN, "dim"),)], ((NOT_KNOWN, "dim"),)),
        _score_box(store, look),
    ]


def _access_box(store: ConsoleStore, look: Look) -> Box:
    sessions = store.sessions.values()
    open_now = [s for s in sessions if s.state == "active"]
    wanted = sum(n.keys_wanted for n in store.nodes.values())
    placed = sum(n.keys_in_place for n in store.nodes.values())
    failed = sum(n.state == "stopped" or bool(n.key_error) for n in store.nodes.values() if n.keys_wanted)
    keys_tone = "good" if placed == wanted and not failed else "warn"
    keys: Line = ((f"keys in place {placed}/{wanted}", keys_tone),) if wanted else (("no keys on nodes", "dim"),)
    count: Line = ((f"sessions {len(open_now)} of {len(sessions)}   ", "" if open_now else "dim"), *keys)
    ends = min((s.access_until for s in open_now if s.access_until is not None), default=None)
    last: Line = ((f"next one ends in {f.remaining(ends, look)}", ""),) if ends else (("nobody is inside", "dim"),)
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


def _score_box(store: ConsoleStore, look: Look) -> Box:
    engine = store.engine
    chain = NOT_KNOWN if engine.incentive is None else f"{engine.incentive:.4f}"
    tone = "dim" if engine.incentive is None else ""
    lines: list[Line] = [
        (("observed   ", "dim"), (NOT_KNOWN, "dim")),
        (("on chain   ", "dim"), (chain, tone)),
        (("estimated  ", "dim"), (NOT_KNOWN, "dim")),
    ]
    return "SCORE", lines, (("on chain ", "dim"), (chain, tone), ("   observed, estimated: not known yet", "dim"))


def _validator_boxes(store: ConsoleStore, look: Look) -> list[Box]:
    miners = _tally(MINER_STATES, Counter(m.state for m in store.miners.values()), look)
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
        (f"MINERS {len(store.miners):,}", _fold(miners) or [none], join(miners) or none),
        (f"VERIFIED {len(store.verifications):,}", _fold(verified) or [none], join(verified) or none),
        ("SINCE START", totals, join(totals, ("   ", ""))),
        ("WEIGHTS", [none], none),
    ]
