"""Slots that a slow holder keeps for a short time only, so that nodes which hang delay nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class BriefSlots:
    """At most ``count`` begin within ``patience_s``; whoever takes longer goes on without a slot."""

    def __init__(self, count: int, patience_s: float) -> None:
        self._slots = asyncio.Semaphore(count)
        self._patience_s = patience_s

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """One slot, given back at the end or when patience ends."""
        await self._slots.acquire()
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._slots.release()

        # The loop's own timer: this is about the machine's time, not about the engine's.
        timer = asyncio.get_running_loop().call_later(self._patience_s, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
