"""Group commit: callers that come while a transaction runs share the next one, so that one fsync serves them all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import StoreUnusable
from engine.store.database import Database

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
    ) -> None:
        """``after`` gets each group as soon as it is stored, before any other writer's turn."""
        self._database = database
        self._work = work
        self._after = after
        self._pending: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Returns once the item is stored for good.

        Raises:
            StoreUnusable: it is not, and neither are the others of its transaction.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
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
                batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
                await self._commit(batch)
        finally:
            self._task = None

    async def _commit(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        items = [item for item, _ in batch]

        async def run(connection: AsyncConnection) -> Sequence[R]:
            return await self._work(connection, items)

        try:
            results = await self._database.write(run, after=lambda _results: self._after(items))
        except StoreUnusable as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(type(error)(error.message, hint=error.hint))
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
