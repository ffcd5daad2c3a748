"""The first line of every screen: which engine, which chain, how fresh, who is looking."""

from __future__ import annotations

from collections.abc import Sequence

from basilica_tui import format as f
from basilica_tui.format import Line, Look
from basilica_tui.lines import join, join_fitting, line_width, spread
from basilica_tui.store import ConsoleStore

PROGRAM = "basilica-tui"
CLOCK_WIDTH = 11
COARSE_BLOCK_AGE_S = 30.0
SLOW_ANSWER_S = 1.0


def header_line(
    store: ConsoleStore,
    look: Look,
    width: int,
    *,
    read_only: bool,
    paused: bool = False,
    path: Sequence[str] = (),
    pace: str = "",
) -> Line:
    """The whole line in ``width`` cells; on narrow terminals the chain's part gives way first.

    ``path`` is how the operator came here, the view first; ``pace`` says how often it is drawn, if that is unusual.
    """
    right = _right(store, look, width, read_only=read_only, paused=paused, pace=pace)
    room = width - line_width(right) - 2
    left = join_fitting([p for p in _left(store, look, width, path) if p], room, (f" {look.symbols.dot} ", "dim"))
    return spread(((" ", ""), *left), right, width, look.symbols.ellipsis)


def clock_line(look: Look) -> Line:
    """The time of day; a widget of its own, because Textual writes a widget's line from its start."""
    return ((f"  {f.clock_time(look.now)} ", "dim"),)


def _left(store: ConsoleStore, look: Look, width: int, path: Sequence[str]) -> list[Line]:
    engine = store.engine
    name = engine.name if engine.name.startswith(engine.role) else f"{engine.role} {engine.name}".strip()
    program = f"{PROGRAM} @{store.profile}" if store.profile else PROGRAM
    parts: list[Line] = [((program, "title"),)] if width >= 88 or not name else []
    if name:
        parts.append(((name, "accent" if width >= 88 else "title"),))
    if len(path) > 1:
        parts.append(((f" {look.symbols.step} ".join(path), "key"),))
    if engine.compressed_time:
        parts.append((("demo: time compressed", "warn"),))
    if engine.network:
        parts.append(((f"{engine.network}/{engine.netuid}", ""),))
    if engine.uid is not None:
        parts.append(((f"uid {engine.uid}", ""),))
    parts.append(_block(store, look))
    return parts


def _block(store: ConsoleStore, look: Look) -> Line:
    engine = store.engine
    if engine.chain_error:
        return ((f"{look.symbols.warn} chain unreachable", "warn"),)
    if engine.block is None:
        return ()
    block = f"block {engine.block:,}"
    if engine.metagraph_at is not None and look.now - engine.metagraph_at > COARSE_BLOCK_AGE_S:
        return ((block, ""), (f" ({f.age(engine.metagraph_at, look)})", "dim"))
    return ((block, ""),)


def _right(store: ConsoleStore, look: Look, width: int, *, read_only: bool, paused: bool, pace: str) -> Line:
    parts: list[Line] = [(("paused", "warn"),)] if paused else [((pace, "accent"),)] if pace else []
    if store.replay is not None:
        return join([*parts, ((f"{look.symbols.warn} REPLAY", "warn"),)], ("   ", ""))
    parts.append(link_badge(store, look, short=width < 88))
    if read_only:
        parts.append((("read-only", "accent"),))
    elif width >= 88:
        parts.append((("operator", "dim"),))
    return join(parts, ("   " if width >= 88 else "  ", ""))


def _live(store: ConsoleStore, look: Look) -> Line:
    """Just live, while there is nothing to say about how fast the engine answers."""
    link, live = store.link, (f"{look.symbols.good} live", "good")
    if link.unanswered_since is not None:
        return (live, (f" no answer for {f.duration(look.now - link.unanswered_since)}", "warn"))
    if not link.latency_s:
        return (live,)
    took = f"{link.latency_s * 1000:.0f} ms" if link.latency_s < 1 else f"{link.latency_s:g} s"
    return (live, (f" {took}", "warn" if link.latency_s >= SLOW_ANSWER_S else "dim"))


def link_badge(store: ConsoleStore, look: Look, *, short: bool = False) -> Line:
    """Live, connecting, or since when there is no engine and when the next try comes."""
    link = store.link
    if link.phase == "live":
        return _live(store, look)
    if link.phase == "connecting":
        return ((f"{look.symbols.half} connecting", "warn"),)
    since = f.age(link.since, look)
    if link.is_mismatch:
        words = "versions differ" if short else "console and engine are of different versions"
        return ((f"{look.symbols.bad} {words}", "bad"),)
    wait = max(int((link.retry_at or look.now) - look.now + 0.5), 0)
    retry = f"retry in {wait} s" if wait else "retrying"
    if short:
        return ((f"{look.symbols.bad} engine gone {since}", "bad"),)
    known = f"data {since} old, " if store.has_data and since != "now" else ""
    return ((f"{look.symbols.bad} engine gone", "bad"), (f"  {known}{retry}", "warn"))
