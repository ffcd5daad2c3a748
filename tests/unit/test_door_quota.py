"""Session limits: what counts as new, what is over, and when to come again."""

from __future__ import annotations

from engine.miner.door_quota import HOUR_S, SessionLimits, SessionQuota
from engine.store.records import Opening

NOW = 1_700_000_000.0


def opening(key: str, opened_ago: float, left: float) -> Opening:
    return Opening("V", key, NOW - opened_ago, NOW + left)


def claim(quota: SessionQuota, stored: list[Opening], key: str) -> Opening | float:
    return quota.claim(stored, "V", key, now=NOW, until=NOW + 600)


def test_the_sixth_key_waits_until_the_first_is_over() -> None:
    """Five keys hold; a sixth is told when the earliest of them ends."""
    five = [opening(f"k{n}", 100, 500 + n) for n in range(5)]
    assert claim(SessionQuota(SessionLimits()), five, "k5") == 500.0


def test_a_known_key_is_never_new() -> None:
    """A renewal passes at any count and keeps the time of its opening."""
    five = [opening(f"k{n}", 100, 500 + n) for n in range(5)]
    renewed = claim(SessionQuota(SessionLimits()), five, "k2")
    assert renewed == Opening("V", "k2", NOW - 100, NOW + 600)


def test_openings_that_are_over_still_count_for_the_hour() -> None:
    """Twenty short sessions within the hour leave no room for another until the first is an hour old."""
    past = [opening(f"k{n}", 3000 - n, -1) for n in range(20)]
    assert claim(SessionQuota(SessionLimits()), past, "new") == HOUR_S - 3000
    assert isinstance(claim(SessionQuota(SessionLimits()), past[:19], "new"), Opening)
    assert isinstance(claim(SessionQuota(SessionLimits()), [opening("k", HOUR_S + 1, -1)] * 20, "new"), Opening)


def test_calls_under_way_take_room_until_they_end() -> None:
    """Parallel calls with different keys cannot pass the limit together."""
    quota = SessionQuota(SessionLimits(concurrent=2))
    first, second = claim(quota, [], "a"), claim(quota, [], "b")
    assert isinstance(first, Opening)
    assert isinstance(second, Opening)
    assert claim(quota, [], "c") == 1.0
    assert isinstance(claim(quota, [], "a"), Opening)
    quota.release(second)
    assert isinstance(claim(quota, [], "c"), Opening)


def test_another_validator_has_its_own_room() -> None:
    """Claims are counted per hotkey."""
    quota = SessionQuota(SessionLimits(concurrent=1))
    assert isinstance(claim(quota, [], "a"), Opening)
    assert isinstance(quota.claim([], "W", "a", now=NOW, until=NOW + 1), Opening)
