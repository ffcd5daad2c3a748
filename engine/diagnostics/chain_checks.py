"""Checks of the chain: is it read, is this hotkey on it, does it say where we are, is there a validator for us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.chain import Metagraph, Neuron
from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.miner.assignment import Policy, choose

BLOCK_S = 12.0
ALIVE_BLOCKS = 7200
"""A validator that has not set weights for a day is taken for dead."""

Reach = Literal["", "ok", "invalid", "unreachable", "no_subnet"]


@dataclass(frozen=True)
class ChainFacts:
    """One reading of the chain, or why there is none."""

    reach: Reach = ""
    said: str = ""
    endpoint: str = ""
    metagraph: Metagraph | None = None
    read_s: float = 0.0
    hotkey: str = ""
    netuid: int = 39
    is_miner: bool = True
    policy: Policy | None = None
    advertised: str = ""
    """``ip:port`` that the chain should say; empty when it is not known."""
    saved_age_s: float | None = None
    """Age of the metagraph that the engine saved last."""
    max_age_s: float = 3600.0
    engine_runs: bool = False

    @property
    def neuron(self) -> Neuron | None:
        """This hotkey's row."""
        return self.metagraph.by_hotkey(self.hotkey) if self.metagraph is not None and self.hotkey else None


def judge_endpoint(facts: ChainFacts) -> Judgement:
    """The chain answers."""
    if not facts.reach:
        return skip("the chain was not asked")
    if facts.reach != "ok":
        return fail(facts.reach, facts.said)
    assert facts.metagraph is not None
    return ok(f"{facts.endpoint}: block {facts.metagraph.block}, read in {facts.read_s:.1f} s")


def judge_age(facts: ChainFacts) -> Judgement:
    """What the running engine believes must not be old."""
    age = facts.saved_age_s
    if age is None:
        return ok("the engine has saved no metagraph yet")
    limit = f"bittensor.metagraph_max_age is {facts.max_age_s / 60:.0f} min"
    said = f"the engine's last reading is {age / 60:.0f} min old; {limit}"
    if age <= facts.max_age_s:
        return ok(said)
    if not facts.engine_runs:
        return ok(f"no engine runs; {said}")
    return fail("stale", said)


def judge_registered(facts: ChainFacts) -> Judgement:
    """A uid on the subnet."""
    if facts.metagraph is None:
        return skip("the chain was not read")
    if not facts.hotkey:
        return skip("the hotkey could not be opened")
    neuron = facts.neuron
    if neuron is None:
        said = f"{facts.hotkey} has no uid on subnet {facts.netuid} ({len(facts.metagraph.neurons)} neurons)"
        return fail("not_registered", said)
    return ok(f"uid {neuron.uid}, stake {neuron.stake_tao:g} TAO", f"immunity: {_immunity(facts.metagraph, neuron)}")


def _immunity(metagraph: Metagraph, neuron: Neuron) -> str:
    if neuron.registered_block is None or metagraph.immunity_blocks is None:
        return "this chain does not tell"
    left = neuron.registered_block + metagraph.immunity_blocks - metagraph.block
    return f"{left} blocks left (about {left * BLOCK_S / 3600:.1f} h)" if left > 0 else "over"


def judge_risk(facts: ChainFacts) -> Judgement:
    """The registration that the next newcomer replaces is the lowest incentive past immunity."""
    metagraph, neuron = facts.metagraph, facts.neuron
    if metagraph is None or neuron is None:
        return skip("there is no uid to judge")
    if metagraph.immunity_blocks is None or neuron.registered_block is None:
        return skip("this chain does not tell about immunity")
    if neuron.registered_block + metagraph.immunity_blocks > metagraph.block:
        return ok(f"immune: {_immunity(metagraph, neuron)}")
    mortal = [
        one
        for one in metagraph.neurons
        if not one.validator_permit
        and one.registered_block is not None
        and one.registered_block + metagraph.immunity_blocks <= metagraph.block
    ]
    worse = sum(one.incentive < neuron.incentive for one in mortal)
    if facts.is_miner and worse < 3 and len(mortal) > 3:
        return warn(
            "next_out", f"immunity is over, and only {worse} neurons have less incentive ({neuron.incentive:.4f})"
        )
    return ok(f"{worse} of {len(mortal)} neurons past immunity have less incentive")


def judge_permit(facts: ChainFacts) -> Judgement:
    """A validator needs a permit."""
    if facts.is_miner:
        return skip("a miner needs no permit")
    neuron = facts.neuron
    if neuron is None:
        return skip("there is no uid to judge")
    if not neuron.validator_permit:
        return fail("none", f"uid {neuron.uid} has {neuron.stake_tao:g} TAO and no permit")
    return ok(f"uid {neuron.uid} holds a permit with {neuron.stake_tao:g} TAO")


