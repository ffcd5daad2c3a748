"""Services that crash, end or ask for the end of everything."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from engine.clock import ManualClock, SystemClock, sleep_or_wake
from engine.errors import StoreStrained, StoreUnusable
from engine.events import Event, ServiceCrashed, ServiceStarted, ServiceStopped
from engine.supervisor import Supervisor, every_step, next_restart_delay_s, whenever_woken


@pytest.mark.parametrize(
    ("previous_s", "ran_s", "delay_s"),
    [(0, 0, 0.5), (0.5, 1, 1.0), (40, 1, 60.0), (60, 1, 60.0), (60, 61, 0.5)],
)
def test_restart_delay(previous_s: float, ran_s: float, delay_s: float) -> None:
    """Delays double to a minute and start over after a healthy run."""
    assert next_restart_delay_s(previous_s, ran_s, jitter=0.0) == delay_s
    assert next_restart_delay_s(previous_s, ran_s, jitter=1.0) == delay_s * 1.25


async def test_a_crash_is_an_event_and_a_restart() -> None:
    """A service that raises runs again; its neighbour does not notice."""
    events: list[Event] = []
    runs = 0
    calm = asyncio.Event()
    supervisor = Supervisor(SystemClock(), events.append)

    async def shaky() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("boom")
        supervisor.stop()
        await asyncio.Event().wait()

    async def steady() -> None:
        calm.set()
        await asyncio.Event().wait()

    supervisor.add("shaky", shaky)
    supervisor.add("steady", steady)
    async with asyncio.timeout(60):
        await supervisor.run()

    crashes = [e for e in events if isinstance(e, ServiceCrashed)]
    assert runs == 2
    assert [(c.service, c.error) for c in crashes] == [("shaky", "RuntimeError: boom")]
    assert sum(isinstance(e, ServiceStarted) and e.service == "steady" for e in events) == 1
    assert {e.service for e in events if isinstance(e, ServiceStopped)} == {"shaky", "steady"}


async def test_a_broken_store_stops_everything() -> None:
    """Without a store no promise can be kept: the supervisor ends with that error and cancels the others."""
    events: list[Event] = []
    supervisor = Supervisor(SystemClock(), events.append)

    async def broken() -> None:
        raise StoreUnusable("disk gone")

    async def steady() -> None:
        await asyncio.Event().wait()

    supervisor.add("steady", steady)
    supervisor.add("broken", broken)
    with pytest.raises(StoreUnusable, match="disk gone"):
        async with asyncio.timeout(60):
            await supervisor.run()

    assert [e.service for e in events if isinstance(e, ServiceStopped)] == ["steady"]


async def test_what_happens_inside_a_service_with_tasks_of_its_own_counts_as_its_own() -> None:
    """A crash in one of a service's tasks is told by its own words and restarted; a broken store there ends all."""
    events: list[Event] = []
    supervisor = Supervisor(SystemClock(), events.append)
    troubles: list[Exception] = [RuntimeError("boom"), StoreStrained("disk full"), StoreUnusable("disk gone")]

    async def fail() -> None:
        raise troubles.pop(0)

    async def parallel() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.Event().wait())
            tasks.create_task(fail())

    supervisor.add("parallel", parallel)
    with pytest.raises(StoreUnusable, match="disk gone"):
        async with asyncio.timeout(60):
            await supervisor.run()

    assert [e.error for e in events if isinstance(e, ServiceCrashed)] == ["RuntimeError: boom", "disk full"]


async def test_manual_clock_wakes_sleepers_in_order() -> None:
    """Moving the clock wakes each sleeper at its own time."""
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("b", 20)), asyncio.create_task(sleeper("a", 10))]
    await asyncio.sleep(0)
    await clock.advance(15)
    assert woken == [("a", 10.0)]
    await clock.advance(10)
    assert woken == [("a", 10.0), ("b", 20.0)]
    await asyncio.gather(*tasks)


async def test_sleep_or_wake_ends_early_and_clears() -> None:
    """A wake-up ends the wait at once and is used up by it."""
    clock = ManualClock()
    wake = asyncio.Event()
    wake.set()

    await sleep_or_wake(clock, 3600, wake)

    assert not wake.is_set()


async def test_work_that_failed_is_done_by_the_next_run_without_another_wake() -> None:
    """A crash does not lose what the service was woken for."""
    wake, done, tries = asyncio.Event(), asyncio.Event(), list[int]()

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("boom")
        done.set()

    wake.set()
    with pytest.raises(ValueError, match="boom"):
        await whenever_woken(wake, work)
    again = asyncio.create_task(whenever_woken(wake, work))
    async with asyncio.timeout(30):
        await done.wait()
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)

    assert len(tries) == 2 and not wake.is_set()


@pytest.mark.parametrize(
    ("failures", "done", "raised"),
    [
        ([None, None, None], 3, None),
        ([KeyError, None, ValueError], 3, KeyError),
        ([KeyError, StoreUnusable, None], 3, StoreUnusable),
        ([KeyError, StoreStrained, None], 3, KeyError),
        ([None, TimeoutError, KeyError], 2, TimeoutError),
    ],
)
async def test_a_step_that_fails_keeps_no_other_from_being_done(
    failures: list[type[Exception] | None], done: int, raised: type[Exception] | None
) -> None:
    """All steps are done, and the first failure is raised then, or the one that ends the engine; ``but`` at once."""
    begun = 0

    async def step(failure: type[Exception] | None) -> None:
        nonlocal begun
        begun += 1
        if failure is not None:
            raise failure("no")

    outcome: type[Exception] | None = None
    try:
        await every_step(*(partial(step, failure) for failure in failures), but=TimeoutError)
    except Exception as error:  # noqa: BLE001 - which one is the question
        outcome = type(error)
    assert (begun, outcome) == (done, raised)
