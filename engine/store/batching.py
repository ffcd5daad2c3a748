"""Group commit: callers that come while a transaction runs share the next one, so that one fsync serves them all."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import StoreUnusable
from engine.store.database import Database

log = structlog.get_logger()

T = TypeVar("T")
R = TypeVar("R")

BATCH = 200


class GroupCommit(Generic[T, R]):
    """Collects items and hands them to ``work`` in order, many per transaction; each caller gets its own result."""

    def __init__(
        self,
        database: Database,
        work: Callable[[AsyncConnection, Sequence[T]], Awaitable[Sequence[R]]],
        *,
        after: Callable[[Sequence[T]], None] = lambda items: None,
        gather_s: float = 0.0,
    ) -> None:
        """``after`` gets each group as soon as it is stored, before any other writer's turn.

        ``gather_s``: how long a group that is not full waits for more; the loop's own time, not the engine's.
        """
        self._database = database
        self._work = work
        self._after = after
        self._gather_s = gather_s
        self._filled = asyncio.Event()
        self._pending: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Returns once the item is stored for good.

        Raises:
            StoreUnusable: it is not, and neither are the others of its transaction.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
        if len(self._pending) >= BATCH:
            self._filled.set()
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def flush(self) -> None:
        """Wait until nothing is pending."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _drain(self) -> None:
        try:
            while self._pending:
                await self._gather()
                batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
                await self._commit(batch)
        finally:
            self._task = None

    async def _gather(self) -> None:
        if self._gather_s <= 0:
            return
        self._filled.clear()
        if len(self._pending) < BATCH:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._gather_s):
                    await self._filled.wait()

    async def _commit(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        items = [item for item, _ in batch]

        async def run(connection: AsyncConnection) -> Sequence[R]:
            return await self._work(connection, items)

        try:
            results = await self._database.write(run, after=lambda _results: self._after(items))
        except StoreUnusable as error:
            _fail(batch, error)
            return
        except Exception as error:  # whatever it was, nobody may wait for ever
            log.exception("store.group_failed")
            text = f"a group was not stored: {type(error).__name__}: {error}"
            _fail(batch, StoreUnusable(text, hint="this is an error in the program"))
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(batch: Sequence[tuple[object, asyncio.Future[R]]], error: StoreUnusable) -> None:
    """Each caller gets an error of its own: a traceback grows with everybody who raises it."""
    for _, future in batch:
        if not future.done():
            future.set_exception(type(error)(error.message, hint=error.hint))