def judge_axon(facts: ChainFacts) -> Judgement:
    """The chain says where this miner is."""
    if not facts.is_miner:
        return skip("a validator publishes no axon here")
    neuron = facts.neuron
    if neuron is None:
        return skip("there is no uid to judge")
    if not facts.advertised:
        return skip("the public address is not known: set bittensor.external_ip")
    if neuron.axon is None:
        return fail("not_served", f"the chain has no axon; it should be {facts.advertised}")
    ip, _, port = facts.advertised.rpartition(":")
    if neuron.axon.is_at(ip.strip("[]"), int(port)):
        return ok(f"{neuron.axon.endpoint}, as configured")
    cause = "other_port" if neuron.axon.is_at(ip.strip("[]"), neuron.axon.port) else "other_address"
    return fail(cause, f"the chain says {neuron.axon.endpoint}, this miner is {facts.advertised}")


def judge_assigned(facts: ChainFacts) -> Judgement:
    """Somebody is let in, and lives."""
    if facts.policy is None:
        return skip("only a miner assigns validators")
    if facts.metagraph is None:
        return skip("the chain was not read")
    validators = facts.metagraph.validators()
    chosen = choose(facts.policy, validators)
    if chosen.mode == "open":
        return ok(chosen.reason)
    if chosen.mode == "none":
        return _nobody(facts.policy, validators, chosen.reason)
    neuron = facts.metagraph.by_hotkey(chosen.hotkey)
    assert neuron is not None
    idle = facts.metagraph.block - neuron.last_update
    said = f"uid {neuron.uid} {chosen.hotkey}, {neuron.stake_tao:g} TAO: {chosen.reason}"
    if not neuron.active or (neuron.last_update > 0 and idle > ALIVE_BLOCKS):
        return warn("silent", said, f"its last weights are {idle} blocks old (about {idle * BLOCK_S / 3600:.0f} h)")
    return ok(said)


def _nobody(policy: Policy, validators: tuple[Neuron, ...], reason: str) -> Judgement:
    if not validators:
        return fail("no_validators", reason)
    if policy.strategy == "fixed_assignment":
        return fail("no_permit", reason)
    best = validators[0]
    return fail(
        "threshold", reason, f"the highest is uid {best.uid} with {best.stake_tao:g} TAO", stake=f"{best.stake_tao}"
    )


def _check(
    name: str,
    title: str,
    meaning: str,
    judge: Callable[[ChainFacts], Judgement],
    needs: tuple[str, ...],
    *causes: Cause,
) -> Check[ChainFacts]:
    return Check(f"chain.{name}", Scope.CHAIN, title, meaning, judge, causes, needs)


_READ = ("chain.endpoint",)
CHECKS: tuple[Check[ChainFacts], ...] = (
    _check(
        "endpoint",
        "The chain answers",
        "without it nothing is known of permits and stakes",
        judge_endpoint,
        (),
        Cause(
            "invalid",
            "network or chain_endpoint cannot be meant",
            advice="correct [bittensor] network and chain_endpoint",
        ),
        Cause(
            "unreachable",
            "the endpoint does not answer",
            advice="check the network from here; set bittensor.fallback_endpoints",
        ),
        Cause(
            "no_subnet",
            "the endpoint answers, and that subnet does not exist there",
            advice="netuid and network belong together: 39 on finney, 387 on test",
        ),
    ),
    _check(
        "age",
        "The running engine reads the chain",
        "permits and stakes are judged by old data",
        judge_age,
        (),
        Cause("stale", "the engine has not read the chain for long", advice="look at its log for chain.failed"),
    ),
    _check(
        "registered",
        "The hotkey is registered",
        "nobody on the network knows this engine",
        judge_registered,
        _READ,
        Cause(
            "not_registered",
            "the hotkey has no uid on this subnet",
            advice="register it: btcli subnet register --netuid N --wallet.name … --wallet.hotkey …",
        ),
    ),
    _check(
        "immunity",
        "The registration is safe",
        "a newcomer takes the uid with the lowest incentive",
        judge_risk,
        ("chain.registered",),
        Cause(
            "next_out", "this uid is among the next to be replaced", advice="raise the incentive: more healthy nodes"
        ),
    ),
    _check(
        "permit",
        "The validator holds a permit",
        "weights without a permit are refused",
        judge_permit,
        ("chain.registered",),
        Cause("none", "too little stake for a permit", advice="more stake on this hotkey is needed"),
    ),
    _check(
        "axon",
        "The chain says where this miner is",
        "validators dial what the chain says",
        judge_axon,
        ("chain.registered",),
        Cause("not_served", "no axon was ever published", ("chain.serve_axon",)),
        Cause("other_address", "the chain holds another address", ("chain.serve_axon",)),
        Cause("other_port", "the chain holds another port", ("chain.serve_axon",)),
    ),
    _check(
        "assigned",
        "A living validator is assigned",
        "with nobody assigned every validator gets an empty list",
        judge_assigned,
        _READ,
        Cause("no_validators", "no neuron of this subnet holds a permit", advice="wait, or look at the network"),
        Cause("threshold", "min_stake_threshold is above every validator", ("config.threshold",)),
        Cause(
            "no_permit",
            "the configured validator holds no permit",
            advice="correct validator_assignment.validator_hotkey",
        ),
        Cause(
            "silent",
            "the chosen validator sets no weights any more",
            advice="set validator_assignment.validator_hotkey to a living one",
        ),
    ),
)
