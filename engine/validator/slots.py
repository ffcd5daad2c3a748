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


class Seats:
    """At most ``count`` work at once, and whoever stands still gives its place up, so that a full house of hung ones
    holds nobody up.

    Whoever did not move for ``patience_s`` goes on beside the places, and takes one again before its next work. At most
    ``room`` stand beside; when that is full too, the next ones keep their places.
    """

    def __init__(self, count: int, *, room: int, patience_s: float) -> None:
        self._seats = asyncio.Semaphore(count)
        self._room = room
        self._patience_s = patience_s
        self._beside = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Seat]:
        """A place, as soon as there is one."""
        seat = Seat(self)
        await seat.taken_again()
        try:
            yield seat
        finally:
            seat.left()

    @property
    def beside(self) -> int:
        """How many go on without a place."""
        return self._beside


class Seat:
    """One holder's place; ``moved`` is called whenever there is progress."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._is_held = False
        self._is_beside = False
        self._timer: asyncio.TimerHandle | None = None

    def moved(self) -> None:
        """Patience begins anew."""
        if self._is_held:
            self._start_timer()

    async def taken_again(self) -> None:
        """Before more work: at once where the place is still held."""
        if self._is_held:
            self.moved()
            return
        await self._seats._seats.acquire()
        self._is_held = True
        self._step_back()
        self._start_timer()

    def left(self) -> None:
        """The end, with or without a place."""
        self._stop_timer()
        self._step_back()
        if self._is_held:
            self._is_held = False
            self._seats._seats.release()

    def _start_timer(self) -> None:
        self._stop_timer()
        # The loop's own timer: this is about the machine's time, not about the engine's.
        self._timer = asyncio.get_running_loop().call_later(self._seats._patience_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        seats = self._seats
        if seats._beside >= seats._room:
            self._start_timer()
            return
        seats._beside += 1
        self._is_held, self._is_beside = False, True
        seats._seats.release()

    def _step_back(self) -> None:
        if self._is_beside:
            self._is_beside = False
            self._seats._beside -= 1
