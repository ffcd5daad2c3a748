"""Slots that slow holders lose."""

from __future__ import annotations

import asyncio

from engine.validator.slots import BriefSlots


async def test_a_holder_that_hangs_delays_nobody() -> None:
    """Everyone begins, although as many as there are slots never end."""
    slots, begun = BriefSlots(2, 0.01), 0
    hang = asyncio.Event()

    async def work(number: int) -> None:
        nonlocal begun
        async with slots.taken():
            begun += 1
            if number < 2:
                await hang.wait()

    tasks = [asyncio.create_task(work(number)) for number in range(20)]
    await asyncio.wait(tasks[2:], timeout=60)
    assert begun == 20
    hang.set()
    await asyncio.gather(*tasks)


async def test_a_slot_is_given_back_once() -> None:
    """Neither the patience's end nor the work's end gives a second slot: never more than the count at once."""
    slots = BriefSlots(1, 10.0)
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with slots.taken():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert most == 1
    short = BriefSlots(1, 0.0)
    async with short.taken():
        await asyncio.sleep(0.01)
    async with short.taken():
        blocked = asyncio.create_task(short.taken().__aenter__())
        await asyncio.sleep(0)
        assert not blocked.done()
        blocked.cancel()
