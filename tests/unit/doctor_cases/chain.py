"""Facts about the chain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.chain import Axon, Metagraph, Neuron
from engine.diagnostics.chain_checks import ChainFacts
from engine.miner.assignment import Policy
from tests.unit.doctor_cases.case import FAILED, WARNING, Case

BLOCK = 100_000
LOWEST = Policy(True, "highest_stake", None, 100.0)


def neuron(uid: int, **known: Any) -> Neuron:
    plain = Neuron(uid, f"hotkey {uid}", "cold", 0.0, False, None, True, 0.5, 0.0, 0.0, 0.0, 0.0, BLOCK, 1)
    return replace(plain, **known)


def chain(*neurons: Neuron, **known: Any) -> ChainFacts:
    """A read chain on which uid 0 is this engine."""
    graph = Metagraph(39, BLOCK, neurons, 5000)
    return ChainFacts(**{"reach": "ok", "metagraph": graph, "hotkey": "hotkey 0", **known})


def published(axon: Axon | None) -> ChainFacts:
    return chain(neuron(0, axon=axon), advertised="198.51.100.7:8091")


VALIDATOR = neuron(1, validator_permit=True, stake_tao=50.0)
CHAIN = (
    Case("chain.endpoint", "invalid", FAILED, ChainFacts("invalid", "no such network")),
    Case("chain.endpoint", "unreachable", FAILED, ChainFacts("unreachable", "no answer")),
    Case("chain.endpoint", "no_subnet", FAILED, ChainFacts("no_subnet", "subnet 39 does not exist")),
    Case("chain.age", "stale", FAILED, chain(saved_age_s=7200.0, engine_runs=True)),
    Case("chain.registered", "not_registered", FAILED, chain(neuron(5))),
    Case("chain.immunity", "next_out", WARNING, chain(neuron(0, incentive=0.0), *map(neuron, range(2, 8)))),
    Case("chain.permit", "none", FAILED, chain(neuron(0), is_miner=False)),
    Case("chain.axon", "not_served", FAILED, published(None), "chain.serve_axon"),
    Case("chain.axon", "other_address", FAILED, published(Axon("198.51.100.9", 8091)), "chain.serve_axon"),
    Case("chain.axon", "other_port", FAILED, published(Axon("198.51.100.7", 8092)), "chain.serve_axon"),
    Case("chain.assigned", "no_validators", FAILED, chain(neuron(0), policy=LOWEST)),
    Case("chain.assigned", "threshold", FAILED, chain(VALIDATOR, policy=LOWEST), "config.threshold"),
    Case(
        "chain.assigned",
        "no_permit",
        FAILED,
        chain(VALIDATOR, policy=Policy(True, "fixed_assignment", "hotkey 9", 0.0)),
    ),
    Case(
        "chain.assigned",
        "silent",
        WARNING,
        chain(replace(VALIDATOR, last_update=BLOCK - 8000), policy=replace(LOWEST, min_stake_tao=1.0)),
    ),
    Case(
        "chain.assigned",
        "silent",
        WARNING,
        chain(replace(VALIDATOR, active=False), policy=replace(LOWEST, min_stake_tao=1.0)),
    ),
)
