"""Answers that are being made: one piece of work per nonce, however often its request arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from engine.miner import door_rules as rules
from engine.miner.door_request import Refused, Request

Slot: TypeAlias = tuple[str, str]
"""A nonce, behind the raw key of who may have used it."""


class Running:
    """An accepted signature whose answer is still being made. A caller that goes away takes only its own wait along."""

    __slots__ = ("identity", "task", "waiting")

    def __init__(self, identity: tuple[str, str, str]) -> None:
        self.identity = identity
        self.waiting: list[asyncio.Future[bytes]] = []
        self.task: asyncio.Task[None] | None = None
        """Keeps the work alive; there is none where nothing but the ledger is waited for."""

    def wait(self) -> asyncio.Future[bytes]:
        """One more wait for the answer."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def finish(self, make_answer: Callable[[], bytes]) -> None:
        """Give everybody who waits the answer, or the error that making it raises."""
        try:
            answer = make_answer()
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            for future in self.waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for future in self.waiting:
            if not future.done():
                future.set_result(answer)


class WorkUnderWay:
    """All answers that are being made, by nonce."""

    def __init__(self) -> None:
        self._running: dict[Slot, Running] = {}

    def joined(self, request: Request, slot: Slot) -> asyncio.Future[bytes] | None:
        """A wait for the answer that is being made for this nonce. Raises Refused if the request is another one."""
        running = self._running.get(slot)
        if running is None:
            return None
        if running.identity != request.identity:
            raise Refused(rules.NONCE_REUSED)
        return running.wait()

    def begin(self, request: Request, slot: Slot) -> Running:
        """Register the one piece of work for this nonce."""
        running = self._running[slot] = Running(request.identity)
        return running

    def finish(self, slot: Slot, make_answer: Callable[[], bytes]) -> None:
        """End the work of this nonce with its answer."""
        running = self._running.pop(slot, None)
        if running is not None:
            running.finish(make_answer)

    async def drain(self, grace_s: float) -> None:
        """Wait so long for work under way, then cancel it."""
        running = list(self._running.values())
        waits = [one.wait() for one in running]
        if not waits:
            return
        await asyncio.wait(waits, timeout=grace_s)
        tasks = [one.task for one in running if one.task is not None and not one.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(wait for wait in waits if wait.done()), return_exceptions=True)
