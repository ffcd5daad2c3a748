"""Calling the operator to the terminal: the bell, and a desktop notice where the terminal knows how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from basilica_tui.clipboard import through_multiplexer
from basilica_tui.text import clean
from engine.control.models import AlertView

Bell = Literal["off", "bell", "notify"]
BELLS: tuple[Bell, ...] = ("off", "bell", "notify")
RING = "\a"
NOTICE_LIMIT = 120


class AlertEar:
    """Hears each critical alert once; those that were there already when it began to listen are not heard."""

    def __init__(self) -> None:
        self._heard: set[str] | None = None

    def fresh(self, alerts: Mapping[str, AlertView]) -> list[AlertView]:
        """Critical alerts that began since the last call and that nobody has acknowledged or silenced."""
        now = {a.id: a for a in alerts.values() if a.active and a.level == "critical"}
        before, self._heard = self._heard, set(now)
        if before is None:
            return []
        return [a for key, a in now.items() if key not in before and not a.acknowledged and a.silenced_until is None]


def ring(bell: Bell, alerts: Iterable[AlertView], env: Mapping[str, str]) -> str:
    """What to send to the terminal: a bell, or a notice in both spellings that terminals know (OSC 9 and 777)."""
    found = list(alerts)
    if bell == "off" or not found:
        return ""
    if bell == "bell":
        return RING
    first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
    text = _plain(f"{first.subject}: {first.message}")[:NOTICE_LIMIT] + more
    return (
        RING
        + through_multiplexer(f"\x1b]9;basilica {text}\a", env)
        + through_multiplexer(f"\x1b]777;notify;basilica;{text}\a", env)
    )


def _plain(text: str) -> str:
    """Nothing that a terminal could take for the end of the notice or for another part of it."""
    return "".join(char if char.isprintable() and char != ";" else " " for char in clean(text))
