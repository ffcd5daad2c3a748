"""The engine's time series: fed by events and by a look at the live state, kept in buckets in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from engine.clock import Clock
from engine.control.state import LiveState
from engine.errors import ControlRefused, StoreUnusable
from engine.events import Event
from engine.observe.history_rules import (
    HOURLY_SERIES,
    QUICK_TIERS,
    SERIES,
    TIERS,
    Bucket,
    Tier,
    bucket_start,
    points_of,
    standing_in,
    tier_for,
    told_by,
    unpack,
)
from engine.store.history import HistoryRepository

log = structlog.get_logger()

STORE_EVERY_S = 300.0
"""What a crash may take from the wider tiers; the finest is stored bucket by bucket."""
PRUNE_EVERY_S = 3600.0
FULL_LIMIT = 200
FUTURE_S = 3600.0
"""Buckets that start later than this were written under another clock and answer nothing."""


class History:
    """A service and a listener on the bus; ``read`` answers the control verb ``history``."""

    def __init__(self, repository: HistoryRepository, state: LiveState, *, clock: Clock, quick: bool = False) -> None:
        self._repository = repository
        self._state = state
        self._clock = clock
        self._tiers: Sequence[Tier] = QUICK_TIERS if quick else TIERS
        self._current: dict[str, Bucket] = {}
        self._full: dict[tuple[str, float], Bucket] = {}
        """By tier and start, until they are stored."""
        self._storing = asyncio.Lock()
        self.on_full: Callable[[str, Bucket], None] = lambda tier, bucket: None
        """Told of every bucket that nothing falls into any more."""
        self.hourly: Callable[[str, str, float], Awaitable[Sequence[tuple[float, float]]]] | None = None
        """Where a validator's hourly series come from: series, subject, since."""

    async def restore(self) -> None:
        """Go on with the buckets that the last run began. Raises StoreUnusable."""
        now = self._clock.now()
        for tier in self._tiers:
            start = bucket_start(now, tier)
            rows = await self._repository.since(tier.name, start)
            record = next((record for at, record in rows if at == start), None)
            self._current[tier.name] = Bucket(start) if record is None else unpack(start, record)

    async def run(self) -> None:
        """Look and store for ever; a store that fails costs points, not the engine."""
        stored_at = pruned_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._tiers[0].width_s)
            self.sample()
            now = self._clock.monotonic()
            is_due = now - stored_at >= STORE_EVERY_S
            try:
                await self.store(everything=is_due)
                stored_at = now if is_due else stored_at
                if now - pruned_at >= PRUNE_EVERY_S:
                    pruned_at = now
                    await self._prune()
            except StoreUnusable as error:
                log.warning("history.not_stored", error=str(error))

    def listen(self, event: Event) -> None:
        """Count what happens; for the bus."""
        for value in told_by(event):
            self._add(*value)

    def sample(self) -> None:
        """Note what stands now."""
        for value in standing_in(self._state):
            self._add(*value)

    async def store(self, *, everything: bool = True) -> None:
        """Store the buckets that are full, and those that are not full yet as well. Raises StoreUnusable."""
        async with self._storing:
            full = dict(self._full)
            records = await asyncio.to_thread(lambda: {key: bucket.pack() for key, bucket in full.items()})
            if everything:
                # Packed between two events: a bucket that changes meanwhile would be half of each.
                records |= {(name, b.start): b.pack() for name, b in self._current.items() if b.values}
            await self._repository.put_many(records)
            for key in full:
                self._full.pop(key, None)

    async def read(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        """Points of time and mean from then on; see ``engine.control.server.History``.

        Raises:
            ControlRefused: no such series.
            StoreUnusable: what is stored cannot be read.
        """
        if series not in SERIES:
            raise ControlRefused(f"there is no series {series[:40]!r}", hint=", ".join(sorted(SERIES)), reason="series")
        if self.hourly is not None and series in HOURLY_SERIES and (subject or series != "verified"):
            return list(await self.hourly(series, subject, since))
        now = self._clock.now()
        tier = tier_for(self._tiers, now - since)
        first = max(since, now - tier.span_s) - tier.width_s
        rows = await self._repository.since(tier.name, first)
        stored = await asyncio.to_thread(lambda: {at: unpack(at, record) for at, record in rows if at < now + FUTURE_S})
        return points_of(self._with_current(stored, tier), series, subject)

    async def stored(self, since: float) -> list[tuple[str, float, bytes]]:
        """Tier, start and row of all that is stored from then on but the finest tier. Raises StoreUnusable."""
        found = []
        for tier in self._tiers[1:]:
            now = self._clock.now()
            rows = await self._repository.since(tier.name, max(now - tier.span_s, since) - tier.width_s)
            found += [(tier.name, at, record) for at, record in rows if at + tier.width_s <= now]
        return found

    async def _prune(self) -> None:
        now = self._clock.now()
        for tier in self._tiers:
            await self._repository.prune(tier.name, now - tier.span_s - tier.width_s)

    def _with_current(self, stored: dict[float, Bucket], tier: Tier) -> list[Bucket]:
        """Stored buckets in order, those of this run in place of their stored form."""
        own = {start: bucket for (name, start), bucket in self._full.items() if name == tier.name}
        current = self._current.get(tier.name)
        if current is not None:
            own[current.start] = current
        return [bucket for _, bucket in sorted({**stored, **own}.items())]

    def _add(self, series: str, subject: str, value: float) -> None:
        now = self._clock.now()
        for tier in self._tiers:
            start = bucket_start(now, tier)
            bucket = self._current.get(tier.name)
            if bucket is None or bucket.start != start:
                if bucket is not None and bucket.values:
                    self._full[(tier.name, bucket.start)] = bucket
                    self._drop_oldest()
                    self.on_full(tier.name, bucket)
                bucket = self._current[tier.name] = Bucket(start)
            bucket.add(series, subject, value)

    def _drop_oldest(self) -> None:
        """A store that fails for hours costs points, not memory."""
        while len(self._full) > FULL_LIMIT:
            self._full.pop(next(iter(self._full)))
