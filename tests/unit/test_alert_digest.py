"""When alerts are told: grouped, at most once per interval, counted meanwhile, quiet at night."""

from __future__ import annotations

from datetime import datetime

import pytest

from engine.observe.delivery_digest import Digest, Note, clean, compose, is_quiet_at

INTERVAL, DELAY = 900.0, 10.0


def note(state: str = "raised", subject: str = "n1", level: str = "error", message: str = "broken") -> Note:
    return Note(
        f"rule.{subject}", "rule", subject, state, level, message, "costs", "mend it", 1000.0,  # type: ignore[arg-type]
        2000.0 if state == "cleared" else None, 0 if state == "cleared" else 1,
    )  # fmt: skip


def digest() -> Digest:
    return Digest(notify_interval_s=INTERVAL, group_delay_s=DELAY)


R, C = "raised", "cleared"


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        # (time, state) offered; (time, state, times) told, looking every second
        ([(0, R)], [(10, R, 1)]),
        ([(0, R), (5, C)], [(10, C, 1)]),
        ([(0, R), (20, C)], [(10, R, 1), (30, C, 0)]),
        ([(0, C)], []),
        ([(0, R), (20, C), (40, R)], [(10, R, 1), (30, C, 0), (910, R, 1)]),
        ([(0, R), (20, C), (40, R), (50, C)], [(10, R, 1), (30, C, 0), (910, C, 1)]),
        ([(0, R), (20, C), (40, R), (50, C), (60, R), (70, C), (80, R)], [(10, R, 1), (30, C, 0), (910, R, 3)]),
        ([(0, R), (20, C), (1000, R)], [(10, R, 1), (30, C, 0), (1010, R, 1)]),
        ([(0, R), (20, C), (22, R)], [(10, R, 1), (910, R, 1)]),
    ],
)
def test_repeats_are_counted_not_sent(offers: list[tuple[int, str]], expected: list[tuple[int, str, int]]) -> None:
    """An alert is told at most once per interval and its end at once; what came and went is a number."""
    box = digest()
    told = []
    for second in range(3000):
        for at, state in offers:
            if at == second:
                box.offer(note(state), float(second))
        told += [(second, n.state, n.times) for n in box.take(float(second))]
    assert told == expected


def test_one_outage_is_one_message() -> None:
    """Everything that comes within the delay goes together."""
    box = digest()
    for number in range(30):
        box.offer(note(subject=f"n{number}"), number / 10)
    assert box.take(9.9) == ()
    assert len(box.take(10.0)) == 30
    assert box.take(1000.0) == ()


def test_a_storm_is_bounded_and_said() -> None:
    """Of thousands at once the last 200 are told, and the message says how many were not."""
    box = digest()
    for number in range(1000):
        box.offer(note(subject=f"n{number}"), 0.0)
    taken = box.take(20.0)
    assert len(taken) == 200
    assert taken[-1].subject == "n999"
    assert "800 more were dropped" in compose(taken, "basilica", dropped=box.dropped).body


def test_quiet_hours_hold_all_but_errors() -> None:
    """A warning waits for the end of the quiet hours, an error does not."""
    box = digest()
    box.offer(note(subject="w", level="warning"), 0.0)
    box.offer(note(subject="e"), 0.0)
    assert [n.subject for n in box.take(20.0, is_quiet=True)] == ["e"]
    assert box.next_at(is_quiet=True) is None
    assert [n.subject for n in box.take(30.0)] == ["w"]


def test_the_end_of_an_alert_of_an_earlier_run_is_told() -> None:
    """After a restart the operator still hears that it is over."""
    box = digest()
    box.remember(("rule", "n1"), 5.0)
    box.offer(note(C), 6.0)
    assert [n.state for n in box.take(16.0)] == [C]


def test_next_at_is_when_something_is_due() -> None:
    """The outbox sleeps exactly until the next message."""
    box = digest()
    assert box.next_at() is None
    box.offer(note(), 5.0)
    assert box.next_at() == 15.0
    box.take(15.0)
    box.offer(note(C), 16.0)
    box.take(26.0)
    box.offer(note(), 30.0)
    assert box.next_at() == 15.0 + INTERVAL


@pytest.mark.parametrize(
    ("hours", "time", "expected"),
    [
        (None, "03:00", False),
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("12:00-13:00", "12:30", True),
        ("12:00-13:00", "13:00", False),
    ],
)
def test_quiet_hours_go_over_midnight(hours: str | None, time: str, expected: bool) -> None:
    """The begin belongs to the quiet hours, the end does not."""
    assert is_quiet_at(hours, datetime.fromisoformat(f"2026-01-01T{time}")) is expected


def test_words_of_a_message() -> None:
    """The title counts, the body says since when, what it costs and what to do; the worst decides the tone."""
    message = compose([note(), note(C, "n2", "warning")], "basilica rig")
    assert message.title == "basilica rig: 1 alert, 1 over"
    assert "ERROR broken, since 1970-01-01 00:16 UTC" in message.body
    assert "impact: costs" in message.body
    assert "do: mend it" in message.body
    assert "OVER broken, after 17 min" in message.body
    assert message.tone == "failure"
    assert compose([note(level="warning")], "b").tone == "warning"
    assert compose([note(C)], "b").tone == "success"


def test_text_of_other_machines_is_tamed() -> None:
    """No line breaks, no escape codes, no mentions, no endless text."""
    assert clean("a\nb\x1b[31m@everyone <@1>") == "a b [31m@ everyone < @1>"
    assert len(clean("x" * 10_000)) == 500
