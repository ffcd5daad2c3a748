"""The ramp's estimate by tables: what a miner saw, and what a validator is taken to have counted."""

from __future__ import annotations

import json

import pytest

from engine.miner.ramp import (
    MAX_RESETS,
    MAX_RUNS,
    NodeRamp,
    NodeShare,
    RampProfile,
    RampRules,
    after_check,
    after_visit,
    cost_of_failure,
    effective_by_category,
    estimate,
    maintenance_windows,
    ramp_from_json,
    ramp_to_json,
)
from engine.scores.ramp import RAMP_MINUTES, ramp_since

MIN = 60.0
HOUR = 3600.0
DAY = 86400.0
RULES = RampRules()


def play(story: str, rules: RampRules = RULES) -> NodeRamp:
    """Words ``MINUTE+``, ``MINUTE-`` (own checks), ``MINUTEx`` (own check, GPUs fail) and ``MINUTEv``, ``MINUTEw``
    (a visit of validator V or W that was let in), ``MINUTE!`` (V's key could not be placed)."""
    ramp = NodeRamp()
    for word in story.split():
        at, what = float(word[:-1]) * MIN, word[-1]
        if what in "+-x":
            ramp = after_check(ramp, at, ok=what == "+", cause="down", is_reachable=what != "-", rules=rules)
        else:
            hotkey = "W" if what == "w" else "V"
            ramp = after_visit(ramp, hotkey, at, is_open=what != "!", cause="no key", rules=rules)
    return ramp


@pytest.mark.parametrize(
    ("profile", "story", "since_min", "resets"),
    [
        ("documented", "", None, []),
        ("documented", "0+ 1+ 2+", None, []),
        ("documented", "0+ 5v", 5, []),
        ("documented", "0+ 5v 10v 15v", 5, []),
        # one failed check between two visits was seen by nobody
        ("documented", "0+ 5v 6- 7+ 10v", 5, []),
        # a failure of ten minutes while a validator looks was seen
        ("documented", "0+ 5v 6- 8- 16-", None, [("failed for 10 min: down", 11)]),
        ("documented", "0+ 5v 6- 16- 17+ 20v", 20, [("failed for 10 min: down", 11)]),
        ("documented", "0+ 5v 6- 16- 26- 36-", None, [("failed for 10 min: down", 11)]),
        # nobody has looked for more than an hour
        ("documented", "0+ 5v 100- 120- 180- 181+ 200v", 5, []),
        # the validator's own login proves a failed login of ours wrong, but not missing GPUs
        ("documented", "0+ 5v 6- 7v 20-", 5, []),
        ("documented", "0+ 5v 6x 7v", None, [("a validator came while it failed: no key", 2)]),
        ("documented", "0+ 5v 10!", None, [("a validator came while it failed: no key", 5)]),
        ("documented", "0+ 5v 10! 15! 20v", 20, [("a validator came while it failed: no key", 5)]),
        ("documented", "0- 5!", None, []),
        ("deployed-2025-10", "0+ 5v 10! 15v", 5, []),
        ("deployed-2025-10", "0+ 5v 6- 16- 20+ 25v", 5, []),
        ("deployed-2025-10", "0+ 5v 6- 16- 26- 30+ 35v", 35, [("failed for 20 min: down", 21)]),
    ],
)
def test_runs_and_resets(
    profile: RampProfile, story: str, since_min: float | None, resets: list[tuple[str, int]]
) -> None:
    """A run begins with the first visit that passes and ends with what the profile's validator would have seen."""
    rules = RampRules(profile=profile)
    ramp = play(story, rules)
    last_min = max([float(word[:-1]) for word in story.split()] or [0.0])
    found = estimate(ramp, last_min * MIN, rules)

    assert found.ramp.since == (None if since_min is None else since_min * MIN)
    assert [(reset.cause, reset.minutes_lost) for reset in ramp.resets] == resets
    assert ramp.resets_total == len(resets)


@pytest.mark.parametrize(("days", "percent"), [(0, 0.0), (1, 7.14), (3, 21.43), (7, 50.0), (14, 100.0), (30, 100.0)])
def test_the_estimate_uses_the_validators_arithmetic(days: int, percent: float) -> None:
    """Minutes since the first passed visit, divided by fourteen days, at most one."""
    ramp = play("0+ 0v")
    found = estimate(ramp, days * DAY, RULES)

    assert found.ramp.minutes == days * 1440
    assert round(100 * found.ramp.multiplier, 2) == percent
    assert found.ramp.full_at == RAMP_MINUTES * 60


@pytest.mark.parametrize(
    ("story", "full_min", "last_ok"),
    [
        ("0+ 5v 10v 300v", 5, True),
        ("0+ 5v 364v", 5, True),
        ("0+ 5v 365v", 365, True),
        ("0+ 5v 10! 15v", 15, True),
        ("0+ 5v 10!", None, False),
    ],
)
def test_full_validations_come_every_six_hours_and_after_a_failure(
    story: str, full_min: float | None, last_ok: bool
) -> None:
    """The first visit at or after six hours is taken for a full validation, and so is the one after a failure."""
    (run,) = play(story).runs
    assert run.last_full_at == (None if full_min is None else full_min * MIN)
    assert run.last_full_ok is last_ok


