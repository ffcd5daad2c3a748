"""How a state looks: a mark, a word and a tone, always together, never colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from basilica_tui.format import Span
from basilica_tui.symbols import Symbols


@dataclass(frozen=True, slots=True)
class StateLook:
    """``mark`` names a field of ``Symbols``; ``rank`` sorts trouble first."""

    mark: str
    word: str
    tone: str
    rank: int


_UNKNOWN = StateLook("unknown", "unknown", "dim", 3)

NODE_STATES: Mapping[str, StateLook] = {
    "stopped": StateLook("bad", "stopped", "bad", 0),
    "unhealthy": StateLook("bad", "unhealthy", "bad", 1),
    "suspect": StateLook("warn", "suspect", "warn", 2),
    "unknown": StateLook("unknown", "unchecked", "dim", 3),
    "healthy": StateLook("good", "healthy", "good", 4),
}
SHOWN_AS_DRAINED = frozenset({"healthy", "unknown"})
"""States of a node that is out of service which say less than that it is."""
SESSION_STATES: Mapping[str, StateLook] = {
    "active": StateLook("good", "active", "good", 0),
    "authenticated": StateLook("half", "signed in", "accent", 1),
    "ended": StateLook("unknown", "ended", "dim", 2),
}
SERVICE_STATES: Mapping[str, StateLook] = {
    "stopped": StateLook("unknown", "stopped", "dim", 2),
    "restarting": StateLook("warn", "restarting", "warn", 0),
    "running": StateLook("good", "running", "good", 4),
}
ALERT_LEVELS: Mapping[str, StateLook] = {
    "critical": StateLook("bad", "critical", "bad", 0),
    "error": StateLook("bad", "error", "bad", 1),
    "warning": StateLook("warn", "warning", "warn", 2),
    "info": StateLook("good", "info", "accent", 3),
}
MINER_STATES: Mapping[str, StateLook] = {
    "failed": StateLook("bad", "failed", "bad", 0),
    "unreachable": StateLook("bad", "unreachable", "bad", 0),
    "discovered": StateLook("unknown", "discovered", "dim", 2),
    "skipped": StateLook("unknown", "not called", "dim", 5),
    "answered": StateLook("good", "answered", "good", 4),
}
VERIFICATION_STATES: Mapping[str, StateLook] = {
    "access_lost": StateLook("bad", "access lost", "bad", 0),
    "failed": StateLook("bad", "failed", "bad", 1),
    "running": StateLook("half", "running", "accent", 2),
    "queued": StateLook("unknown", "queued", "dim", 3),
    "passed": StateLook("good", "passed", "good", 4),
}
LOG_LEVELS: Mapping[str, StateLook] = {
    "critical": StateLook("bad", "critical", "bad", 0),
    "error": StateLook("bad", "error", "bad", 1),
    "warning": StateLook("warn", "warning", "warn", 2),
    "info": StateLook("dot", "info", "", 3),
    "debug": StateLook("dot", "debug", "dim", 4),
    "marker": StateLook("mark", "marker", "key", 5),
}


def look_of(states: Mapping[str, StateLook], state: str) -> StateLook:
    """The look of a state; one that this version does not know keeps its own word."""
    known = states.get(state)
    if known is not None:
        return known
    return StateLook(_UNKNOWN.mark, state or _UNKNOWN.word, _UNKNOWN.tone, _UNKNOWN.rank)


def state_span(states: Mapping[str, StateLook], state: str, symbols: Symbols) -> Span:
    """Mark and word as one span in the state's tone."""
    look = look_of(states, state)
    return f"{getattr(symbols, look.mark)} {look.word}", look.tone
