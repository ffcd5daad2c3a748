"""What the validators' weights on chain say of this miner: whose vector names it, and with which share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.chain import Chain, Metagraph
from engine.clock import Clock
from engine.errors import ChainRefused, ChainUnavailable
from engine.events import ChainFailed, EventSink, OwnWeightsRead

NO_VECTOR = "-"


@dataclass(frozen=True, slots=True)
class ValidatorWeight:
    """One validator with a permit. ``share`` is this miner's part of its vector, 0 to 1; None: it has none to read."""

    uid: int
    hotkey: str
    stake_tao: float
    share: float | None

    def __str__(self) -> str:
        return f"uid {self.uid} {self.hotkey} {NO_VECTOR if self.share is None else f'{self.share:.6f}'}"


def weights_on(
    own_uid: int, metagraph: Metagraph, vectors: Mapping[int, Mapping[int, float]]
) -> tuple[ValidatorWeight, ...]:
    """What each validator with a permit gives ``own_uid``, highest stake first.

    ``vectors`` are shares by setting uid. A validator that seals its weights (commit-reveal) has no vector, or the last
    one that was revealed.
    """
    return tuple(
        ValidatorWeight(one.uid, one.hotkey, one.stake_tao, vectors[one.uid].get(own_uid, 0.0))
        if vectors.get(one.uid)
        else ValidatorWeight(one.uid, one.hotkey, one.stake_tao, None)
        for one in metagraph.validators()
    )


def mean_by_stake(weights: tuple[ValidatorWeight, ...]) -> float | None:
    """The shares weighted by stake, before the chain's clipping; None where no validator with stake has a vector."""
    told = [(one.stake_tao, one.share) for one in weights if one.share is not None]
    total = sum(stake for stake, _ in told)
    return sum(stake * share for stake, share in told) / total if total > 0 else None


class OwnWeights:
    """Reads the vectors after each reading of the metagraph."""

    def __init__(self, chain: Chain, hotkey: str, *, clock: Clock, emit: EventSink) -> None:
        self._chain = chain
        self._hotkey = hotkey
        self._clock = clock
        self._emit = emit

    async def read(self, metagraph: Metagraph) -> tuple[ValidatorWeight, ...]:
        """Read and say it. A chain that does not tell is an event; what was read before stays with its time."""
        neuron = metagraph.by_hotkey(self._hotkey)
        if neuron is None:
            return ()
        try:
            vectors = await self._chain.weights()
        except (ChainRefused, ChainUnavailable) as error:
            self._emit(ChainFailed(at=self._clock.now(), operation="weights", error=str(error), metagraph_age_s=None))
            return ()
        found = weights_on(neuron.uid, metagraph, vectors)
        self._emit(
            OwnWeightsRead(
                at=self._clock.now(),
                block=metagraph.block,
                weights=tuple(map(str, found)),
                by_stake=mean_by_stake(found),
            )
        )
        return found