def test_each_validator_counts_by_itself() -> None:
    """A new validator's count starts at its first visit, and that is told as a reset with its cause."""
    ramp = play("0+ 0v 100w")
    both = estimate(ramp, 100 * MIN, RULES)
    only_new = estimate(play("0+ 0v 100w 150w 200w"), 200 * MIN, RULES)

    assert (both.hotkey, both.ramp.since) == ("W", 100 * MIN)
    assert (only_new.hotkey, only_new.ramp.since) == ("W", 100 * MIN)
    assert "another validator" in ramp.resets[0].cause and ramp.resets[0].minutes_lost == 100


def test_two_validators_at_once_show_the_longer_run() -> None:
    """With open access the estimate does not jump between validators."""
    assert estimate(play("0+ 0v 10w 20v 30w"), 31 * MIN, RULES).hotkey == "V"


def test_memory_is_bounded() -> None:
    """Neither many validators nor many resets make a node's record grow without end."""
    ramp = NodeRamp()
    for number in range(50):
        ramp = after_visit(ramp, f"h{number}", number * MIN, is_open=True, rules=RULES)
        ramp = after_visit(ramp, f"h{number}", number * MIN + 1, is_open=False, cause="x" * 9999, rules=RULES)
        ramp = after_visit(ramp, f"h{number}", number * MIN + 2, is_open=True, rules=RULES)
        ramp = after_visit(ramp, f"h{number}", number * MIN + 90, is_open=False, cause="x" * 9999, rules=RULES)
    assert len(ramp.runs) == MAX_RUNS and len(ramp.resets) == MAX_RESETS
    assert ramp.resets_total > MAX_RESETS
    assert len(json.dumps(ramp_to_json(ramp))) < 5000


@pytest.mark.parametrize("story", ["", "0+ 5v", "0+ 5v 6- 16- 17+ 20v 30w", "0+ 5v 10!"])
def test_the_state_survives_the_store(story: str) -> None:
    """What is written can be read back as it was."""
    ramp = play(story)
    assert ramp_from_json(json.loads(json.dumps(ramp_to_json(ramp)))) == ramp


@pytest.mark.parametrize("value", [None, 3, [], {}, {"runs": 3}, {"runs": [[1]], "resets": []}, {"runs": "ab"}])
def test_a_strange_record_is_no_memory(value: object) -> None:
    """Whatever the store holds, the engine starts."""
    assert ramp_from_json(value) == NodeRamp()


def test_windows_name_what_work_would_miss() -> None:
    """Until the next round nothing looks; then full validations come every six hours, each with its round."""
    found = estimate(play("0+ 0v 5v"), 6 * MIN, RULES)
    windows = maintenance_windows(found, 6 * MIN, RULES, count=2)

    assert [(w.begins_at / MIN, w.ends_at / MIN, w.misses) for w in windows] == [
        (6, 15, "every check"),
        (6, 360, "the full validation"),
        (370, 720, "the full validation"),
    ]


def test_no_windows_while_nobody_looks() -> None:
    """Without a validator there is nothing to miss, and after an hour without a visit there is none."""
    assert maintenance_windows(estimate(NodeRamp(), 0, RULES), 0, RULES) == ()
    assert maintenance_windows(estimate(play("0+ 0v"), 2 * HOUR, RULES), 2 * HOUR, RULES) == ()


def test_an_overdue_full_validation_is_due_now() -> None:
    """A full validation that has not come yet is expected at any moment."""
    found = estimate(play("0+ 0v 355v"), 362 * MIN, RULES)
    assert found.next_full_at == 362 * MIN
    assert [w.misses for w in maintenance_windows(found, 362 * MIN, RULES, count=1)] == ["every check"]


def test_the_cost_of_a_failure_is_the_nodes_part_of_its_category() -> None:
    """Effective GPUs are lost, the ramp starts over, other categories are not touched."""
    now = 14 * DAY
    full = NodeShare("a", "H100", 8, ramp_since(0.0, now))
    half = NodeShare("b", "H100", 8, ramp_since(7 * DAY, now))
    other = NodeShare("c", "B200", 8, ramp_since(0.0, now))
    effective = effective_by_category([full, half, other])
    cost = cost_of_failure(half, effective, now)

    assert effective == {"H100": 12.0, "B200": 8.0}
    assert (cost.effective_gpus, round(cost.share, 4), cost.minutes) == (4.0, 0.3333, 10080)
    assert cost.full_at_before == 21 * DAY and cost.full_at_after == 28 * DAY
    assert cost_of_failure(NodeShare("d", "A100", 8, ramp_since(None, now)), effective, now).share == 0.0
