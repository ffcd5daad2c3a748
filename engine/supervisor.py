"""Services run here: a crash is an event and a restart with growing delay, never the end of the engine.

``StoreUnusable`` and ``ConfigInvalid`` are the two exceptions: without a store or a configuration nothing
that the engine promises can be kept, so they stop it. A full disk or a lock of another program
(``StoreStrained``) passes: an engine that ended for it would leave keys on nodes unattended.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from engine.clock import Clock
from engine.errors import BasilicaError, ConfigInvalid, StoreStrained, StoreUnusable
from engine.events import EventSink, ServiceCrashed, ServiceStarted, ServiceStopped

FIRST_RESTART_S = 0.5
LAST_RESTART_S = 60.0
HEALTHY_AFTER_S = 60.0
"""A service that ran this long starts again at the first delay."""

ServiceBody = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """A named coroutine function that is meant to run for as long as the engine does."""

    name: str
    body: ServiceBody


async def whenever_woken(wake: asyncio.Event, work: ServiceBody) -> None:
    """A service that does its work whenever it is woken, for ever; work that failed is done again by the next run."""
    while True:
        await wake.wait()
        wake.clear()
        try:
            await work()
        except Exception:
            wake.set()
            raise


async def every_step(
    *steps: Callable[[], Awaitable[object]], but: type[Exception] | tuple[type[Exception], ...] = ()
) -> None:
    """Do all of these in their order, those after one that failed too; what failed first is raised at the end.

    ``but`` is raised at once: what makes the later steps pointless.
    """
    failures: list[Exception] = []
    for step in steps:
        try:
            await step()
        except but:
            raise
        except Exception as failure:  # noqa: BLE001 - raised below
            failures.append(failure)
    if failures:
        raise next(filter(_is_the_end, failures), failures[0])


def next_restart_delay_s(previous_s: float, ran_s: float, *, jitter: float) -> float:
    """How long to wait before a crashed service starts again: doubling to a minute, reset by a healthy run.

    ``jitter`` in 0..1 spreads restarts by up to a quarter of the delay.
    """
    base = FIRST_RESTART_S if ran_s >= HEALTHY_AFTER_S or previous_s <= 0 else min(previous_s * 2, LAST_RESTART_S)
    return base * (1 + 0.25 * jitter)


class Supervisor:
    """Runs services in one task group and restarts those that crash."""

    def __init__(self, clock: Clock, emit: EventSink) -> None:
        self._clock = clock
        self._emit = emit
        self._services: list[Service] = []
        self._stopping = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str, body: ServiceBody) -> None:
        """Register a service; only before ``run``."""
        self._services.append(Service(name, body))

    async def end(self, *names: str) -> None:
        """Cancel these services and wait for them; the others go on. Names that do not run are ignored."""
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Ask ``run`` to end: services are cancelled together."""
        self._stopping.set()

    async def run(self) -> None:
        """Run every service until ``stop`` is called.

        Raises:
            StoreUnusable, ConfigInvalid: from a service, after the others were cancelled.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for service in self._services:
                    task = group.create_task(self._keep_running(service), name=f"service:{service.name}")
                    self._tasks[service.name] = task
                await self._stopping.wait()
                for task in self._tasks.values():
                    task.cancel()
        except BaseExceptionGroup as failures:  # not except*: Pythons before 3.11.4 wrap what is raised there again
            ends = [one for one in _leaves(failures) if _is_the_end(one)]
            if not ends:
                raise
            raise ends[0] from failures

    async def _keep_running(self, service: Service) -> None:
        delay_s = 0.0
        while True:
            started = self._clock.monotonic()
            self._emit(ServiceStarted(at=self._clock.now(), service=service.name))
            try:
                await service.body()
            except asyncio.CancelledError:
                self._emit(ServiceStopped(at=self._clock.now(), service=service.name))
                raise
            except Exception as error:
                if _is_the_end(error):
                    raise
                delay_s = next_restart_delay_s(
                    delay_s,
                    self._clock.monotonic() - started,
                    jitter=random.random(),  # noqa: S311 - spreads restarts
                )
                self._emit(
                    ServiceCrashed(
                        at=self._clock.now(), service=service.name, error=_describe(error), retry_in_s=round(delay_s, 1)
                    )
                )
            else:
                self._emit(ServiceStopped(at=self._clock.now(), service=service.name))
                return
            await self._clock.sleep(delay_s)


def _is_the_end(error: BaseException) -> bool:
    """Of an error, or of any in a group: a service may do several things at once."""
    return any(
        isinstance(one, StoreUnusable | ConfigInvalid) and not isinstance(one, StoreStrained) for one in _leaves(error)
    )


def _describe(error: Exception) -> str:
    first = _leaves(error)[0]
    return str(first) if isinstance(first, BasilicaError) else f"{type(first).__name__}: {first}"


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for one in error.exceptions for leaf in _leaves(one)]
