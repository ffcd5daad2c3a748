"""How many of the last day's logins worked, in a few numbers that survive a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SLOTS = 48
"""The window moves in steps of one slot: half an hour for a window of a day."""


@dataclass(frozen=True, slots=True)
class SuccessWindow:
    """Counts per slot of time, oldest first: slot number, tries, successes."""

    window_s: float
    slots: tuple[tuple[int, int, int], ...] = ()

    def plus(self, at: float, *, passed: bool) -> SuccessWindow:
        """The window after one more try; what has left it is forgotten."""
        number = self._number(at)
        counts = {slot: (tries, good) for slot, tries, good in self._recent(number)}
        tries, good = counts.get(number, (0, 0))
        counts[number] = (tries + 1, good + passed)
        return SuccessWindow(self.window_s, tuple((slot, *counts[slot]) for slot in sorted(counts)))

    def counts(self, now: float) -> tuple[int, int]:
        """Tries and successes within the window."""
        recent = list(self._recent(self._number(now)))
        return sum(tries for _, tries, _ in recent), sum(good for _, _, good in recent)

    def percent(self, now: float) -> float | None:
        """Success rate, 0 to 100; None without a try in the window."""
        tries, good = self.counts(now)
        return 100.0 * good / tries if tries else None

    def _number(self, at: float) -> int:
        return int(at * SLOTS // self.window_s)

    def _recent(self, number: int) -> Iterable[tuple[int, int, int]]:
        # Slots of the future stay out: they were counted before the wall clock was set back.
        return (slot for slot in self.slots if number - SLOTS < slot[0] <= number)

    def to_json(self) -> list[list[int]]:
        """For the store; the window's length is the configuration's."""
        return [list(slot) for slot in self.slots]

    @classmethod
    def from_json(cls, window_s: float, value: object, *, stored_window_s: float | None = None) -> SuccessWindow:
        """What ``to_json`` wrote, shape checked; counts of another window's length do not fit and are dropped."""
        if not isinstance(value, list) or (stored_window_s is not None and stored_window_s != window_s):
            return cls(window_s)
        slots = [
            (int(item[0]), int(item[1]), int(item[2]))
            for item in value[-SLOTS:]
            if isinstance(item, list) and len(item) == 3 and all(isinstance(part, int) for part in item)
        ]
        return cls(window_s, tuple(sorted(slots)))


LATENCIES = 60
_NEW_PART = 0.2


@dataclass(frozen=True, slots=True)
class Latency:
    """How long passed checks take: a smoothed mean and the last ones, milliseconds."""

    mean_ms: float | None = None
    recent_ms: tuple[float, ...] = ()

    def plus(self, value_ms: float) -> Latency:
        """After one more passed check."""
        mean = value_ms if self.mean_ms is None else self.mean_ms + _NEW_PART * (value_ms - self.mean_ms)
        return Latency(mean, (*self.recent_ms[1 - LATENCIES :], value_ms))

    @property
    def p95_ms(self) -> float | None:
        """What 95 of 100 recent checks stay within; None before the first."""
        if not self.recent_ms:
            return None
        ordered = sorted(self.recent_ms)
        return ordered[min(len(ordered) - 1, -(-95 * len(ordered) // 100) - 1)]
