"""The 14-day ramp in both readings, and the counts that scores are made of."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.scores.history import Tier
from engine.scores.ramp import FULL_RAMP, RAMP_MINUTES
from engine.validator.scoring import (
    CheckLog,
    Rate,
    deployed_ramp,
    documented_ramp,
    last_full_ok,
    pass_rate,
    ramp_since,
    ssh_rate,
)

# No deadline and no complaint about slow drawing: a busy machine is not a wrong rule.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

DAY = 86_400.0
NOW = datetime(2025, 10, 24, 12, 0, tzinfo=UTC).timestamp()


def full(days_ago: float, ok: bool = True, recorded: bool | None = None) -> CheckLog:
    return CheckLog(NOW - days_ago * DAY, "full", ok, binary_recorded=recorded)


def light(days_ago: float, ok: bool = True) -> CheckLog:
    return CheckLog(NOW - days_ago * DAY, "lightweight", ok, ssh_ok=ok)


@pytest.mark.parametrize(
    ("days", "minutes", "multiplier"),
    [
        (0, 0, 0.0),
        (1, 1440, 0.0714),
        (3, 4320, 0.2143),
        (7, 10080, 0.5),
        (14, 20160, 1.0),
        (30, 43200, 1.0),
    ],
)
def test_multiplier_follows_the_published_table(days: float, minutes: int, multiplier: float) -> None:
    """Minutes over 20,160, never above one."""
    ramp = ramp_since(NOW - days * DAY, NOW)
    assert ramp.minutes == minutes
    assert ramp.multiplier == pytest.approx(multiplier, abs=5e-5)


@pytest.mark.parametrize(("seconds", "minutes"), [(59.9, 0), (60, 1), (119.9, 1), (-30, 0)])
def test_minutes_are_whole_and_never_negative(seconds: float, minutes: int) -> None:
    """A part of a minute does not count, nor does a start in the future."""
    assert ramp_since(NOW - seconds, NOW).minutes == minutes


def test_no_open_run_is_zero() -> None:
    """Without an open run there is no day of 100 %."""
    ramp = ramp_since(None, NOW)
    assert (ramp.minutes, ramp.multiplier, ramp.full_at, ramp.full_on) == (0, 0.0, None, None)
    assert "next success" in ramp.explain()


def test_day_of_full_ramp() -> None:
    """A run open for four days is full in ten more."""
    ramp = ramp_since(NOW - 4 * DAY, NOW)
    assert ramp.full_at == NOW + 10 * DAY
    assert ramp.full_on == date(2025, 11, 3)
    assert ramp.explain() == "ramp 5760 of 20160 min = 28.57%; 100 % on 2025-11-03 UTC"
    assert ramp_since(NOW - 20 * DAY, NOW).explain() == "ramp 20160 of 20160 min = 100.00%"


DEPLOYED = [
    pytest.param([full(7)], 10080, id="one success a week ago"),
    pytest.param([full(7), full(2, ok=False, recorded=True), full(1)], 1440, id="reset with the column filled"),
    pytest.param([full(7), full(2, ok=False), full(1)], 10080, id="an ordinary failure is invisible"),
    pytest.param([full(7), light(2, ok=False), light(1)], 10080, id="lightweight rows are invisible"),
    pytest.param([light(7), light(3)], 0, id="lightweight alone starts nothing"),
    pytest.param([], 0, id="new node"),
    pytest.param([full(7), full(1, ok=False, recorded=True)], 0, id="closed run"),
    pytest.param([full(1), full(7)], 10080, id="order of rows does not matter"),
]


@pytest.mark.parametrize(("logs", "minutes"), DEPLOYED)
def test_deployed_ramp(logs: list[CheckLog], minutes: int) -> None:
    """Only rows with the binary column count, which the deployed writer fills on success alone."""
    assert deployed_ramp(logs, NOW - 30 * DAY, NOW).minutes == minutes


def test_deployed_ramp_with_failures_that_reset() -> None:
    """The policy switch makes a failed full validation end the run, but not a failed lightweight check."""
    logs = [full(7), full(2, ok=False), full(1)]
    assert deployed_ramp(logs, NOW - 30 * DAY, NOW, failed_full_resets=True).minutes == 1440
    logs = [full(7), light(2, ok=False)]
    assert deployed_ramp(logs, NOW - 30 * DAY, NOW, failed_full_resets=True).minutes == 10080


def test_deployed_ramp_without_a_row_fails_open() -> None:
    """A node whose row is missing counts in full, because the caller of the query assumes so."""
    assert deployed_ramp([], None, NOW) == FULL_RAMP
    assert FULL_RAMP.multiplier == 1.0
    assert FULL_RAMP.explain() == "ramp 20160 of 20160 min = 100.00%"


@pytest.mark.parametrize(
    ("log_at", "counts"),
    [
        (datetime(2025, 10, 20, 9, 0, tzinfo=UTC), True),
        (datetime(2025, 10, 20, 0, 0, tzinfo=UTC), True),
        (datetime(2025, 10, 19, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2025, 10, 21, 0, 0, tzinfo=UTC), True),
    ],
)
def test_deployed_ramp_counts_the_day_its_row_was_made(log_at: datetime, counts: bool) -> None:
    """Text comparison lets every row of the same UTC day pass, also those before the node's row was made."""
    made = datetime(2025, 10, 20, 18, 0, tzinfo=UTC).timestamp()
    ramp = deployed_ramp([CheckLog(log_at.timestamp(), "full", ok=True)], made, NOW)
    assert (ramp.minutes > 0) is counts


