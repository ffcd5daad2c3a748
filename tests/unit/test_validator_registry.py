"""Who a uid belongs to from one metagraph to the next, by table."""

from __future__ import annotations

import json

import pytest

from engine.validator.registry import (
    Registration,
    RegistryChange,
    compare_registry,
    registry_from_json,
    registry_to_json,
)

Places = dict[str, Registration]


def places(*rows: tuple[str, int, str]) -> Places:
    return {hotkey: Registration(uid, coldkey) for hotkey, uid, coldkey in rows}


@pytest.mark.parametrize(
    ("known", "now", "moved", "swapped", "gone"),
    [
        (places(("5A", 1, "C")), places(("5A", 1, "C")), {}, {}, ()),
        ({}, places(("5A", 1, "C")), {}, {}, ()),
        (places(("5A", 1, "C")), places(("5A", 7, "C")), {"5A": 7}, {}, ()),
        (places(("5A", 1, "C")), places(("5B", 1, "C")), {}, {"5A": "5B"}, ()),
        (places(("5A", 1, "C")), places(("5B", 1, "D")), {}, {}, ("5A",)),
        (places(("5A", 1, "")), places(("5B", 1, "")), {}, {}, ("5A",)),
        (places(("5A", 1, "C")), {}, {}, {}, ()),
        (places(("5A", 1, "C"), ("5B", 2, "C")), places(("5B", 1, "C")), {"5B": 1}, {}, ("5A",)),
        (places(("5A", 1, "C"), ("5B", 2, "D")), places(("5A", 2, "C"), ("5B", 1, "D")), {"5A": 2, "5B": 1}, {}, ()),
        (places(("5A", 1, "C")), places(("5A", 4, "C"), ("5B", 1, "D")), {"5A": 4}, {}, ()),
    ],
    ids=[
        "same", "new", "moved", "swapped hotkey", "recycled uid", "owner not told", "vanished", "heir was known",
        "changed places", "moved and its uid taken",
    ],
)  # fmt: skip
def test_what_became_of_a_hotkey(
    known: Places, now: Places, moved: dict[str, int], swapped: dict[str, str], gone: tuple[str, ...]
) -> None:
    """Nodes follow their owner; a stranger on a recycled uid inherits nothing."""
    change = compare_registry(known, now)
    assert change == RegistryChange(moved, swapped, gone)
    assert bool(change) == bool(moved or swapped or gone)


@pytest.mark.parametrize("value", [None, "x", [["5A"], [1, 2, 3], "y", None], [["5A", "1", "C"]], {}])
def test_the_registry_survives_the_store_or_is_empty(value: object) -> None:
    """What was stored comes back; anything strange is nobody known."""
    wanted = places(("5A", 1, "C"), ("5B", 2, ""))
    assert registry_from_json(json.loads(json.dumps(registry_to_json(wanted)))) == wanted
    assert registry_from_json(value) == {}
