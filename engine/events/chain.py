"""What was read from the chain and written to it by the miner: metagraph, axon, assignment."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class MetagraphRead(Event):
    kind = "chain.metagraph_read"
    severity = "debug"
    netuid: int
    block: int
    neurons: int
    validators: int
    own_uid: int | None
    own_stake_tao: float | None = None
    own_incentive: float | None = None
    own_emission: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWeightsRead(Event):
    """What each validator's vector gives this miner: texts "uid N hotkey share", highest stake first.

    A share is 0 to 1, or "-" where that validator has no vector to read. ``by_stake`` is their mean weighted by stake.
    """

    kind = "chain.own_weights_read"
    severity = "debug"
    block: int
    weights: tuple[str, ...]
    by_stake: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFailed(Event):
    """A chain read or call failed; ``metagraph_age_s`` is the age of the data that still serves."""

    kind = "chain.failed"
    severity = "warning"
    operation: str
    error: str
    metagraph_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AxonChecked(Event):
    """What the chain advertises against what we bind and want to advertise; all as ``ip:port`` or empty."""

    kind = "axon.checked"
    severity = "debug"
    on_chain: str
    bound: str
    advertised: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AxonCalled(Event):
    """A node called the advertised address from outside; ``outcome``: open, refused, timeout, unproven."""

    kind = "axon.called"
    severity = "debug"
    address: str
    outcome: str
    peer: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxonServed(Event):
    kind = "axon.served"
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentChanged(Event):
    """Which validator may use the nodes; empty hotkey with strategy ``open`` means every permitted one."""

    kind = "assignment.changed"
    strategy: str
    validator_hotkey: str
    uid: int | None
    stake_tao: float | None
    reason: str
