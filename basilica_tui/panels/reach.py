"""Can validators reach this miner: what the chain says, what is bound, who called last."""

from __future__ import annotations

from basilica_tui import format as f
from basilica_tui.format import Line, Look, Span
from basilica_tui.lines import line_width, spread
from basilica_tui.store import ConsoleStore
from basilica_tui.text import clean
from engine.control.models import EngineView

LABEL = " REACH  "
GAP = 2
UNREACHED = {"refused": "refused to", "timeout": "no answer for"}


def reach_line(store: ConsoleStore, look: Look, width: int) -> Line:
    """One line; the verdict comes first, the evidence after it."""
    engine = store.engine
    if store.is_validator:
        return _validator_line(store, look, width)
    mark, words, tone = _verdict(engine, look)
    verdict: Line = ((LABEL, "title"), (f"{mark} {words}", tone))
    room = width - line_width(verdict) - 1
    ways = [f"   {way}" for way in _evidence(engine, look)]
    evidence = next((way for way in ways if line_width(((way, ""),)) <= room), ways[-1])
    left: Line = (*verdict, *(((evidence, "dim"),) if width >= 60 else ()))
    room = width - line_width(left) - GAP
    right = next((line for line in _last_call(engine, look) if line_width(line) <= room), ())
    return spread(left, right if width >= 100 else (), width, look.symbols.ellipsis)


def _verdict(engine: EngineView, look: Look) -> tuple[str, str, str]:
    s = look.symbols
    if not engine.axon_advertised and not engine.axon_bound:
        return s.unknown, "not known yet", "dim"
    if not engine.axon_on_chain:
        return s.bad, "validators cannot find you", "bad"
    if engine.axon_advertised and engine.axon_on_chain != engine.axon_advertised:
        return s.bad, "validators look elsewhere", "bad"
    if engine.reach in UNREACHED:
        return s.bad, "nobody outside gets through", "bad"
    if engine.last_called_at is not None:
        return s.tick, "validators reach you", "good"
    return s.half, "published, nobody called yet", "accent"


def _evidence(engine: EngineView, look: Look) -> list[str]:
    """Ways to say it, the longest first; what decides is in the shortest too."""
    chain, wanted, bound = engine.axon_on_chain, engine.axon_advertised, engine.axon_bound
    if not chain:
        return (
            [f"nothing on chain; wanted {wanted}", f"wanted {wanted}"] if wanted else ["the axon has not been checked"]
        )
    if wanted and chain != wanted:
        both = f"{chain}, not {wanted}"
        return [f"chain {chain}, wanted {wanted}", f"chain {both}", both, f"chain {chain}"]
    if bound and bound != chain:
        return [f"chain {chain}, bound {bound}", f"{chain}, bound {bound}"]
    known = f"chain {chain} = bind" if bound else f"chain {chain}"
    seen, seen_short = _seen(engine, look)
    if not seen:
        return [known]
    if engine.reach == "open":
        return [f"{known} = {seen}", f"{chain} = {seen}", f"{chain} = {seen_short}", seen]
    return [f"{known}; {seen}", f"{seen}; {chain}", seen, seen_short]


def _seen(engine: EngineView, look: Look) -> tuple[str, str]:
    """What a node outside said when it called, with and without when."""
    if engine.reach_at is None:
        return "", ""
    peer = clean(engine.reach_peer)
    when = f"{peer} {f.ago(engine.reach_at, look)}".strip()
    if engine.reach == "open":
        return f"reached from {when}", f"reached from {peer}"
    if engine.reach in UNREACHED:
        return f"{UNREACHED[engine.reach]} {when}", f"{UNREACHED[engine.reach]} {peer}"
    return f"not known from outside ({clean(engine.reach_detail)})", "not known from outside"


def _last_call(engine: EngineView, look: Look) -> tuple[Line, ...]:
    """The longest way to say it first: the evidence before it has the width."""
    if engine.last_called_at is None:
        return ((("no validator has called yet ", "dim"),), (("no call yet ", "dim"),))
    when, who = f.ago(engine.last_called_at, look), f.short_hotkey(engine.last_called_by, look)
    caller: Span = (f"{who} ", "accent")
    return (
        ((f"last called {when} by ", "dim"), caller),
        ((f"called {when} by ", "dim"), caller),
        ((f"called {when} ", "dim"),),
    )


def _validator_line(store: ConsoleStore, look: Look, width: int) -> Line:
    miners = [miner for miner in store.miners.values() if miner.is_called]
    if not miners:
        return spread(((LABEL, "title"), (f"{look.symbols.unknown} no miners discovered yet", "dim")), (), width)
    answered = sum(m.state == "answered" for m in miners)
    failed = sum(m.state == "failed" for m in miners)
    tone = "good" if answered and not failed else "accent" if answered else "warn"
    words = f"{look.symbols.tick if answered else look.symbols.warn} {answered} of {len(miners)} miners answer"
    newest = max((m.last_answer_at for m in miners if m.last_answer_at is not None), default=None)
    return spread(((LABEL, "title"), (words, tone)), ((f"last answer {f.ago(newest, look)} ", "dim"),), width)
