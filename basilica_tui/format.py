"""Figures as an operator reads them: coarse ages, short hotkeys, numbers with separators. Pure, no Textual."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from basilica_tui.symbols import UNICODE, Symbols
from basilica_tui.thresholds import USUAL, Thresholds

Span = tuple[str, str]
"""Text and its tone. Tones: empty, ``good``, ``warn``, ``bad``, ``dim``, ``accent``, ``title``, ``key``."""
Line = tuple[Span, ...]


NOT_KNOWN = "not known yet"


@dataclass(frozen=True, slots=True)
class Look:
    """What every drawing function needs to know besides the data: the time, the marks, what is too much."""

    now: float = 0.0
    symbols: Symbols = UNICODE
    limits: Thresholds = USUAL


def not_known(look: Look) -> Span:
    """What a cell shows for a figure that nobody has told yet."""
    return look.symbols.dash, "dim"


def duration(seconds: float) -> str:
    """A length of time in its one fitting unit: ``40 s``, ``14 min``, ``3 h``, ``12 d``."""
    seconds = max(seconds, 0.0)
    if seconds < 60:
        return f"{int(seconds)} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min"
    if seconds < 172_800:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86_400)} d"


def age(at: float | None, look: Look) -> str:
    """How long ago, coarse: ``now`` within five seconds, tens of seconds within the first minute, then ``duration``."""
    if at is None:
        return look.symbols.dash
    seconds = look.now - at
    if seconds < 5:
        return "now"
    if seconds < 60:
        return f"{int(seconds // 10) * 10 or 5} s"
    return duration(seconds)


def ago(at: float | None, look: Look) -> str:
    """An age inside a sentence: ``14 min ago``, ``just now``, ``never``."""
    if at is None:
        return "never"
    text = age(at, look)
    return "just now" if text == "now" else f"{text} ago"


def remaining(until: float | None, look: Look) -> str:
    """How much time is left: ``41 min``, in tens of seconds near the end, ``over`` afterwards."""
    if until is None:
        return look.symbols.dash
    seconds = until - look.now
    if seconds <= 0:
        return "over"
    if seconds < 60:
        return f"{int(-(-seconds // 10)) * 10} s"
    return duration(seconds)


def ends(until: float | None, look: Look) -> str:
    """The end of something as a phrase: ``ends in 41 min``, ``ending`` from the last moment until it is gone."""
    if until is None:
        return look.symbols.dash
    return "ending" if until - look.now <= 0 else f"ends in {remaining(until, look)}"


def clock_time(at: float) -> str:
    """Local time of day, ``09:41:07``."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def exact_time(at: float) -> str:
    """Local date and time to the millisecond, ``2026-11-20 14:00:05.123``."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03d}"


def day(at: float, look: Look) -> str:
    """A day near now: ``today``, ``Thu`` within six days, ``12 Dec`` beyond."""
    then, now = time.localtime(at), time.localtime(look.now)
    if then[:3] == now[:3]:
        return "today"
    return time.strftime("%a" if abs(at - look.now) < 6 * 86_400 else "%-d %b", then)


def stamp(at: float | None, look: Look) -> str:
    """The exact local time with its age, for details: ``2026-11-20 14:00:05 (3 h ago)``."""
    if at is None:
        return "never"
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))} ({ago(at, look)})"


def number(value: float | None, look: Look, digits: int = 0) -> str:
    """A figure with thousands separators; a dash where it is not known."""
    return look.symbols.dash if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, look: Look) -> str:
    """``62%``; a dash where it is not known."""
    return look.symbols.dash if value is None else f"{value:.0f}%"


def tao(value: float | None, look: Look) -> str:
    """``48,210 τ``; small amounts keep two decimals."""
    if value is None:
        return look.symbols.dash
    return f"{value:,.0f} {look.symbols.tau}" if value >= 100 else f"{value:,.2f} {look.symbols.tau}"


def short_hotkey(hotkey: str, look: Look) -> str:
    """``5G3q…MmbC``; what is already short stays."""
    if not hotkey:
        return look.symbols.dash
    return hotkey if len(hotkey) <= 12 else f"{hotkey[:4]}{look.symbols.ellipsis}{hotkey[-4:]}"


def short_node(node_id: str, label: str = "") -> str:
    """A node's label, or the first eight characters of its id."""
    return label or (node_id[:8] if len(node_id) > 16 else node_id)


def gpus(count: int | None, model: str, memory_mib: int | None, look: Look) -> str:
    """``8×H100 80G`` from what nvidia-smi says."""
    if not model and not count:
        return look.symbols.dash
    name = " ".join(w for w in model.split() if w not in {"NVIDIA", "GeForce", "Tesla", "HBM3", "HBM3e", "HBM2e"})
    words = [w for w in name.replace("-SXM", " SXM").split() if not (w.endswith("GB") or w.startswith("SXM"))]
    name = " ".join(w.removesuffix("-80GB") for w in words) or "GPU"
    size = f" {round(memory_mib / 1024)}G" if memory_mib else ""
    return f"{count}{look.symbols.times}{name}{size}" if count else f"{name}{size}"


def sparkline(values: Sequence[float], width: int, symbols: Symbols, top: float | None = None) -> str:
    """The last ``width`` values as one line of steps, right-aligned; the scale starts at zero."""
    last = list(values)[-width:] if width > 0 else []
    high = top if top is not None else max(last, default=0.0)
    steps = symbols.sparks
    if high <= 0:
        return (steps[0] * len(last)).rjust(width)
    marks = (steps[min(int(max(v, 0.0) / high * (len(steps) - 1) + 0.5), len(steps) - 1)] for v in last)
    return "".join(marks).rjust(width)


def bar(fraction: float, width: int, symbols: Symbols) -> str:
    """A horizontal bar of exactly ``width`` cells."""
    full = min(max(round(fraction * width), 0), width)
    return symbols.bar_full * full + symbols.bar_empty * (width - full)


def check_strip(results: Sequence[int], width: int, symbols: Symbols) -> str:
    """Recent checks, oldest first: a low step for passed, a cross for failed."""
    last = list(results)[-width:]
    return "".join(symbols.sparks[2] if passed else symbols.bad for passed in last).rjust(width)


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 node``, ``12 nodes``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
