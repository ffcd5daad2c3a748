"""From the sums of whole hours to curves: logins, checks and scores of a node, a miner, or everything. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from engine.store.records import HourSums

HOUR_S = 3_600.0
MOST_HOURS = 92 * 24
"""Of one curve."""


def hourly_points(series: str, rows: Iterable[HourSums], *, by_checks: bool) -> list[tuple[float, float]]:
    """Start of the hour and value: percent of checks, or the mean score of the nodes that had one.

    ``by_checks``: a node weighs as much as it was checked, as in a ratio over all checks of a miner.
    """
    hours: dict[int, list[HourSums]] = {}
    for row in rows:
        hours.setdefault(row.hour, []).append(row)
    points = []
    for hour, found in sorted(hours.items()):
        value = value_of(series, found, by_checks=by_checks)
        if value is not None:
            points.append((hour * HOUR_S, value))
    return points


def value_of(series: str, rows: list[HourSums], *, by_checks: bool) -> float | None:
    """Of ``score``, ``ssh`` or ``verified`` in one hour; None where nothing is known. ``by_checks`` as above."""
    if series == "score":
        scored = [(row.score, row.total if by_checks else 1) for row in rows if row.score is not None]
        weight = sum(part for _, part in scored)
        return sum(score * part for score, part in scored) / weight if weight else None
    total = sum(row.total for row in rows)
    good = sum(row.logged_in if series == "ssh" else row.passed for row in rows)
    return 100.0 * good / total if total else None
