"""The book of alerts: patience before an alert and before its end, silence, acknowledgement."""

from __future__ import annotations

import pytest

from engine import events as ev
from engine.observe.alerts_book import AlertBook, Patience, Reading, Trouble
from engine.observe.alerts_facts import KeyChange
from engine.observe.alerts_memory import memory_from_json, memory_to_json
from engine.observe.alerts_sense import AlertSense

BAD = Trouble("error", "it is broken", "nothing works", "mend it")
WRONG, FINE = Reading("rule", "n1", BAD), Reading("rule", "n1")
UNKNOWN = Reading("rule", "n1", is_known=False)
PATIENCE = {"rule": Patience(raise_after_s=60.0, clear_after_s=30.0)}

Steps = list[tuple[float, Reading | None]]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0, WRONG), (59, WRONG)], ""),
        ([(0, WRONG), (60, WRONG)], "r"),
        ([(0, WRONG), (60, WRONG), (120, WRONG)], "r"),
        ([(0, WRONG), (30, FINE), (61, WRONG), (90, WRONG)], ""),
        ([(0, WRONG), (30, UNKNOWN), (60, WRONG)], "r"),
        ([(0, WRONG), (60, WRONG), (70, FINE), (99, FINE)], "r"),
        ([(0, WRONG), (60, WRONG), (70, FINE), (100, FINE)], "rc"),
        ([(0, WRONG), (60, WRONG), (70, FINE), (80, WRONG), (100, FINE), (129, FINE)], "r"),
        ([(0, WRONG), (60, WRONG), (70, FINE), (80, UNKNOWN), (100, FINE), (129, FINE)], "r"),
        ([(0, WRONG), (60, WRONG), (61, None)], "rc"),
        ([(0, WRONG), (30, None), (61, WRONG)], ""),
        ([(100, WRONG), (40, WRONG), (99, WRONG)], ""),
        ([(100, WRONG), (40, WRONG), (100, WRONG)], "r"),
        ([(0, WRONG), (60, WRONG), (70, FINE), (100, FINE), (101, WRONG), (161, WRONG)], "rcr"),
    ],
)
def test_hysteresis(steps: Steps, expected: str) -> None:
    """Raised (r) after it was wrong for a minute without a break, cleared (c) after it was fine for half of one."""
    book = AlertBook()
    seen = ""
    for at, reading in steps:
        for change in book.step([] if reading is None else [reading], PATIENCE, at):
            seen += "r" if change.is_raised else "c"
    assert seen == expected


def raised(book: AlertBook) -> str:
    (change,) = book.step([WRONG], {}, 10.0)
    return change.record.id


def test_each_episode_has_an_id_of_its_own() -> None:
    """The same trouble a second time is another alert, so that the first keeps its begin and end."""
    book = AlertBook()
    first = raised(book)
    (end,) = book.step([FINE], {}, 20.0)
    (second,) = book.step([WRONG], {}, 30.0)
    assert (end.record.id, end.record.began_at, end.record.ended_at) == (first, 10.0, 20.0)
    assert second.record.id != first


@pytest.mark.parametrize(
    ("silence", "at", "expected"),
    [
        (("rule", "n1"), 99.0, True),
        (("rule", "n1"), 100.0, False),
        (("rule", ""), 99.0, True),
        (("rule", "n2"), 99.0, False),
        (("other", ""), 99.0, False),
    ],
)
def test_silence(silence: tuple[str, str], at: float, expected: bool) -> None:
    """A silence covers its subject, or the whole rule, until its end."""
    book = AlertBook(silences={silence: 100.0})
    assert book.is_silenced(("rule", "n1"), at) is expected


def test_silence_does_not_hide_the_alert() -> None:
    """A silenced alert is raised and cleared all the same; only nobody is told."""
    book = AlertBook(silences={("rule", ""): 1e12})
    assert raised(book)
    assert len(book.step([FINE], {}, 20.0)) == 1


def test_silences_that_are_over_are_forgotten() -> None:
    """The book does not grow with old silences."""
    book = AlertBook(silences={("rule", ""): 5.0, ("rule", "n1"): 50.0})
    book.step([], {}, 10.0)
    assert set(book.silences) == {("rule", "n1")}


def test_acknowledgement_is_of_an_episode() -> None:
    """The first acknowledgement counts; the next episode starts without one."""
    book = AlertBook()
    alert_id = raised(book)
    assert book.acknowledge("unknown", 11.0) is None
    first, again = book.acknowledge(alert_id, 11.0), book.acknowledge(alert_id, 12.0)
    assert first is not None
    assert again is not None
    assert first.acknowledged_at == again.acknowledged_at == 11.0
    book.step([FINE], {}, 20.0)
    (change,) = book.step([WRONG], {}, 30.0)
    assert change.record.acknowledged_at is None


