"""Setting weights: when it is time, from what the store holds, with every vector and its inputs kept.

Blocks decide: a vector is set when ``weight_set_interval_blocks`` have passed since the last one; the first time
after half of that. The version key grows with each attempt, failed ones included, as the deployed validator's does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.chain import Chain, Metagraph, MetagraphCache
from engine.clock import Clock
from engine.config.validator import ValidatorConfig
from engine.errors import (
    BasilicaError,
    ChainRateLimited,
    ChainRefused,
    ChainUnavailable,
    ConfigInvalid,
    ScoresInvalid,
    StoreUnusable,
)
from engine.events import EventSink, WeightsFailed, WeightsRestored, WeightsSet
from engine.store import Store
from engine.store.records import WeightSet
from engine.validator.explain import rescore
from engine.validator.miner_facts import emission_of, gather_facts, inputs_to_json
from engine.validator.scoring import Round, RoundContext, score_round

TICK_S = 12.0
ATTEMPTS = 3
PAUSE_S = 5.0
RATE_LIMIT_PAUSE_S = 60.0
REFUSED_PAUSE_S = 120.0
MAX_VERSION_KEY = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Keys:
    last_block: str
    last_at: str
    version: str


class WeightSetter:
    """Scores and sets, one vector at a time. ``now`` sets without waiting for the interval."""

    def __init__(
        self,
        config: ValidatorConfig,
        *,
        store: Store,
        chain: Chain,
        metagraph: MetagraphCache,
        hotkey: str,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._emission = emission_of(config.emission)
        self._profile = config.scoring.profile
        self._store = store
        self._chain = chain
        self._metagraph = metagraph
        self._hotkey = hotkey
        self._clock = clock
        self._emit = emit
        self._setting = asyncio.Lock()
        # What the chain took counts although it could not be stored: a full disk must not have it set again.
        self._taken_block: int | None = None
        netuid = config.bittensor.netuid
        self._keys = _Keys(f"weights.last_block:{netuid}", f"weights.last_at:{netuid}", f"weights.version_key:{netuid}")

    async def restore(self) -> None:
        """Show the vector in force, when the store holds one whose inputs this program can read."""
        record = await self._store.weights.newest()
        if record is not None:
            with contextlib.suppress(StoreUnusable):
                scored = await asyncio.to_thread(rescore, record)
                self._emit(WeightsRestored(**told_of(record, scored)))

    async def keep_setting(self) -> None:
        """The service: look at the block clock, set when it is time. Ends when nothing could ever be set."""
        problems = self._emission.problems()
        if problems:
            error = ConfigInvalid(f"weights cannot be set: {'; '.join(problems)}", problems=problems)
            self._failed(0, error, 0.0)
            return
        while True:
            pause_s = TICK_S
            try:
                block = await self._chain.block_number()
                await self.set_if_due(block)
            except ChainRateLimited as error:
                pause_s = RATE_LIMIT_PAUSE_S
                self._failed(0, error, pause_s)
            except (ChainRefused, ScoresInvalid) as error:
                pause_s = REFUSED_PAUSE_S
                self._failed(0, error, pause_s)
            except ChainUnavailable as error:
                self._failed(0, error, pause_s)
            await self._clock.sleep(pause_s)

    async def set_if_due(self, block: int) -> bool:
        """Set when the interval has passed; judged after whoever sets at this moment is done. Raises as set_now."""
        async with self._setting:
            if block < await self.next_block(block):
                return False
            await self._score_and_set(block)
            return True

    async def next_block(self, block: int) -> int:
        """The block from which the next vector is due; remembers a start when there was none."""
        interval = self._emission.weight_set_interval_blocks
        last = await self._store.keyvalue.get(self._keys.last_block)
        if self._taken_block is not None and (not isinstance(last, int) or last < self._taken_block):
            last = self._taken_block
        if not isinstance(last, int) or last > block:  # never, or another chain's
            last = block - interval // 2
            await self._store.keyvalue.put(self._keys.last_block, last)
        return last + interval

    async def set_now(self, block: int) -> Round:
        """Score, set, keep. Raises ChainUnavailable, ChainRefused, ChainRateLimited or ScoresInvalid."""
        async with self._setting:
            return await self._score_and_set(block)

    async def _score_and_set(self, block: int) -> Round:
        now = self._clock.now()
        metagraph = await self._metagraph.refresh()
        epoch = await self._store.keyvalue.get(self._keys.last_at)
        context = RoundContext(
            now=now,
            metagraph_size=len(metagraph.neurons),
            epoch_start=float(epoch) if isinstance(epoch, int | float) else None,
        )
        miners = await gather_facts(self._store, metagraph, self._profile, now)
        scored = await asyncio.to_thread(score_round, self._profile, miners, self._emission, context)
        vector = settable(scored.allocation.weights, metagraph)
        lost = set(scored.allocation.weights) - set(vector)
        record = WeightSet(
            at=now,
            block=block,
            profile=self._profile,
            version_key=0,
            ok=False,
            attempts=0,
            error="",
            vector=json.dumps(sorted(vector.items())),
            inputs=await asyncio.to_thread(inputs_to_json, miners, self._emission, context),
        )
        await self._submit(record, vector, scored, lacks_burn=self._emission.burn_uid in lost)
        return scored

    async def _submit(self, record: WeightSet, vector: Mapping[int, int], scored: Round, *, lacks_burn: bool) -> None:
        version, attempts = 0, 0
        failure: BasilicaError | None = None
        for attempt in range(1, ATTEMPTS + 1):
            attempts, version = attempt, await self._next_version()
            try:
                if lacks_burn:  # the chain would share what should be burnt among the miners
                    raise ScoresInvalid(
                        f"uid {self._emission.burn_uid}, which takes what is burnt, is not registered",
                        hint="set emission.burn_uid to a uid of this subnet",
                    )
                if not vector:
                    raise ScoresInvalid("no uid of the vector is registered", hint="the next round scores anew")
                await self._chain.set_weights({uid: float(value) for uid, value in vector.items()}, version)
                failure = None
            except (ChainRefused, ScoresInvalid) as error:  # asking again will not change the answer
                failure = error
                break
            except ChainUnavailable as error:
                failure = error
                if await self._was_taken(record.block):
                    failure = None
            if failure is None or attempt == ATTEMPTS:
                break
            await self._clock.sleep(PAUSE_S)
        if failure is None:
            self._taken_block = record.block
        await self._store.weights.add(
            WeightSet(
                at=record.at,
                block=record.block,
                profile=record.profile,
                version_key=version,
                ok=failure is None,
                attempts=attempts,
                error="" if failure is None else failure.message,
                vector=record.vector,
                inputs=record.inputs,
            )
        )
        if failure is not None:
            raise failure
        await self._store.keyvalue.put(self._keys.last_block, record.block)
        await self._store.keyvalue.put(self._keys.last_at, record.at)
        self._emit(WeightsSet(**told_of(replace(record, version_key=version), scored)))

    async def _next_version(self) -> int:
        stored = await self._store.keyvalue.get(self._keys.version)
        last = stored if isinstance(stored, int) else self._emission.weight_version_key
        version = min(last + 1, MAX_VERSION_KEY)
        await self._store.keyvalue.put(self._keys.version, version)
        return version

    async def _was_taken(self, block: int) -> bool:
        """Whether the chain says that our weights were set after all; an unanswered call may have arrived."""
        try:
            metagraph = await self._metagraph.refresh()
        except ChainUnavailable:
            return False
        own = metagraph.by_hotkey(self._hotkey)
        return own is not None and own.last_update >= block

    def _failed(self, block: int, error: BasilicaError, retry_in_s: float) -> None:
        self._emit(
            WeightsFailed(
                at=self._clock.now(),
                block=block,
                error_code=error.code,
                message=str(error),
                retry_in_s=retry_in_s,
            )
        )


def told_of(record: WeightSet, scored: Round) -> dict[str, Any]:
    """What is told of a vector: the fields of its event."""
    allocation = scored.allocation
    vector: list[list[int]] = json.loads(record.vector)
    return {
        "at": record.at,
        "block": record.block,
        "profile": record.profile,
        "version_key": record.version_key,
        "uids": len(vector),
        "burn": allocation.burn,
        "total": sum(weight for _, weight in vector),
        "next_block": record.block + allocation.emission.weight_set_interval_blocks,
        "burn_uid": allocation.emission.burn_uid if allocation.burn else -1,
        "weights": tuple(f"{uid} {weight}" for uid, weight in vector),
        "portions": tuple(
            f"{portion.uid} {pool.category} {pool.explain_portion(place)}"
            for pool in allocation.pools
            for place, portion in enumerate(pool.portions)
        ),
        "pools": tuple(pool.explain() for pool in allocation.pools),
    }


def settable(weights: Mapping[int, int], metagraph: Metagraph) -> dict[int, int]:
    """The part of a vector that the chain can take: it refuses the whole for one uid that is not registered."""
    known = {neuron.uid for neuron in metagraph.neurons}
    return {uid: value for uid, value in weights.items() if uid in known}
