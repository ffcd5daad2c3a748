"""Slots and seats that slow holders lose."""

from __future__ import annotations

import asyncio

from engine.validator.slots import BriefSlots, FairSlots, Seats


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


# --- slots that go round --------------------------------------------------------------------------------------


async def test_a_free_slot_goes_to_whoever_has_the_fewest() -> None:
    """Two that fill every slot and the queue behind them do not keep a third waiting longer than one end."""
    slots, order = FairSlots(4, 2), list[str]()
    ends = {name: asyncio.Event() for name in ("a0", "a1", "b0", "b1")}

    async def work(holder: str, number: int) -> None:
        async with slots.taken(holder):
            order.append(f"{holder}{number}")
            if name := ends.get(f"{holder}{number}"):
                await name.wait()

    hogs = [asyncio.create_task(work(holder, number)) for number in range(50) for holder in "ab"]
    late = [asyncio.create_task(work("c", number)) for number in range(3)]
    await asyncio.sleep(0)
    assert order == ["a0", "b0", "a1", "b1"]
    ends["a0"].set()
    await asyncio.wait_for(asyncio.gather(*late), 60)
    assert order[4] == "c0"
    assert order.index("c2") < 12
    for end in ends.values():
        end.set()
    await asyncio.wait_for(asyncio.gather(*hogs), 60)
    assert sorted(order, key=lambda name: int(name[1:]))[-1] in {"a49", "b49"}
    assert len(order) == 103


async def test_who_leaves_the_queue_takes_no_slot_with_it() -> None:
    """Cancelled while waiting, or in the very turn in which the slot was given: it serves the next one."""
    slots, end = FairSlots(1, 1), asyncio.Event()

    async def work() -> None:
        async with slots.taken("a"):
            await end.wait()

    async def work_and_cancel() -> None:
        await work()
        given.cancel()

    first = asyncio.create_task(work_and_cancel())
    waiting, given = (asyncio.create_task(work()) for _ in range(2))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    end.set()
    await asyncio.wait_for(asyncio.gather(first, waiting, given, return_exceptions=True), 60)
    assert (waiting.cancelled(), given.cancelled()) == (True, True)
    await asyncio.wait_for(work(), 60)


# --- seats that standing still costs ------------------------------------------------------------------------


async def test_those_that_stand_still_hold_nobody_up() -> None:
    """Two seats, two holders that hang: everybody else works, two at a time at most."""
    seats, hang = Seats(2, room=2, patience_s=0.5), asyncio.Event()
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with seats.taken():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    async def stuck() -> None:
        async with seats.taken():
            await hang.wait()

    hung = [asyncio.create_task(stuck()) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await asyncio.gather(*(work() for _ in range(9)))
    assert (most, seats.beside) == (2, 2)
    hang.set()
    await asyncio.gather(*hung)
    assert seats.beside == 0


async def test_the_room_beside_is_bounded() -> None:
    """One may stand beside two seats: of five that hang three have begun, and the others wait for an end."""
    seats, hang, begun = Seats(2, room=1, patience_s=0.01), asyncio.Event(), 0

    async def stuck() -> None:
        nonlocal begun
        async with seats.taken():
            begun += 1
            await hang.wait()

    hung = [asyncio.create_task(stuck()) for _ in range(5)]
    async with asyncio.timeout(60):
        while begun < 3:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert (begun, seats.beside) == (3, 1)
    hang.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*hung)
    assert (begun, seats.beside) == (5, 0)


async def test_who_comes_back_waits_for_a_place() -> None:
    """After standing beside, work goes on only when a place is free; who moves in time keeps its place."""
    seats = Seats(1, room=1, patience_s=0.05)
    async with seats.taken() as slow:
        while not seats.beside:
            await asyncio.sleep(0.01)
        async with seats.taken() as other:
            back = asyncio.create_task(slow.taken_again())
            for _ in range(10):
                await asyncio.sleep(0.02)
                other.moved()
                assert not back.done()
        async with asyncio.timeout(60):
            await back
        assert seats.beside == 0
