"""The one task that owns the connection: it reconnects for ever and never lets a failure reach the screen.

A local socket is cheap to try: 0.25 s, doubling to 10 s. What was known stays in the store, marked stale.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from basilica_tui.store import BatchLike, ConsoleStore, LinkState, SnapshotLike
from engine.clock import Clock
from engine.control.client import ControlClient
from engine.control.models import LogRecord
from engine.errors import BasilicaError, ControlRefused, EngineUnreachable, ProtocolMismatch

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 10.0
LOG_PAGE = 1000
ASK_EVERY_S = 10.0
SLOW_S = 2.0
"""After so long without an answer the header says since when."""


class HelloLike(Protocol):
    """What the link reads of the engine's hello."""

    @property
    def build(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def role(self) -> str: ...


class LoggedSnapshot(SnapshotLike, Protocol):
    """A snapshot that knows the newest log line of its time."""

    @property
    def log_seq(self) -> int: ...


class GapBatch(BatchLike, Protocol):
    """A batch that may say that log lines were lost before it."""

    @property
    def gap(self) -> int: ...


class Client(Protocol):
    """The control client as the link uses it."""

    @property
    def hello(self) -> HelloLike: ...
    async def snapshot(self) -> LoggedSnapshot: ...
    def watch(self) -> AsyncGenerator[GapBatch, None]: ...
    async def act(
        self,
        verb: str,
        args: Mapping[str, object],
        *,
        key: str | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Mapping[str, object]: ...
    async def actions(self) -> Mapping[str, str]: ...
    async def summary(self) -> Mapping[str, object]: ...
    async def logs(self, after_seq: int = 0, limit: int = 500) -> list[LogRecord]: ...
    async def history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]: ...
    async def events(self, subject: str, kinds: Sequence[str], limit: int = 100) -> list[dict[str, object]]: ...
    async def close(self) -> None: ...


class Connect(Protocol):
    """Opens a client; the real one is ``connect_to_engine``."""

    async def __call__(self, path: Path, *, role: str) -> Client: ...


class Feed(Protocol):
    """What fills a store: the link to an engine, or a recording."""

    async def run(self) -> None: ...
    async def act(
        self, verb: str, args: Mapping[str, object], on_progress: Callable[[str], None] | None = None
    ) -> Mapping[str, object]: ...
    async def history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]: ...
    async def events(self, subject: str, kinds: Sequence[str], limit: int = 100) -> list[dict[str, object]]: ...
    async def resync(self) -> None: ...


async def connect_to_engine(path: Path, *, role: str) -> Client:
    """A connection to a real engine.

    Raises:
        EngineUnreachable, ProtocolMismatch, ControlRefused: as ``ControlClient.connect`` does.
    """
    return await ControlClient.connect(path, role=role)


def next_retry_s(previous_s: float) -> float:
    """The delay after another failed try."""
    return min(previous_s * 2, LAST_RETRY_S) if previous_s else FIRST_RETRY_S


def coarse_latency(seconds: float) -> float:
    """In steps that say something: nothing below 100 ms, 50 ms below one second, then half seconds."""
    if seconds < 0.1:
        return 0.0
    step = 0.05 if seconds < 1 else 0.5
    return round(round(seconds / step) * step, 2)


