"""Feeds the console's store from a recording instead of an engine: screens do not know the difference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from basilica_tui.bindings import REPLAY
from basilica_tui.store import ConsoleStore, LinkState, ReplayPosition
from engine.clock import Clock
from engine.control.client import Batch, Snapshot
from engine.control.models import View
from engine.control.state import Touched
from engine.errors import ControlRefused
from engine.recording.past import Past
from engine.recording.player import Player

SPEEDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
TICK_S = 0.25


class ReplayClock:
    """The console's clock in a replay: what is shown is as old as it was then; waiting is real."""

    def __init__(self, player: Player, real: Clock) -> None:
        self._player = player
        self._real = real

    def now(self) -> float:
        """The moment that is shown."""
        return self._player.at

    def monotonic(self) -> float:
        """Real time, for notices and ticks."""
        return self._real.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Real time."""
        await self._real.sleep(seconds)


class ReplayLink:
    """What ``Link`` is to an engine. The player is asked in a thread, one question at a time."""

    def __init__(
        self,
        store: ConsoleStore,
        player: Player,
        *,
        clock: Clock,
        source: str,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._player = player
        self._clock = clock
        self._source = source
        self._on_change = on_change
        self._past = Past(player.recording)
        self._busy = asyncio.Lock()
        self._woken = asyncio.Event()
        self._marks: tuple[float, ...] = ()
        self.is_playing = False
        self.speed = 1.0

    async def run(self) -> None:
        """Show the first moment, then play for as long as it is told to."""
        self._marks = tuple(await asyncio.to_thread(self._player.marks))
        self._store.verbs = frozenset({REPLAY})
        self._store.set_link(LinkState(phase="live", since=self._clock.now(), role=REPLAY, was_live=True))
        self._show_everything()
        while True:
            if not self.is_playing:
                await self._woken.wait()
                self._woken.clear()
                continue
            before = self._clock.monotonic()
            await self._clock.sleep(TICK_S)
            if self.is_playing:
                await self._go_on(self._player.at + (self._clock.monotonic() - before) * self.speed)
                if self._player.is_at_end:
                    self.is_playing = False
                    self._show_place()

    async def act(
        self, verb: str, args: Mapping[str, object], on_progress: Callable[[str], None] | None = None
    ) -> Mapping[str, object]:
        """Nothing can be done in the past. Raises ControlRefused, always."""
        raise ControlRefused("this is a replay: nothing can be done in the past", reason="replay")

    async def history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        """Points up to the moment that is shown, from the recording."""
        async with self._busy:
            return await asyncio.to_thread(self._past.points, series, subject, since, self._player.at)

    async def events(self, subject: str, kinds: Sequence[str], limit: int = 100) -> list[dict[str, object]]:
        """The last events about an object before the moment that is shown, newest first."""
        async with self._busy:
            found = await asyncio.to_thread(self._past.events, subject, kinds, limit, self._player.at)
        return [dict(record) for record in found]

    async def resync(self) -> None:
        """Open the moment again."""
        await self.seek(self._player.at)

    # --- moving in time -------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Play, or stop where it is; from the begin when it is at its end."""
        self.is_playing = not self.is_playing
        self._woken.set()
        self._show_place()

    def change_speed(self, step: int) -> None:
        """Faster or slower, in the steps of ``SPEEDS``."""
        nearest = min(range(len(SPEEDS)), key=lambda i: abs(SPEEDS[i] - self.speed))
        self.set_speed(SPEEDS[min(max(nearest + step, 0), len(SPEEDS) - 1)])

    def set_speed(self, speed: float) -> None:
        """So many seconds in one."""
        self.speed = min(max(speed, SPEEDS[0]), SPEEDS[-1])
        self._show_place()

    async def seek(self, at: float) -> None:
        """Go to a moment."""
        async with self._busy:
            self._show_place(is_busy=True)
            await asyncio.to_thread(self._player.seek, at)
            self._show_everything()

    async def shift(self, seconds: float) -> None:
        """Go on or back by so much."""
        if seconds > 0:
            await self._go_on(self._player.at + seconds)
        else:
            await self.seek(self._player.at + seconds)

    async def step(self, *, forward: bool) -> None:
        """One event on or back."""
        async with self._busy:
            if forward:
                self._show_changes(*await asyncio.to_thread(self._stepped))
            else:
                await asyncio.to_thread(self._player.step_back)
                self._show_everything()

    async def seek_trouble(self, *, forward: bool) -> bool:
        """Go to the next error or alert, or the one before; False when there is none."""
        async with self._busy:
            self._show_place(is_busy=True)
            found = await asyncio.to_thread(lambda: self._player.seek_trouble(forward=forward))
            self.is_playing = False
            self._show_everything()
            return found

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _go_on(self, at: float) -> None:
        async with self._busy:
            self._show_changes(*await asyncio.to_thread(self._advanced, at))

    def _advanced(self, at: float) -> tuple[Touched, dict[str, dict[str, View]]]:
        touched = self._player.advance(at)
        return touched, self._player.views(touched)

    def _stepped(self) -> tuple[Touched, dict[str, dict[str, View]]]:
        touched = self._player.step()
        return touched, self._player.views(touched)

    def _show_changes(self, touched: Touched, views: dict[str, dict[str, View]]) -> None:
        batch = Batch(
            {name: list(rows.values()) for name, rows in views.items()},
            counters=dict(self._player.state.counters),
            logs=list(self._player.logs),
        )
        for name, view_id in touched:
            if view_id not in views.get(name, {}):
                batch.removed.setdefault(name, []).append(view_id)
        self._store.apply_batch(batch)
        self._show_place()

    def _show_everything(self) -> None:
        player = self._player
        self._store.apply_snapshot(Snapshot(player.views(), dict(player.state.counters), player.at))
        self._store.clear_logs()
        self._store.add_logs(player.logs)
        self._show_place()

    def _show_place(self, *, is_busy: bool = False) -> None:
        place = self._player.place
        self._store.set_replay(
            ReplayPosition(
                at=place.at,
                begins_at=place.begins_at,
                ends_at=place.ends_at,
                speed=self.speed,
                is_playing=self.is_playing,
                silent_s=place.silent_s,
                down_s=place.down_s,
                marks=self._marks,
                source=self._source,
                is_busy=is_busy,
            )
        )
        self._on_change()
