"""What validators' vectors on chain give a miner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engine.chain import Metagraph, Neuron
from engine.chain.decode import decode_weights
from engine.clock import ManualClock
from engine.control.state import LiveState
from engine.errors import ChainUnavailable
from engine.events import ChainFailed, Event, OwnWeightsRead
from engine.miner.own_weights import OwnWeights, mean_by_stake, weights_on


def neuron(uid: int, stake_tao: float, *, permit: bool = True) -> Neuron:
    return Neuron(
        uid=uid, hotkey=f"5H{uid}", coldkey="5C", stake_tao=stake_tao, validator_permit=permit, axon=None, active=True,
        incentive=0.0, dividends=0.0, trust=0.0, consensus=0.0, emission_tao=0.0, last_update=0,
    )  # fmt: skip


GRAPH = Metagraph(39, 7, (neuron(0, 100.0), neuron(1, 300.0), neuron(2, 50.0), neuron(5, 0.0, permit=False)))


@pytest.mark.parametrize(
    ("vectors", "texts", "mean"),
    [
        ({}, ("uid 1 5H1 -", "uid 0 5H0 -", "uid 2 5H2 -"), None),
        (
            {0: {5: 0.25, 1: 0.75}, 1: {7: 1.0}},
            ("uid 1 5H1 0.000000", "uid 0 5H0 0.250000", "uid 2 5H2 -"),
            0.0625,
        ),
        ({0: {}, 1: {5: 1.0}, 9: {5: 1.0}}, ("uid 1 5H1 1.000000", "uid 0 5H0 -", "uid 2 5H2 -"), 1.0),
    ],
    ids=["none set", "one names us, one does not, one is silent", "an empty row, and one of nobody with a permit"],
)
def test_each_validator_by_stake(
    vectors: Mapping[int, Mapping[int, float]], texts: tuple[str, ...], mean: float | None
) -> None:
    """Naming us with nothing is a zero, having no vector is none, and the mean counts those that have one."""
    found = weights_on(5, GRAPH, vectors)
    assert tuple(map(str, found)) == texts
    assert mean_by_stake(found) == mean


def test_validators_without_stake_have_no_mean() -> None:
    """Nothing is divided by zero."""
    graph = Metagraph(39, 7, (neuron(0, 0.0), neuron(5, 0.0, permit=False)))
    assert mean_by_stake(weights_on(5, graph, {0: {5: 1.0}})) is None


@pytest.mark.parametrize("rows", [None, [], "x"])
def test_what_is_no_table_is_refused(rows: object) -> None:
    """Another shape is an error, not an empty table."""
    with pytest.raises(ValueError, match="no table"):
        decode_weights(rows)


def test_strange_entries_spoil_nothing_else() -> None:
    """Only whole uids with shares of 0 to 1 are read."""
    rows = {0: {5: 0.5, "x": 0.1, 6: 2.0, 7: float("nan"), 8: "1"}, "1": {5: 1.0}, 2: None}
    assert decode_weights(rows) == {0: {5: 0.5}}


@pytest.mark.parametrize("hotkey", ["5H5", "5Unknown"])
def test_what_was_read_is_said_and_shown(hotkey: str) -> None:
    """An event with every validator, and the console's view of it; without a uid there is nothing to read."""
    said: list[Event] = []
    chain: Any = _Chain({1: {5: 0.5}})
    asyncio.run(OwnWeights(chain, hotkey, clock=ManualClock(now=9.0), emit=said.append).read(GRAPH))
    state = LiveState()
    for event in said:
        state.apply(event)
    shown = (state.engine.own_weights[:1], state.engine.own_weight, state.engine.own_weights_at)
    if hotkey == "5H5":
        assert [type(event) for event in said] == [OwnWeightsRead]
        assert shown == (("uid 1 5H1 0.500000",), 0.5, 9.0)
    else:
        assert said == [] and shown == ((), None, None)


def test_a_chain_that_does_not_tell_is_an_event() -> None:
    """The turn goes on."""
    said: list[Event] = []
    chain: Any = _Chain(ChainUnavailable("no answer"))
    assert asyncio.run(OwnWeights(chain, "5H5", clock=ManualClock(), emit=said.append).read(GRAPH)) == ()
    (failed,) = said
    assert isinstance(failed, ChainFailed) and failed.operation == "weights"


class _Chain:
    """In the chain's place: one answer."""

    def __init__(self, answer: Mapping[int, Mapping[int, float]] | Exception) -> None:
        self._answer = answer

    async def weights(self) -> Mapping[int, Mapping[int, float]]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer
