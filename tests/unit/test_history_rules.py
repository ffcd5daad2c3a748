"""Buckets, tiers and points of the time series."""

from __future__ import annotations

import zlib

import pytest

from engine.observe.history_rules import (
    DAY_S,
    ENTRIES_LIMIT,
    FLEET,
    HOUR_S,
    QUICK_TIERS,
    TIERS,
    Bucket,
    bucket_start,
    points_of,
    tier_for,
    unpack,
)


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(60, "1h"), (HOUR_S, "1h"), (HOUR_S * 2, "24h"), (DAY_S, "24h"), (14 * DAY_S, "14d"), (90 * DAY_S, "90d"),
     (900 * DAY_S, "90d")],
)  # fmt: skip
def test_a_question_is_answered_from_the_finest_tier_that_reaches_back(seconds: float, name: str) -> None:
    """Longer than everything means the widest."""
    assert tier_for(TIERS, seconds).name == name


@pytest.mark.parametrize("tiers", [TIERS, QUICK_TIERS])
def test_the_history_is_bounded_however_long_the_engine_runs(tiers: tuple[object, ...]) -> None:
    """So many buckets in all, each with so many entries."""
    assert sum(round(t.span_s / t.width_s) for t in tiers) <= 1800  # type: ignore[attr-defined]  # both are tiers
    bucket = Bucket(0.0)
    for number in range(ENTRIES_LIMIT + 5):
        bucket.add("ssh", str(number), 1.0)
    assert bucket.entries == ENTRIES_LIMIT
    assert bucket.left_out == 5


def test_a_bucket_survives_the_store() -> None:
    """Counts and sums, so that a restart goes on with the mean where it was."""
    bucket = Bucket(300.0)
    for value in (100.0, 0.0, 100.0):
        bucket.add("ssh", "a", value)
    again = unpack(300.0, bucket.pack())
    again.add("ssh", "a", 0.0)
    assert again.mean("ssh", "a") == 50.0
    assert again.mean("ssh", "b") is None


@pytest.mark.parametrize(
    "record", [b"", b"junk", zlib.compress(b"[1]"), zlib.compress(b'{"ssh": 1}'), zlib.compress(b'{"ssh": {"a": "x"}}')]
)
def test_a_damaged_bucket_is_an_empty_one(record: bytes) -> None:
    """A plot has a gap then."""
    assert points_of([unpack(0.0, record)], "ssh", "a") == []


def test_the_fleet_is_the_mean_of_its_nodes() -> None:
    """Each node counts the same, however often it was checked; an engine series is its own."""
    bucket = Bucket(0.0)
    for _ in range(9):
        bucket.add("ssh", "a", 100.0)
    bucket.add("ssh", "b", 0.0)
    bucket.add("sessions", FLEET, 3.0)
    assert points_of([bucket], "ssh", FLEET) == [(0.0, 50.0)]
    assert points_of([bucket], "sessions", FLEET) == [(0.0, 3.0)]
    assert points_of([bucket], "ramp", FLEET) == []


def test_buckets_start_at_multiples_of_their_width() -> None:
    """So two runs of the engine write the same row."""
    assert bucket_start(1_000_000_123.0, TIERS[1]) == 1_000_000_000.0 - (1_000_000_000.0 % 300)
