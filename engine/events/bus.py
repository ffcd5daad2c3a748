"""The bus that carries events to everybody who listens."""

from __future__ import annotations

from collections.abc import Callable

from engine.events.base import Event, EventSink


class EventBus:
    """Hands each event to every listener at once, in the order of subscription.

    Listeners must return quickly and must not raise: they queue what takes time.
    """

    def __init__(self) -> None:
        self._listeners: list[tuple[EventSink, bool]] = []

    def subscribe(self, listener: EventSink, *, passing: bool = False) -> Callable[[], None]:
        """Add a listener, of passing events too when it wants them; the returned function removes it."""
        entry = listener, passing
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    def emit(self, event: Event) -> None:
        """Tell everybody, of a passing event those who want such."""
        is_passing = event.passing
        for listener, wants_passing in tuple(self._listeners):
            if wants_passing or not is_passing:
                listener(event)
