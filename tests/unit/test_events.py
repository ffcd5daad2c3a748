"""Events as records: what is written can be read, also by an older or newer program."""

from __future__ import annotations

import json

import pytest

from engine.events import KINDS, EventBus, NodeChecked, NodeRemoved, event_from_record, event_to_record

CHECKED = NodeChecked(at=1.5, node_id="n", ok=True, latency_ms=2.0, gpu_uuids=("GPU-1", "GPU-2"))


def test_round_trip_through_json() -> None:
    """An event survives JSON, tuples included."""
    assert event_from_record(json.loads(json.dumps(event_to_record(CHECKED)))) == CHECKED


@pytest.mark.parametrize(
    ("record", "event"),
    [
        ({"kind": "node.removed", "at": 1.0, "node_id": "n", "colour": "red"}, NodeRemoved(at=1.0, node_id="n")),
        ({"kind": "node.exploded", "at": 1.0}, None),
        ({"kind": "node.removed", "at": 1.0}, None),
        ({}, None),
    ],
    ids=["field of a newer version", "kind of a newer version", "field missing", "empty"],
)
def test_strange_records(record: dict[str, object], event: object) -> None:
    """What this version does not know is dropped, never guessed."""
    assert event_from_record(record) == event


def test_kinds_are_unique() -> None:
    """Every event class has a kind of its own, in the form area.what."""
    assert len(KINDS) == len({cls.__name__ for cls in KINDS.values()})
    assert all(kind.count(".") == 1 for kind in KINDS)


def test_bus_reaches_every_listener_until_it_leaves() -> None:
    """Listeners hear events in order; one that left hears nothing more."""
    bus = EventBus()
    first: list[object] = []
    second: list[object] = []
    leave = bus.subscribe(first.append)
    bus.subscribe(second.append)

    bus.emit(CHECKED)
    leave()
    bus.emit(NodeRemoved(at=2.0, node_id="n"))

    assert first == [CHECKED]
    assert len(second) == 2
