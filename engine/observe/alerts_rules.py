"""All alert rules by name: who is concerned, and how long a reading must last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.config.common import AlertsConfig
from engine.observe import alerts_host as host
from engine.observe import alerts_network as network
from engine.observe import alerts_nodes as nodes
from engine.observe import alerts_validator as validator
from engine.observe.alerts_book import Patience, Reading
from engine.observe.alerts_facts import Facts

Judge = Callable[[Facts], Iterable[Reading]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A judgement and how long it must last, from the configuration."""

    name: str
    judge: Judge
    raise_after_s: Callable[[AlertsConfig], float] = lambda _: 0.0
    clear_after_s: float = 0.0
    roles: tuple[str, ...] = ("miner", "validator")


MINER = ("miner",)
VALIDATOR = ("validator",)
RULES: tuple[Rule, ...] = (
    Rule("ssh_success", nodes.ssh_success, roles=MINER),
    Rule("node_failing", nodes.node_failing, lambda it: it.node_failing_after, roles=MINER),
    Rule("host_key_changed", nodes.host_key, roles=MINER),
    Rule("clock_skew", nodes.clock_skew, roles=MINER),
    Rule("node_disk", nodes.node_disk, roles=MINER),
    Rule("hardware_changed", nodes.hardware, roles=MINER),
    Rule("shared_gpu", nodes.shared_gpu, roles=MINER),
    Rule("key_drift", nodes.foreign_keys, roles=MINER),
    Rule("no_validator", network.no_validator, roles=MINER),
    Rule("no_assignment", network.no_assignment, lambda it: it.no_assignment_after, roles=MINER),
    Rule("assigned_silent", network.assigned_silent, roles=MINER),
    Rule("auth_success", network.auth_success, roles=MINER),
    Rule("axon_mismatch", network.axon, lambda it: it.axon_mismatch_after, roles=MINER),
    Rule("axon_unreachable", network.reach, lambda it: it.axon_unreachable_after, roles=MINER),
    Rule("validator_key_changed", network.validator_key, roles=MINER),
    Rule("key_stuck", nodes.key_stuck, roles=MINER),
    Rule("certificate", host.certificate, roles=MINER),
    Rule("miners_silent", validator.miners, roles=VALIDATOR),
    Rule("verifications_failing", validator.verifications, roles=VALIDATOR),
    Rule("queue_full", validator.queue, roles=VALIDATOR),
    Rule("weights_failed", validator.weights, roles=VALIDATOR),
    Rule("not_registered", network.not_registered),
    Rule("chain_stale", network.chain_stale),
    Rule("host_disk", host.host_disk),
    Rule("wallet", host.wallet),
    Rule("service_restarting", host.service),
    Rule("delivery_failed", host.delivery),
    Rule("audit_broken", host.audit),
    Rule("recording_paused", host.recording),
)
NAMES = tuple(rule.name for rule in RULES)


def readings(facts: Facts, say_fault: Callable[[str, Exception], None], rules: Sequence[Rule] = RULES) -> list[Reading]:
    """Every rule's judgement that concerns this role. One that fails is said and leaves its alerts as they are."""
    found: list[Reading] = []
    for rule in rules:
        if facts.state.engine.role in rule.roles:
            try:
                found += list(rule.judge(facts))
            except Exception as fault:  # noqa: BLE001 - one rule's fault must not silence the others
                found += [Reading(*key, is_known=False) for key in facts.active if key[0] == rule.name]
                say_fault(rule.name, fault)
    return found


def patience(limits: AlertsConfig) -> dict[str, Patience]:
    """How long each rule must last."""
    return {rule.name: Patience(rule.raise_after_s(limits), rule.clear_after_s) for rule in RULES}
