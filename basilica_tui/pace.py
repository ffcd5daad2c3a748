"""How often the screen is brought up to date: chosen by ``+`` ``_`` or ``:refresh 5s``. Pure."""

from __future__ import annotations

from basilica_tui.actions import parse_seconds

STEPS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
NORMAL_S = 1.0


def next_pace(now_s: float, *, slower: bool) -> float:
    """The neighbouring step; the ends stay."""
    if slower:
        return next((s for s in STEPS_S if s > now_s), STEPS_S[-1])
    return next((s for s in reversed(STEPS_S) if s < now_s), STEPS_S[0])


def parse_pace(text: str) -> float | None:
    """``5``, ``5s``, ``1m`` in seconds; None for what is no time or outside of half a second to a minute."""
    seconds = parse_seconds(text)
    return seconds if seconds is not None and STEPS_S[0] <= seconds <= STEPS_S[-1] else None


def pace_words(seconds: float) -> str:
    """``every 5 s``; empty for the normal pace, which needs no words."""
    return "" if seconds == NORMAL_S else f"every {seconds:g} s"
