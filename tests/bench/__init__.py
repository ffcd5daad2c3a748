"""Figures: speed and memory as ratios against what users have today and the physical limit, both sides in one run.

``python -m tests.bench`` runs all of them, ``python -m tests.bench NAME…`` some. Nothing here passes or fails: a
figure beside its goal is printed, and the reader judges.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and what it is meant to be."""

    name: str
    value: str
    goal: str
    note: str = ""


def row(figure: Figure) -> str:
    """One line of the table."""
    return f"{figure.name:<58} {figure.value:>16}   goal {figure.goal:<22} {figure.note}"
