"""Time as a collaborator: wall clock, monotonic clock and sleep, injected everywhere.

``SystemClock`` is the real one. ``ManualClock`` is moved by hand, so that fourteen days fit in a test.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """What the engine knows about time."""

    def now(self) -> float:
        """Unix seconds by the wall clock; may jump. For expiry and for display only."""

    def monotonic(self) -> float:
        """Seconds that never go back; for durations and timers."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long by the monotonic clock."""


class SystemClock:
    """The host's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until ``advance`` moves it; sleepers wake in order of their deadlines."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move both clocks forward, waking each sleeper at its own time and letting it run."""
        target = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            deadline, _, future = heapq.heappop(self._sleepers)
            self._move_to(deadline)
            if not future.done():
                future.set_result(None)
            await _let_others_run()
        self._move_to(target)
        await _let_others_run()

    def set_wall(self, now: float) -> None:
        """Let the wall clock jump, as NTP or a person may do; the monotonic clock does not move."""
        self._now = now

    def _move_to(self, monotonic: float) -> None:
        self._now += monotonic - self._monotonic
        self._monotonic = monotonic


async def _let_others_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def sleep_or_wake(clock: Clock, seconds: float, wake: asyncio.Event) -> None:
    """Wait until the time has passed or somebody sets ``wake``, which is cleared for the next time."""
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    waker = asyncio.ensure_future(wake.wait())
    try:
        await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
        waker.cancel()
    wake.clear()
