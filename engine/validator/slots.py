"""Slots that a slow holder keeps for a short time only, or that go round, so that hanging nodes delay nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
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


class FairSlots:
    """At most ``count`` at once, of one holder at most ``share``. A slot that becomes free goes to the holder that has
    the fewest, of several to the one that was served longest ago: those who fill the queue do not bar others' way.
    """

    def __init__(self, count: int, share: int) -> None:
        self._free = count
        self._share = share
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def taken(self, holder: str) -> AsyncIterator[None]:
        """One slot, given back at the end."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(holder, deque()).append(turn)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(holder)
            else:
                self._leave(holder, turn)
            raise
        try:
            yield
        finally:
            self._give_back(holder)

    def _serve(self) -> None:
        while self._free:
            able = [holder for holder in self._waiting if self._held[holder] < self._share]
            if not able:
                return
            holder = min(able, key=self._held.__getitem__)  # the first of equals
            turns = self._waiting.pop(holder)
            turn = turns.popleft()
            if turns:
                self._waiting[holder] = turns  # at the end now
            if not turn.done():
                self._free -= 1
                self._held[holder] += 1
                turn.set_result(None)

    def _give_back(self, holder: str) -> None:
        self._free += 1
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        self._serve()

    def _leave(self, holder: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(holder)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[holder]


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
