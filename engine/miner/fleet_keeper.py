"""Keeps the fleet's book: tells it of validators' visits, lets it report, and stores it."""

from __future__ import annotations

from engine.clock import Clock
from engine.events import (
    DiscoveryAnswered,
    Event,
    GrantRestored,
    GrantWritten,
    KeyDeployed,
    KeyFailed,
    KeyRemoved,
)
from engine.miner.fleet_book import FleetBook
from engine.store.node_health import NodeHealthRepository

TURN_S = 2.0
STORE_EVERY_S = 30.0
"""Counters of checks may be lost by a crash for this long; the start and end of a ramp not longer than a turn."""


class FleetKeeper:
    """A service and a listener on the bus."""

    def __init__(self, book: FleetBook, repository: NodeHealthRepository, *, clock: Clock) -> None:
        self._book = book
        self._repository = repository
        self._clock = clock

    async def restore(self) -> None:
        """Take over what the last run stored. Raises StoreUnusable."""
        self._book.restore(await self._repository.all())

    async def run(self) -> None:
        """Report and store for ever. Raises StoreUnusable."""
        stored_at = self._clock.monotonic()
        while True:
            self._book.report()
            if self._book.is_urgent or self._clock.monotonic() - stored_at >= STORE_EVERY_S:
                await self.store()
                stored_at = self._clock.monotonic()
            await self._clock.sleep(TURN_S)

    async def store(self) -> None:
        """Store what changed. Raises StoreUnusable; then it counts as changed still."""
        documents = self._book.take_dirty()
        is_stored = False
        try:
            await self._repository.put_many(documents, self._clock.now())
            is_stored = True
        finally:
            if not is_stored:
                self._book.put_back(documents)

    def listen(self, event: Event) -> None:
        """Tell the book of visits; for the bus."""
        match event:
            case GrantWritten():
                self._book.visit_begins(event.node_id, event.validator_hotkey)
            case GrantRestored(is_in_place=True) | KeyDeployed():
                self._book.key_in_place(event.node_id, event.validator_hotkey)
            case KeyRemoved():
                self._book.key_gone(event.node_id, event.validator_hotkey)
            case KeyFailed():
                self._book.key_failed(event.node_id, event.message or event.error_code)
            case DiscoveryAnswered():
                self._book.visit_ends(event.validator_hotkey)
            case _:
                pass
