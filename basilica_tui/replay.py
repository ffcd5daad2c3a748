"""The console over a recording: every screen at any moment, a bar for the time, and nothing to be done."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn

from basilica_tui.app import ConsoleApp
from basilica_tui.format import clock_time
from basilica_tui.replay_link import SPEEDS, ReplayClock, ReplayLink
from basilica_tui.replay_time import seek_time
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.store import ConsoleStore
from engine.clock import Clock
from engine.errors import EngineUnreachable
from engine.recording.player import Player

REFUSAL = "this is a replay: nothing can be done in the past"


async def _no_engine(path: Path, *, role: str) -> NoReturn:
    raise EngineUnreachable("a replay has no engine")


class ReplayApp(ConsoleApp):
    """``source`` is where the recording is, for the header."""

    def __init__(self, player: Player, source: Path, *, clock: Clock, **options: Any) -> None:
        """``options`` are those of ``ConsoleApp``."""
        waiting = ReplayClock(player, clock)
        made: list[ReplayLink] = []

        def feed(store: ConsoleStore, on_change: Callable[[], None]) -> ReplayLink:
            made.append(ReplayLink(store, player, clock=waiting, source=str(source), on_change=on_change))
            return made[0]

        super().__init__(
            source, clock=waiting, connect=_no_engine, read_only=True, feed=feed, refusal=REFUSAL, **options
        )
        self._replay = made[0]

    def own_commands(self, screen: ConsoleScreen, argument: str) -> Mapping[str, Callable[[], object]]:
        """The console's own commands, and those that move in time."""
        link = self._replay
        moves: dict[str, Coroutine[Any, Any, object] | Callable[[], Coroutine[Any, Any, object]]] = {
            "replay.on": lambda: link.step(forward=True),
            "replay.back": lambda: link.step(forward=False),
            "replay.minute_on": lambda: link.shift(60.0),
            "replay.minute_back": lambda: link.shift(-60.0),
            "replay.hour_on": lambda: link.shift(3600.0),
            "replay.hour_back": lambda: link.shift(-3600.0),
            "replay.next_error": lambda: self._trouble(forward=True),
            "replay.previous_error": lambda: self._trouble(forward=False),
        }
        own: dict[str, Callable[[], object]] = {
            **super().own_commands(screen, argument),
            "pause": link.play,
            "replay.play": link.play,
            "pace.faster": lambda: link.change_speed(1),
            "pace.slower": lambda: link.change_speed(-1),
            "replay.speed": lambda: self._speed(argument),
            "replay.seek": lambda: self._seek(argument),
            "hint": lambda: self.say("q leaves the replay; p plays, ? lists the keys"),
        }
        return own | {name: self._starting(move) for name, move in moves.items() if callable(move)}

    def _starting(self, move: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[], object]:
        async def moved() -> None:
            await move()

        return lambda: self.start(moved())

    async def _trouble(self, *, forward: bool) -> None:
        if not await self._replay.seek_trouble(forward=forward):
            self.say(f"no error or alert {'after' if forward else 'before'} this moment", "warn")

    def _speed(self, text: str) -> None:
        try:
            speed = float(text.lower().removeprefix("x"))
        except ValueError:
            speed = math.nan
        if math.isfinite(speed):
            self._replay.set_speed(speed)
        else:  # "nan" is a number to Python, and no moment of any recording
            self.say(f"say how fast: {', '.join(f'{s:g}' for s in SPEEDS)}", "warn")

    def _seek(self, text: str) -> None:
        place = self.store.replay
        at = None if place is None else seek_time(text, place.at, place.begins_at, place.ends_at)
        if at is None:
            self.say("say when:   :seek 14:05   :seek -30m   :seek +2h   :seek 2026-11-20 14:05   :seek end", "warn")
            return

        async def go() -> None:
            await self._replay.seek(at)
            self.say(f"at {clock_time(self.look().now)}")

        self.start(go())
