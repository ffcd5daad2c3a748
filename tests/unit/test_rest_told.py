"""What the REST process is told of the live state, and what it makes of that."""

from __future__ import annotations

import json

import pytest

from engine.control.models import MinerView, NodeView, ServiceView, VerificationView
from engine.control.state import LiveState
from engine.rest.told import ROWS_PER_FRAME, Telling, take_in


def pass_on(telling: Telling, state: LiveState) -> int:
    """Everything that is to be told, through JSON; how many frames it took."""
    frames = list(telling.frames())
    for frame in frames:
        take_in(state, json.loads(json.dumps(frame)))
    return len(frames)


@pytest.fixture
def known() -> LiveState:
    """An engine with two miners, a service, a node that is verified and one that is not."""
    state = LiveState()
    state.engine.hotkey, state.engine.chain_error = "5V", "no answer"
    for uid, hotkey in enumerate(("5A", "5B")):
        state.miners[hotkey] = MinerView(hotkey, hotkey, uid, "192.0.2.1:1", "answered", last_answer_at=7.0)
    state.services["rounds"] = ServiceView("rounds", "restarting")
    state.verifications["5A/n1"] = VerificationView(
        "5A/n1", "n1", "5A", phase="running", phase_tier="full", phase_since=3.0, phase_reason="due", progress=0.5
    )
    state.verifications["5A/n2"] = VerificationView("5A/n2", "n2", "5A", state="passed")
    return state


def test_everything_at_first(known: LiveState) -> None:
    """Miners, services, what runs and the engine's own fields; nothing of nodes at rest."""
    mirror = LiveState()
    assert pass_on(Telling(known), mirror) == 1
    assert (mirror.miners, mirror.services) == (known.miners, known.services)
    assert mirror.verifications == {"5A/n1": known.verifications["5A/n1"]}
    assert (mirror.engine.hotkey, mirror.engine.chain_error) == ("5V", "no answer")


def test_then_what_changed(known: LiveState) -> None:
    """Changed views are told again, ended verifications and removed miners go, other collections stay untold."""
    mirror, telling = LiveState(), Telling(known)
    pass_on(telling, mirror)
    known.miners["5A"].last_answer_at = 9.0
    del known.miners["5B"]
    known.verifications["5A/n1"].phase = ""
    known.nodes["x"] = NodeView("x")
    telling.note({("miners", "5A"), ("miners", "5B"), ("verifications", "5A/n1"), ("nodes", "x")})
    known.engine.chain_error = ""
    pass_on(telling, mirror)
    assert mirror.miners == known.miners
    assert (mirror.verifications, mirror.nodes, mirror.engine.chain_error) == ({}, {}, "")


def test_much_comes_in_parts_and_nothing_in_one(known: LiveState) -> None:
    """A full subnet is told in frames of bounded size; without news there is one frame, as a sign of life."""
    telling = Telling(known)
    assert len(list(telling.frames())) == 1
    assert [frame["rows"] for frame in telling.frames()] == [{"miners": [], "services": [], "verifications": []}]
    for number in range(2 * ROWS_PER_FRAME + 1):
        place = f"5A/{number}"
        known.verifications[place] = VerificationView(place, str(number), "5A", phase="queued")
        telling.note({("verifications", place)})
    mirror = LiveState()
    assert pass_on(telling, mirror) == 3
    assert len(mirror.verifications) == 2 * ROWS_PER_FRAME + 1