DOCUMENTED = [
    pytest.param([light(7)], 10080, None, id="any success opens a run"),
    pytest.param([full(7), light(3), light(1)], 10080, None, id="more successes do not move it"),
    pytest.param([full(7), light(2, ok=False), light(1)], 1440, 2, id="a failed lightweight check resets"),
    pytest.param([full(7), full(2, ok=False), full(1)], 1440, 2, id="a failed full validation resets"),
    pytest.param([full(7), full(2, ok=False)], 0, 2, id="no success since"),
    pytest.param([full(7, ok=False), full(2, ok=False)], 0, None, id="never succeeded"),
    pytest.param([], 0, None, id="new node"),
]


@pytest.mark.parametrize(("logs", "minutes", "reset_days_ago"), DOCUMENTED)
def test_documented_ramp(logs: list[CheckLog], minutes: int, reset_days_ago: float | None) -> None:
    """Any failure ends the run, and the last one that did is kept."""
    ramp = documented_ramp(logs, NOW)
    assert ramp.minutes == minutes
    assert ramp.last_reset_at == (None if reset_days_ago is None else NOW - reset_days_ago * DAY)


HISTORY = st.lists(
    st.builds(
        CheckLog,
        at=st.integers(int(NOW - 40 * DAY), int(NOW)).map(float),
        tier=st.sampled_from(["full", "lightweight"]),
        ok=st.booleans(),
    ),
    max_size=40,
)


@UNHURRIED
@given(HISTORY)
def test_a_failure_now_always_empties_the_documented_ramp(logs: list[CheckLog]) -> None:
    """Whatever came before, a failed check leaves zero minutes and no open run."""
    tier: Tier = "lightweight"
    ramp = documented_ramp([*logs, CheckLog(NOW, tier, ok=False)], NOW)
    assert (ramp.minutes, ramp.since) == (0, None)


@UNHURRIED
@given(HISTORY)
def test_ramps_stay_within_their_bounds(logs: list[CheckLog]) -> None:
    """Multipliers are 0 to 1, and the documented reading never gives more minutes than the oldest row is old."""
    for ramp in (documented_ramp(logs, NOW), deployed_ramp(logs, NOW - 30 * DAY, NOW)):
        assert 0.0 <= ramp.multiplier <= 1.0
        assert ramp.minutes <= max((NOW - log.at for log in logs), default=0.0) / 60
        assert (ramp.multiplier == 1.0) == (ramp.minutes >= RAMP_MINUTES)


def test_rates_count_their_window_and_nothing_else() -> None:
    """Both ends of the window count; what is older or in the future does not."""
    logs = [
        CheckLog(NOW - 10_800, "full", ok=True),
        CheckLog(NOW - 10_801, "full", ok=False),
        CheckLog(NOW, "lightweight", ok=False, ssh_ok=True),
        CheckLog(NOW + 1, "lightweight", ok=True),
    ]
    assert pass_rate(logs, NOW) == Rate(1, 2)
    assert ssh_rate(logs, NOW) == Rate(3, 3)
    assert ssh_rate(logs, NOW, window_s=60) == Rate(1, 1)
    assert Rate().value == 0.0


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ([], None),
        ([light(1)], None),
        ([full(2), full(1, ok=False), light(0.5)], False),
        ([full(1), full(2, ok=False)], True),
    ],
)
def test_last_full_validation_is_the_newest_one(logs: list[CheckLog], expected: bool | None) -> None:
    """Lightweight checks are not full validations, and the order of rows does not matter."""
    assert last_full_ok(logs) is expected
