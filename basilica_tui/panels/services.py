"""Alerts and services in one line at the bottom of the dashboard."""

from __future__ import annotations

from basilica_tui.format import Line, Look, remaining
from basilica_tui.lines import join, join_fitting, line_width, spread
from basilica_tui.states import SERVICE_STATES, look_of
from basilica_tui.store import ConsoleStore


def status_line(store: ConsoleStore, look: Look, width: int) -> Line:
    """``ALERTS 2 active · 1 acknowledged   SERVICES ● door ▲ metrics (retry 20 s)``; trouble is never what is cut."""
    alerts = _alerts(store, look)
    title: Line = (("   SERVICES ", "title"),)
    room = width - line_width(alerts) - line_width(title) - 1
    services = _services(store, look, room) or (("not known yet", "dim"),)
    return spread((*alerts, *title, *services), (), width, look.symbols.ellipsis)


def _alerts(store: ConsoleStore, look: Look) -> Line:
    active = [a for a in store.alerts.values() if a.active]
    seen = sum(a.acknowledged for a in active)
    fresh = len(active) - seen
    words: Line = ((f"{fresh} active", "warn"),) if fresh else (("none", "good"),)
    if seen:
        words = (*words, (f" {look.symbols.dot} {seen} acknowledged", "dim"))
    return ((" ALERTS ", "title"), *words)


def _services(store: ConsoleStore, look: Look, width: int) -> Line:
    ordered = sorted(store.services.values(), key=lambda s: (look_of(SERVICE_STATES, s.state).rank, s.id))
    parts: list[Line] = []
    for service in ordered:
        how = look_of(SERVICE_STATES, service.state)
        note = ""
        if service.state == "restarting":
            note = f" (retry {remaining(service.retry_at, look)})" if service.retry_at else " (restarting)"
        elif service.state != "running":
            note = f" ({how.word})"
        parts.append(((f"{getattr(look.symbols, how.mark)} ", how.tone), (f"{service.id}{note}", "")))
    shown = join_fitting(parts, width, ("  ", ""))
    if line_width(join(parts)) <= width:
        return shown
    running = sum(s.state == "running" for s in ordered)
    troubled = [p for p, s in zip(parts, ordered, strict=True) if s.state == "restarting"]
    total: Line = ((f"{running} of {len(ordered)} running", "good" if running == len(ordered) else ""),)
    return join_fitting([total, *troubled], width)
