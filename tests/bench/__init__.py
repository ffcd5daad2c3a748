"""Figures: speed and memory as ratios against what users have today and the physical limit, both sides in one run.

``python -m tests.bench`` runs all of them, ``python -m tests.bench NAME…`` some, ``--json`` prints one JSON object.
A figure is measured, set beside its goal and judged; a figure that could not be taken says so and is never "met".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["met", "MISSED", "", "not measured"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit that the figure must keep: ``at_most`` or, if false, at least ``limit``, in the figure's unit."""

    limit: float
    at_most: bool = True

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"

    def is_met(self, value: float) -> bool:
        """Whether the value keeps the limit."""
        return value <= self.limit if self.at_most else value >= self.limit


def at_most(limit: float) -> Goal:
    """Less is better."""
    return Goal(limit)


def at_least(limit: float) -> Goal:
    """More is better."""
    return Goal(limit, at_most=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and what it is meant to be; ``value`` None when it could not be measured."""

    name: str
    value: float | None
    unit: str = ""
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the goal says to the value."""
        if self.value is None:
            return "not measured"
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(self.value) else "MISSED"

    def as_json(self) -> dict[str, Any]:
        """For programs: the goal as text, the verdict beside it."""
        return asdict(self) | {"goal": None if self.goal is None else str(self.goal), "verdict": self.verdict}


def row(figure: Figure) -> str:
    """One line of the table."""
    value = "-" if figure.value is None else f"{figure.value:.3g}" if figure.value < 100 else f"{figure.value:.0f}"
    goal = "" if figure.goal is None else str(figure.goal)
    line = f"{figure.name:<62} {value:>7} {figure.unit:<9} {goal:>8}  {figure.verdict:<12} {figure.note}"
    return line.rstrip()


HEADER = f"{'figure':<62} {'value':>7} {'unit':<9} {'goal':>8}  {'verdict':<12} note"
