"""Asks all engines of the operator how they are, a few hundred bytes each, while somebody looks at the overview."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

from basilica_tui.engine_rows import EngineRow, told
from basilica_tui.link import Client, next_retry_s
from basilica_tui.store import ConsoleStore
from basilica_tui.ways import Way
from engine.clock import Clock
from engine.control.summary import summary_of
from engine.errors import BasilicaError, ControlRefused, EngineUnreachable

ASK_EVERY_S = 5.0
ANSWER_S = 10.0
CONNECT_S = 40.0
AT_ONCE = 8
"""Logins at the same time; the others wait for their turn."""


class EngineWatch:
    """Rows by name. One that does not answer keeps what it said last, with its age."""

    def __init__(self, ways: Mapping[str, Way], clock: Clock) -> None:
        self._ways = ways
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.rows: dict[str, EngineRow] = {n: EngineRow(n, where=str(w.where)) for n, w in ways.items()}

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            for way in self._ways.values():
                group.create_task(self._follow(way))

    async def _follow(self, way: Way) -> None:
        delay_s = 0.0
        while True:
            before = self.rows[way.name].seen_at
            try:
                await self._ask_for_ever(way)
            except BasilicaError as error:
                self._lose(way, error)
            except TimeoutError:
                self._lose(way, EngineUnreachable("it does not answer in time"))
            delay_s = next_retry_s(delay_s if self.rows[way.name].seen_at == before else 0.0)
            await self._clock.sleep(delay_s)

    async def _ask_for_ever(self, way: Way) -> None:
        async with self._turns, asyncio.timeout(CONNECT_S):
            client = await way.connect(way.where, role="read-only")
        try:
            while True:
                async with asyncio.timeout(ANSWER_S):
                    summary = await _summary(client, self._clock.now())
                self.rows[way.name] = told(self.rows[way.name], summary, self._clock.now())
                await self._clock.sleep(ASK_EVERY_S)
        finally:
            with contextlib.suppress(BasilicaError, OSError):
                await client.close()

    def _lose(self, way: Way, error: BasilicaError) -> None:
        self.rows[way.name] = replace(self.rows[way.name], state="gone", error=error.message)


async def _summary(client: Client, now: float) -> Mapping[str, object]:
    try:
        return await client.summary()
    except ControlRefused as refusal:
        if refusal.reason != "unknown_verb":
            raise
    store = ConsoleStore()  # an engine older than the question: the long way
    store.apply_snapshot(await client.snapshot())
    return summary_of(store, now)
