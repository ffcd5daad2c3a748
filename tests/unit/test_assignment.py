"""Which validator is let in, by tables."""

from __future__ import annotations

import pytest

from engine.chain import Neuron
from engine.miner.assignment import Assignment, Policy, assignment_from_json, choose


def neuron(uid: int, stake: float, hotkey: str | None = None) -> Neuron:
    return Neuron(
        uid=uid,
        hotkey=hotkey or f"5V{uid}",
        coldkey="5C",
        stake_tao=stake,
        validator_permit=True,
        axon=None,
        active=True,
        incentive=0.0,
        dividends=0.0,
        trust=0.0,
        consensus=0.0,
        emission_tao=0.0,
        last_update=0,
    )


def policy(**changes: object) -> Policy:
    values: dict[str, object] = {
        "enabled": True,
        "strategy": "highest_stake",
        "validator_hotkey": None,
        "min_stake_tao": 1000.0,
    }
    return Policy(**{**values, **changes})  # type: ignore[arg-type]


CROWD = [neuron(3, 5000.0), neuron(7, 9000.0), neuron(9, 9000.0), neuron(1, 10.0)]


@pytest.mark.parametrize(
    ("chosen_policy", "validators", "mode", "hotkey"),
    [
        (policy(), CROWD, "highest_stake", "5V7"),
        (policy(validator_hotkey="5V3"), CROWD, "highest_stake", "5V3"),
        (policy(validator_hotkey="5V1"), CROWD, "highest_stake", "5V7"),
        (policy(min_stake_tao=9000.0), CROWD, "highest_stake", "5V7"),
        (policy(min_stake_tao=9000.1), CROWD, "none", ""),
        (policy(), [], "none", ""),
        (policy(strategy="fixed_assignment", validator_hotkey="5V1"), CROWD, "fixed_assignment", "5V1"),
        (policy(strategy="fixed_assignment", validator_hotkey="5X"), CROWD, "none", ""),
        (policy(enabled=False), CROWD, "open", ""),
        (policy(enabled=False), [], "open", ""),
    ],
    ids=[
        "highest, tie to lower uid",
        "configured and qualified",
        "configured but too poor",
        "threshold is inclusive",
        "nobody qualifies",
        "empty subnet",
        "fixed ignores stake",
        "fixed without permit",
        "open access",
        "open and empty",
    ],
)
def test_choice(chosen_policy: Policy, validators: list[Neuron], mode: str, hotkey: str) -> None:
    """The choice follows the operator's policy and the stake on chain."""
    chosen = choose(chosen_policy, validators)

    assert (chosen.mode, chosen.hotkey) == (mode, hotkey)
    assert chosen.reason


@pytest.mark.parametrize(
    ("assignment", "admitted"),
    [
        (Assignment("open", "", None, None, ""), True),
        (Assignment("none", "", None, None, ""), False),
        (Assignment("highest_stake", "5V7", 7, 1.0, ""), True),
        (Assignment("highest_stake", "5V8", 8, 1.0, ""), False),
    ],
)
def test_admission(assignment: Assignment, admitted: bool) -> None:
    """Only the assigned validator enters, everybody with open access, nobody without an assignment."""
    assert assignment.admits("5V7") is admitted


def test_json_round_trip() -> None:
    """An assignment survives the store, and anything else in its place is ignored."""
    chosen = choose(policy(), CROWD)

    assert assignment_from_json(chosen.to_json()) == chosen
    assert assignment_from_json(None) is None
    assert assignment_from_json({"mode": "open"}) is None
