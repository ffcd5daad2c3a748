"""Why a weight is what it is: the kept vector and its inputs, scored again, in words."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.errors import StoreUnusable
from engine.store.reading import has_table, open_reading
from engine.store.records import WeightSet
from engine.store.tables import weight_sets
from engine.store.weights import WeightRepository
from engine.validator.miner_facts import inputs_from_json
from engine.validator.scoring import PROFILES, Round, score_round


@dataclass(frozen=True, slots=True)
class Explanation:
    """``lines`` lead from the weight down to the nodes; ``agrees`` is false when today's rules give another vector."""

    uid: int
    weight: int
    share: float
    block: int
    profile: str
    agrees: bool
    lines: tuple[str, ...]


async def read_set(url: str, *, at_block: int | None = None, at_time: float | None = None) -> WeightSet:
    """The vector in force, now, at a block or at a time, read without changing or locking anything.

    Raises StoreUnusable when there is no database or no vector in it.
    """
    async with open_reading(url) as (state, _):
        if not await has_table(state, weight_sets):
            hint = "no validator of this version ran with it"
            raise StoreUnusable(f"database {state.name} has no weights", hint=hint)
        found = await WeightRepository(state).newest(at_block=at_block, at_time=at_time)
    if found is None:
        when = "" if at_block is None else f" at block {at_block} or before"
        if at_time is not None:
            when = f" at {_when(at_time)} or before"
        raise StoreUnusable(f"no weights were set{when}", hint="the validator sets them by its block interval")
    return found


def explain_set(record: WeightSet, uid: int) -> Explanation:
    """Everything that led to one uid's weight in a kept vector."""
    scored = rescore(record)
    vector = dict(json.loads(record.vector))
    weights = {uid_: value for uid_, value in scored.allocation.weights.items() if uid_ in vector}
    total = sum(vector.values())
    weight = vector.get(uid, 0)
    head = (
        f"uid {uid}: weight {weight} of {total}, set at block {record.block} ({_when(record.at)}), "
        f"profile {record.profile}, version key {record.version_key}"
    )
    dropped = sorted(set(scored.allocation.weights) - set(vector))
    notes = [f"uid {one} is not registered, so its part was not set" for one in dropped]
    if weights != vector:
        notes.append("the rules of this program give another vector than the one that was set")
    return Explanation(
        uid=uid,
        weight=weight,
        share=weight / total if total else 0.0,
        block=record.block,
        profile=record.profile,
        agrees=weights == vector,
        lines=(head, *notes, *scored.explain(uid)),
    )


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def rescore(record: WeightSet) -> Round:
    """The round behind a kept vector. Raises StoreUnusable when its inputs cannot be read."""
    try:
        miners, emission, context = inputs_from_json(record.inputs)
        profile = next(name for name in PROFILES if name == record.profile)
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, zlib.error) as error:
        raise StoreUnusable("the inputs of that vector cannot be read", hint="another version wrote them") from error
    return score_round(profile, miners, emission, context)
