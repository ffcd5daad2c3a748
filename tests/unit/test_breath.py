"""New work waits while the event loop is late."""

from __future__ import annotations

import asyncio
import time

from engine.validator.breath import Breath


async def test_work_waits_for_a_loop_that_is_late() -> None:
    """As long as something keeps each turn of the loop long nothing new begins; afterwards it does, in order."""
    breath, order = Breath(late_s=0.02), list[str]()

    async def hog() -> None:
        for _ in range(6):
            time.sleep(0.03)
            await asyncio.sleep(0)
        order.append("hog")

    async def work(name: str) -> None:
        await breath.drawn()
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(hog())
        for name in ("first", "second"):
            group.create_task(work(name))
    assert order == ["hog", "first", "second"]


async def test_a_loop_in_time_holds_nothing_back() -> None:
    """Thousands begin when nothing is late, and one that is given up leaves the next its turn."""
    breath = Breath(late_s=3600.0)
    await asyncio.gather(*(breath.drawn() for _ in range(2_000)))
    stuck = asyncio.create_task(Breath(late_s=0.0).drawn())
    late = Breath(late_s=0.0)
    waiting = [asyncio.create_task(late.drawn()) for _ in range(2)]
    await asyncio.sleep(0)
    for task in (stuck, *waiting):
        task.cancel()
    results = await asyncio.gather(stuck, *waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert not late._turn.locked()
