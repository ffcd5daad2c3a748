"""Which validator may use the nodes: a pure choice over the metagraph.

Rules of the network (protocol, section 5): ``highest_stake`` takes the permitted validator with the largest
stake above the threshold, or the configured hotkey if it qualifies; ``fixed_assignment`` takes the configured
hotkey only; ``enabled = false`` lets every permitted validator in. Ties go to the lower uid, as deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from engine.chain import Neuron

Strategy = Literal["highest_stake", "fixed_assignment"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's choice, from ``[validator_assignment]``. ``min_stake_tao`` is exclusive of nothing: >= passes."""

    enabled: bool
    strategy: Strategy
    validator_hotkey: str | None
    min_stake_tao: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who is let in. ``mode`` is ``open``, the strategy's name, or ``none``; ``reason`` says why in words."""

    mode: str
    hotkey: str
    uid: int | None
    stake_tao: float | None
    reason: str

    def admits(self, hotkey: str) -> bool:
        """Whether a permitted validator may use the nodes."""
        return self.mode == "open" or (self.mode != "none" and self.hotkey == hotkey)

    def to_json(self) -> dict[str, object]:
        """Plain values for the store."""
        return asdict(self)


NOBODY = Assignment("none", "", None, None, "not chosen yet")


def assignment_from_json(value: object) -> Assignment | None:
    """The assignment that ``to_json`` wrote, or None for anything else."""
    if not isinstance(value, dict):
        return None
    try:
        return Assignment(**value)
    except TypeError:
        return None


def choose(policy: Policy, validators: Sequence[Neuron]) -> Assignment:
    """Pick from the permitted validators of one metagraph."""
    if not policy.enabled:
        return Assignment("open", "", None, None, f"open access: {len(validators)} permitted validators")
    if policy.strategy == "fixed_assignment":
        return _fixed(policy, validators)
    return _highest(policy, validators)


def _fixed(policy: Policy, validators: Sequence[Neuron]) -> Assignment:
    for neuron in validators:
        if neuron.hotkey == policy.validator_hotkey:
            return _assigned("fixed_assignment", neuron, "configured")
    return Assignment("none", "", None, None, f"configured validator {policy.validator_hotkey} holds no permit")


def _highest(policy: Policy, validators: Sequence[Neuron]) -> Assignment:
    qualified = [n for n in validators if n.stake_tao >= policy.min_stake_tao]
    if not qualified:
        return Assignment(
            "none", "", None, None, f"none of {len(validators)} permitted validators has {policy.min_stake_tao:g} TAO"
        )
    for neuron in qualified:
        if policy.validator_hotkey and neuron.hotkey == policy.validator_hotkey:
            return _assigned("highest_stake", neuron, "configured and above the stake threshold")
    best = min(qualified, key=lambda n: (-n.stake_tao, n.uid))
    return _assigned("highest_stake", best, f"highest stake of {len(qualified)} qualified")


def _assigned(mode: str, neuron: Neuron, reason: str) -> Assignment:
    return Assignment(mode, neuron.hotkey, neuron.uid, neuron.stake_tao, reason)
