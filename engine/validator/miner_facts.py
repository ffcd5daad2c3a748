"""From the store to what the scoring rules read, and between those facts and the JSON that is kept with a vector."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from engine.chain import Metagraph
from engine.config.validator import EmissionConfig
from engine.scores.history import PASS_WINDOW_S, SSH_WINDOW_S, Rate
from engine.scores.ramp import Ramp, ramp_since
from engine.store import Store
from engine.store.records import CheckCounts, GpuClaim, ValidatedNode
from engine.validator.schedule import LIVE
from engine.validator.scoring import (
    CategoryRule,
    Emission,
    GpuGroup,
    MinerFacts,
    NodeFacts,
    NodeGpus,
    Profile,
    RoundContext,
    merge_groups,
)

Place = tuple[str, str]


def emission_of(config: EmissionConfig) -> Emission:
    """The configured emission as the rules want it."""
    return Emission(
        burn_percentage=config.burn_percentage,
        burn_uid=config.burn_uid,
        gpu_allocations={
            name.strip().upper(): CategoryRule(share.weight, share.min_gpu_count, share.min_gpu_vram)
            for name, share in config.gpu_allocations.items()
        },
        min_miners_per_category=config.min_miners_per_category,
        weight_set_interval_blocks=config.weight_set_interval_blocks,
        weight_version_key=config.weight_version_key,
    )


async def gather_facts(store: Store, metagraph: Metagraph, profile: Profile, now: float) -> tuple[MinerFacts, ...]:
    """All registered miners of which the validator holds nodes, by uid."""
    nodes = await store.validated.nodes()
    claims: dict[Place, list[GpuClaim]] = {}
    for claim in await store.validated.claims():
        claims.setdefault((claim.miner_hotkey, claim.node_id), []).append(claim)
    day = await store.verifications.counts(now - SSH_WINDOW_S)
    hours = await store.verifications.counts(now - PASS_WINDOW_S)
    registered = {
        neuron.hotkey: (neuron.uid, neuron.axon is not None and neuron.axon.port > 0) for neuron in metagraph.neurons
    }
    return build_facts(nodes, claims, day, hours, registered, profile, now)


def build_facts(
    nodes: Sequence[ValidatedNode],
    claims: Mapping[Place, Sequence[GpuClaim]],
    day: Mapping[Place, CheckCounts],
    hours: Mapping[Place, CheckCounts],
    registered: Mapping[str, tuple[int, bool]],
    profile: Profile,
    now: float,
) -> tuple[MinerFacts, ...]:
    """The facts from rows. ``registered`` has each hotkey's uid and whether it serves an axon; others earn nothing."""
    by_miner: dict[str, list[ValidatedNode]] = {}
    for node in nodes:
        by_miner.setdefault(node.miner_hotkey, []).append(node)
    found = []
    for hotkey, owned in by_miner.items():
        if hotkey not in registered:
            continue
        uid, has_axon = registered[hotkey]
        passed = any(hours.get((hotkey, node.node_id), CheckCounts()).passed for node in owned)
        last_ok = max((node.last_ok_at for node in owned if node.last_ok_at is not None), default=None)
        found.append(
            MinerFacts(
                uid=uid,
                nodes=tuple(_node_facts(node, claims, day, hours, profile, now) for node in owned),
                has_axon=has_axon,
                # The deployed scorer touches every profile each five minutes, and dates the last success with that
                # touch while any check of three hours passed.
                profile_updated_at=now,
                last_success_at=now if passed else last_ok,
            )
        )
    return tuple(sorted(found, key=lambda miner: miner.uid))


def _node_facts(
    node: ValidatedNode,
    claims: Mapping[Place, Sequence[GpuClaim]],
    day: Mapping[Place, CheckCounts],
    hours: Mapping[Place, CheckCounts],
    profile: Profile,
    now: float,
) -> NodeFacts:
    place = node.miner_hotkey, node.node_id
    since = node.run_since if profile == "documented" else node.full_run_since
    reset_at = node.last_reset_at if profile == "documented" else None
    logins, checks = day.get(place, CheckCounts()), hours.get(place, CheckCounts())
    return NodeFacts(
        node_id=node.node_id,
        gpus=gpus_of_claims(claims.get(place, ())),
        ramp=ramp_since(since, now, last_reset_at=reset_at),
        ssh=Rate(logins.logged_in, logins.total),
        last_full_ok=node.last_full_ok,
        compute_capability=node.compute_capability,
        cuda=node.cuda,
        checks=Rate(checks.passed, checks.total),
        is_online=node.status in LIVE,
    )


def gpus_of_claims(claims: Iterable[GpuClaim]) -> NodeGpus:
    """What the GPUs that count for a node add up to."""
    return _merged(tuple((claim.model, claim.memory_mib) for claim in claims))


@lru_cache(maxsize=1024)
def _merged(gpus: tuple[tuple[str, int], ...]) -> NodeGpus:
    """Thousands of nodes have the same GPUs as another."""
    return merge_groups(
        GpuGroup(model, count, round(memory / 1024, 2) if memory else None)
        for (model, memory), count in Counter(gpus).items()
    )


# --- as JSON --------------------------------------------------------------------------------------------------


def inputs_to_json(miners: Sequence[MinerFacts], emission: Emission, context: RoundContext) -> str:
    """Everything that a vector was made of, packed: thousands of nodes say nearly the same."""
    plain = {
        "miners": [dataclasses.asdict(miner) for miner in miners],
        "emission": dataclasses.asdict(emission),
        "context": dataclasses.asdict(context),
    }
    packed = zlib.compress(json.dumps(plain, separators=(",", ":")).encode())
    return json.dumps({"zlib": base64.b64encode(packed).decode()})


def inputs_from_json(text: str) -> tuple[tuple[MinerFacts, ...], Emission, RoundContext]:
    """The same again. Only what ``inputs_to_json`` wrote is read here: our own database."""
    plain: Any = json.loads(zlib.decompress(base64.b64decode(json.loads(text)["zlib"])))
    emission = plain["emission"]
    rules = {name: CategoryRule(**rule) for name, rule in emission.pop("gpu_allocations").items()}
    miners = tuple(_miner(one) for one in plain["miners"])
    return miners, Emission(gpu_allocations=rules, **emission), RoundContext(**plain["context"])


def _miner(plain: dict[str, Any]) -> MinerFacts:
    nodes = tuple(_node(one) for one in plain.pop("nodes"))
    return MinerFacts(nodes=nodes, **plain)


def _node(plain: dict[str, Any]) -> NodeFacts:
    return NodeFacts(
        gpus=NodeGpus(**plain.pop("gpus")),
        ramp=Ramp(**plain.pop("ramp")),
        ssh=Rate(**plain.pop("ssh")),
        checks=Rate(**plain.pop("checks")),
        **plain,
    )