def test_what_becomes_worse_is_another_alert() -> None:
    """A warning that turns into an error ends, and the error begins at once; an error that becomes milder goes on."""
    book = AlertBook()
    mild = Reading("rule", "n1", Trouble("warning", "it ends soon", "nothing works then", "mend it"))
    (first,) = book.step([mild], {}, 0.0)
    end, second = book.step([WRONG], PATIENCE, 10.0)
    assert (end.is_raised, end.record.id) == (False, first.record.id)
    assert (second.is_raised, second.record.level, second.record.message) == (True, "error", "it is broken")
    assert second.record.id != first.record.id
    assert book.step([mild], {}, 20.0) == []


def test_an_acknowledgement_is_remembered_for_two_days() -> None:
    """Rules that it ends must still know of it when the alert is gone."""
    book = AlertBook()
    book.acknowledge(raised(book), 11.0)
    book.step([FINE], {}, 12.0)
    assert book.acknowledged == {("rule", "n1"): 11.0}
    assert memory_from_json(memory_to_json(book, (), ())).acknowledged == book.acknowledged
    book.step([], {}, 11.0 + 2 * 86_400 + 1)
    assert book.acknowledged == {}


def test_memory_survives_a_restart() -> None:
    """What was wrong for a while goes on counting after a restart, and silences stay."""
    book = AlertBook(wrong_since={("rule", "n1"): 5.0}, silences={("rule", ""): 99.0})
    change = KeyChange("5A", 1.0, "old", "new")
    restored = memory_from_json(memory_to_json(book, [("rule", "n2")], [change]))
    assert (restored.wrong_since, restored.silences) == (book.wrong_since, book.silences)
    assert (restored.key_changes, restored.untold) == ((change,), (("rule", "n2"),))


@pytest.mark.parametrize(
    "value",
    [None, 3, "x", [], {"wrong_since": 3}, {"silences": [["a"]]}, {"key_changes": [{"x": 1}]}, {"untold": ["a"]}],
)
def test_damaged_memory_is_no_reason_to_fail(value: object) -> None:
    """Whatever the store holds, the engine starts."""
    restored = memory_from_json(value)
    assert (restored.wrong_since, restored.silences, restored.key_changes) == ({}, {}, ())


def call(at: float, reason: str = "") -> ev.Event:
    if not reason:
        return ev.ValidatorAuthenticated(
            at=at, validator_hotkey="5A", uid=1, stake_tao=1.0, dialect="A", peer="p", expires_at=at
        )
    return ev.CallRefused(
        at=at, call="AuthenticateValidator", validator_hotkey="5A", dialect="A", peer="p", status="X", reason=reason
    )


def test_strangers_do_not_lower_the_rate_of_authentications() -> None:
    """Refused hotkeys without a permit and calls for others say nothing about how validators fare."""
    sense = AlertSense()
    for event in (
        call(1.0),
        call(2.0, "Invalid signature"),
        call(2.0, "Validator not authorized"),
        call(2.0, "Authentication request not intended for this miner"),
        call(2.0, "Too many requests; retry after 1.000 s"),
        call(2.0, "Invalid hotkey: too short"),
    ):
        sense.listen(event)
    assert sense.authentications(10.0, 100.0) == (1, 1)
    assert sense.authentications(101.5, 100.0) == (0, 1)
    assert sense.authentications(200.0, 100.0) == (0, 0)


def test_crashes_are_counted_within_the_window() -> None:
    """Only what happened within the window counts, and a crash is worth looking at the rules at once."""
    sense = AlertSense()
    for at in (1.0, 50.0, 60.0):
        assert sense.listen(ev.ServiceCrashed(at=at, service="door", error="x", retry_in_s=1.0))
    assert sense.crashes(60.0, 20.0) == {"door": 2}
    assert sense.crashes(600.0, 20.0) == {"door": 0}


def test_a_receiver_that_works_again_is_fine() -> None:
    """The last outcome of each receiver counts."""
    sense = AlertSense()
    sense.listen(ev.AlertDeliveryFailed(at=1.0, target="t", error="refused", alerts=1))
    assert sense.failed_targets() == {"t": "refused"}
    sense.listen(ev.AlertDelivered(at=2.0, target="t", alerts=1))
    assert sense.failed_targets() == {"t": ""}
    sense.forget_target(frozenset())
    assert sense.failed_targets() == {}


def test_key_changes_are_bounded() -> None:
    """However many validators change their key, memory stays small."""
    sense = AlertSense()
    for number in range(150):
        sense.listen(
            ev.ValidatorKeyChanged(
                at=float(number), validator_hotkey=f"5{number}", old_fingerprint="a", new_fingerprint="b"
            )
        )
    assert len(sense.recent_key_changes(150.0)) == 100
    assert sense.recent_key_changes(1e9) == ()