class Link:
    """Feeds a store from an engine for as long as ``run`` is running."""

    def __init__(
        self,
        store: ConsoleStore,
        socket: Path,
        *,
        clock: Clock,
        connect: Connect,
        read_only: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._socket = socket
        self._clock = clock
        self._connect = connect
        self._role = "read-only" if read_only else "operator"
        self._on_change = on_change
        self._client: Client | None = None
        self._instance = ""
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Connect, follow, and start again after each loss, until cancelled."""
        delay_s = 0.0
        while True:
            try:
                await self._follow()
                error: BasilicaError = EngineUnreachable("the engine closed the connection")
            except BasilicaError as failure:
                error = failure
            if self._store.link.phase == "live":
                delay_s = 0.0
            delay_s = next_retry_s(delay_s)
            self._say_waiting(error, delay_s)
            await self._pause(delay_s)

    async def act(
        self, verb: str, args: Mapping[str, object], on_progress: Callable[[str], None] | None = None
    ) -> Mapping[str, object]:
        """Ask the engine to do something.

        Raises:
            EngineUnreachable: not connected, or the connection was lost meanwhile.
            ControlRefused: the engine refused; its reason is in the error.
        """
        return await self._connected().act(verb, args, on_progress=on_progress)

    async def history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        """Points of time and value; raises as ``act`` does."""
        return await self._connected().history(series, subject, since)

    async def events(self, subject: str, kinds: Sequence[str], limit: int = 100) -> list[dict[str, object]]:
        """The last events about an object, newest first; raises as ``act`` does."""
        return await self._connected().events(subject, kinds, limit)

    def _connected(self) -> Client:
        if self._client is None:
            raise EngineUnreachable("not connected to the engine", hint="the console keeps trying; wait for it")
        return self._client

    async def resync(self) -> None:
        """Read everything again, or try to connect at once where there is no connection."""
        if self._client is None:
            self._hurry.set()
            return
        self._store.apply_snapshot(await self._client.snapshot())
        self._on_change()

    async def _follow(self) -> None:
        client = await self._connect(self._socket, role=self._role)
        try:
            await self._load(client)
            self._client = client
            measuring = asyncio.create_task(self._measure(client))
            try:
                async with contextlib.aclosing(client.watch()) as batches:
                    async for batch in batches:
                        self._store.apply_batch(batch)
                        self._store.lost_log_lines += batch.gap
                        self._on_change()
            finally:
                measuring.cancel()
                await asyncio.gather(measuring, return_exceptions=True)
        finally:
            self._client = None
            with contextlib.suppress(BasilicaError, OSError):
                await client.close()

    async def _measure(self, client: Client) -> None:
        """Ask for something small now and then: how long the answer takes is what every key will take too."""
        while True:
            await self._clock.sleep(ASK_EVERY_S)
            began, asked_at = self._clock.monotonic(), self._clock.now()
            asking = asyncio.ensure_future(self._ask(client))
            overdue = asyncio.ensure_future(self._clock.sleep(SLOW_S))
            try:
                await asyncio.wait({asking, overdue}, return_when=asyncio.FIRST_COMPLETED)
                if not asking.done():
                    self._say_latency(self._store.link.latency_s, unanswered_since=asked_at)
                if not await asking:
                    return
            finally:
                asking.cancel()
                overdue.cancel()
            self._say_latency(coarse_latency(self._clock.monotonic() - began))

    async def _ask(self, client: Client) -> bool:
        try:
            await client.summary()
        except ControlRefused:
            return True  # an engine older than the question; a refusal is a round trip too
        except BasilicaError:
            return False  # the watch says it
        return True

    def _say_latency(self, latency_s: float, unanswered_since: float | None = None) -> None:
        link = replace(self._store.link, latency_s=latency_s, unanswered_since=unanswered_since)
        if link != self._store.link and link.phase == "live":
            self._store.set_link(link)
            self._on_change()

    async def _load(self, client: Client) -> None:
        if client.hello.instance != self._instance:
            self._instance = client.hello.instance
            self._store.clear_logs()
        snapshot = await client.snapshot()
        self._store.apply_snapshot(snapshot)
        known = self._store.logs[-1].seq if self._store.logs else 0
        self._store.add_logs(await client.logs(after_seq=max(known, snapshot.log_seq - LOG_PAGE), limit=LOG_PAGE))
        try:
            self._store.verbs = frozenset(await client.actions())
        except ControlRefused:
            self._store.verbs = None  # an older engine; it will say itself what it does not know
        if self._store.link.phase != "live":
            self._store.set_link(
                LinkState(
                    phase="live",
                    since=self._clock.now(),
                    role=client.hello.role,
                    was_live=True,
                    build=client.hello.build,
                )
            )
        self._on_change()

    def _say_waiting(self, error: BasilicaError, delay_s: float) -> None:
        before, now = self._store.link, self._clock.now()
        self._store.set_link(
            replace(
                before,
                phase="waiting",
                since=before.since if before.phase == "waiting" else now,
                retry_at=now + delay_s,
                error=error.message,
                hint=error.hint,
                is_mismatch=isinstance(error, ProtocolMismatch),
                attempts=before.attempts + 1 if before.phase == "waiting" else 1,
            )
        )
        self._on_change()

    async def _pause(self, delay_s: float) -> None:
        self._hurry.clear()
        sleeping = asyncio.ensure_future(self._clock.sleep(delay_s))
        hurrying = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({sleeping, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            hurrying.cancel()
