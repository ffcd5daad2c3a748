"""The six phases and how one leads to the next. Pure: what a phase does is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from engine.setup.answers import MINER, VALIDATOR, Answers


class Phase(StrEnum):
    """In their order."""

    KEYS = "keys"
    CONFIG = "config"
    VERIFY = "verify"
    INSTALL = "install"
    DEPLOY = "deploy"
    START = "start"


ORDER = tuple(Phase)
_TITLES = {
    Phase.KEYS: "Wallet, nodes and keys",
    Phase.CONFIG: "Network and access",
    Phase.VERIFY: "Check everything",
    Phase.INSTALL: "Write the files",
    Phase.DEPLOY: "Install the service",
    Phase.START: "Start and serve",
}
_VALIDATOR_TITLES = {Phase.KEYS: "Wallet", Phase.CONFIG: "Network, weights and API"}
_WALLET = ("role", "wallet_path", "wallet_name", "hotkey_name", "password_file")
_FIELDS: dict[str, dict[Phase, tuple[str, ...]]] = {
    MINER: {
        Phase.KEYS: (*_WALLET, "nodes", "node_user", "directory", "node_key"),
        Phase.CONFIG: (
            "network", "chain_endpoint", "external_ip", "port", "assignment", "validator_hotkey", "min_stake",
        ),
        Phase.DEPLOY: ("service",),
    },
    VALIDATOR: {
        Phase.KEYS: (*_WALLET, "directory"),
        Phase.CONFIG: ("network", "chain_endpoint", "shares", "burn", "scoring", "api"),
        Phase.DEPLOY: ("service",),
    },
}  # fmt: skip
_UNASKED = {"burn_uid", "health_port", "metrics_port", "name"}
"""Of an answers file only; they belong to the configuration."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a setup stands. ``done`` are phases whose work succeeded with the present answers."""

    answers: Answers = field(default_factory=Answers)
    phase: Phase = Phase.KEYS
    done: frozenset[Phase] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether the engine serves."""
        return self.done >= set(ORDER)

    @property
    def title(self) -> str:
        """Of the present page."""
        return titles_of(self.answers.role)[self.phase]

    @property
    def fields(self) -> tuple[str, ...]:
        """What the present page asks."""
        return fields_of(self.answers.role, self.phase)

    @property
    def number(self) -> int:
        """1 to 6."""
        return ORDER.index(self.phase) + 1


def fields_of(role: str, phase: Phase) -> tuple[str, ...]:
    """What a page asks in a setup of that role."""
    return _FIELDS.get(role, _FIELDS[MINER]).get(phase, ())


def titles_of(role: str) -> Mapping[Phase, str]:
    """The pages of a setup of that role, in their order."""
    return {**_TITLES, **(_VALIDATOR_TITLES if role == VALIDATOR else {})}


def answer(setup: Setup, answers: Answers) -> Setup:
    """Other answers: phases from the first one that they touch on have to be done again."""
    if answers.role != setup.answers.role:
        return replace(setup, answers=answers, done=frozenset())
    where = {key: phase for phase in ORDER for key in fields_of(answers.role, phase)}
    where |= dict.fromkeys(_UNASKED, Phase.CONFIG)
    changed = [key for key in where if getattr(answers, key) != getattr(setup.answers, key)]
    if not changed:
        return replace(setup, answers=answers)
    first = min(ORDER.index(where[key]) for key in changed)
    # The check looks at everything, so it falls with any answer before the service's.
    first = min(first, ORDER.index(Phase.VERIFY)) if first < ORDER.index(Phase.DEPLOY) else first
    return replace(setup, answers=answers, done=frozenset(p for p in setup.done if ORDER.index(p) < first))


def finish(setup: Setup) -> Setup:
    """The present phase's work is done; go to the next one."""
    done = setup.done | {setup.phase}
    index = ORDER.index(setup.phase)
    return replace(setup, done=done, phase=ORDER[min(index + 1, len(ORDER) - 1)])


def go_back(setup: Setup) -> Setup:
    """The page before; nothing is undone."""
    return replace(setup, phase=ORDER[max(ORDER.index(setup.phase) - 1, 0)])


def resume(setup: Setup) -> Setup:
    """Where to go on after an interruption: the first phase that is not done."""
    waiting = [phase for phase in ORDER if phase not in setup.done]
    return replace(setup, phase=waiting[0] if waiting else Phase.START)
