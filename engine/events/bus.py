"""The bus that carries events to everybody who listens."""

from __future__ import annotations

from collections.abc import Callable

from engine.events.base import Event, EventSink


class EventBus:
    """Hands each event to every listener at once, in the order of subscription.

    Listeners must return quickly and must not raise: they queue what takes time.
    """

    def __init__(self) -> None:
        self._listeners: list[EventSink] = []

    def subscribe(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; the returned function removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: Event) -> None:
        """Tell everybody."""
        for listener in tuple(self._listeners):
            listener(event)
