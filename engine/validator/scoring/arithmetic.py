"""The arithmetic of the deployed validator: 64-bit floats in a fixed order, cut off to whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TOTAL_WEIGHT = 65_535
"""The largest 16-bit number: what one weight vector has to give away."""


def left_sum(values: Iterable[float]) -> float:
    """Add from left to right, rounding each time.

    ``sum()`` corrects its rounding since Python 3.12 and so can differ in the last bit, which decides over one
    unit of weight; the deployed validator does not correct.
    """
    total = 0.0
    for value in values:
        total += value
    return total


def percent_of(whole: int, percentage: float) -> int:
    """A percentage of a whole number, cut off. Burn and pools are made this way."""
    return int(whole * percentage / 100.0)


def split_pool(pool: int, scores: Sequence[float]) -> tuple[int, ...]:
    """Divide a pool in proportion to the scores, in the order given.

    All but the last get their part cut off, the last gets what is left, even with a score of zero. When no score
    is above zero everyone gets the same whole number and the remainder is lost.
    """
    if not scores:
        return ()
    total = left_sum(scores)
    if total <= 0:
        return (pool // len(scores),) * len(scores)
    parts = [int(pool * score / total) for score in scores[:-1]]
    return (*parts, max(0, pool - sum(parts)))
