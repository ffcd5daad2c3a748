"""Scores over time: noted beside the sums of each hour, and read back as curves of a node, a miner or all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.scores.curves import HOUR_S, MOST_HOURS, hourly_points
from engine.store.records import HourSums
from engine.store.score_hours import ScoreHours
from engine.validator.scoring import MinerScore, Profile

log = structlog.get_logger()

NOTE_EVERY_S = 600.0
FIRST_AFTER_S = 60.0
"""A restart shall not cost the hour its score."""
Place = tuple[str, str]


def scores_of_nodes(scores: Mapping[int, MinerScore], hotkeys: Mapping[int, str]) -> dict[Place, float]:
    """What each node has: its own score, or where only miners have one its part of the pass ratio that they have.

    Nodes that enter no score have none.
    """
    found: dict[Place, float] = {}
    for uid, miner in scores.items():
        hotkey = hotkeys.get(uid)
        if hotkey is None:
            continue
        for node in miner.nodes:
            facts = node.facts
            if node.score is not None:
                found[(hotkey, facts.node_id)] = node.score
            elif facts.is_online and facts.gpus.count > 0 and facts.checks.total:
                found[(hotkey, facts.node_id)] = facts.checks.value
    return found


class ScoreNotes:
    """A service that notes, and what answers ``history`` about scores, logins and checks of nodes and miners."""

    def __init__(
        self, hours: ScoreHours, read: Callable[[], Awaitable[Mapping[Place, float]]], profile: Profile, clock: Clock
    ) -> None:
        self._hours = hours
        self._read = read
        self._profile = profile
        self._clock = clock
        self._told: int | None = None
        self.on_hour: Callable[[int, Mapping[Place, HourSums]], None] = lambda hour, rows: None
        """Gets each hour with its nodes some minutes after it is over, the last one again after a restart."""

    async def run(self) -> None:
        """Note for ever; a store that fails costs points, not the engine."""
        await self._clock.sleep(FIRST_AFTER_S)
        while True:
            try:
                await self.note()
            except StoreUnusable as error:
                log.warning("scores.not_noted", error=str(error))
            await self._clock.sleep(NOTE_EVERY_S)

    async def note(self) -> None:
        """Note what holds now. Raises StoreUnusable."""
        hour = int(self._clock.now() // HOUR_S)
        await self._hours.note(hour, await self._read())
        if self._told != hour - 1:
            self.on_hour(hour - 1, await self._hours.of_hour(hour - 1))
            self._told = hour - 1

    async def points(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        """Hour by hour. ``subject``: a hotkey, "hotkey/node id", or nothing for all nodes. Raises StoreUnusable."""
        last = int(self._clock.now() // HOUR_S)
        first = max(int(since // HOUR_S), last - MOST_HOURS)
        hotkey, slash, node_id = subject.partition("/")
        if not subject:
            rows = await self._hours.of_all(first, last)
        else:
            rows = await self._hours.of(first, last, hotkey, node_id if slash else None)
        return hourly_points(series, rows, by_checks=self._profile != "documented")
