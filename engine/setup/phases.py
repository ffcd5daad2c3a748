"""The six phases and how one leads to the next. Pure: what a phase does is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from engine.setup.answers import Answers


class Phase(StrEnum):
    """In their order."""

    KEYS = "keys"
    CONFIG = "config"
    VERIFY = "verify"
    INSTALL = "install"
    DEPLOY = "deploy"
    START = "start"


ORDER = tuple(Phase)
TITLES = {
    Phase.KEYS: "Wallet, nodes and keys",
    Phase.CONFIG: "Network and access",
    Phase.VERIFY: "Check everything",
    Phase.INSTALL: "Write the files",
    Phase.DEPLOY: "Install the service",
    Phase.START: "Start and serve",
}
FIELDS: dict[Phase, tuple[str, ...]] = {
    Phase.KEYS: ("wallet_path", "wallet_name", "hotkey_name", "nodes", "node_user", "directory", "node_key"),
    Phase.CONFIG: (
        "network", "chain_endpoint", "external_ip", "port", "assignment", "validator_hotkey", "min_stake",
    ),
    Phase.DEPLOY: ("service",),
}  # fmt: skip
"""What each page asks."""
_WHERE = {key: phase for phase, keys in FIELDS.items() for key in keys}


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
    def number(self) -> int:
        """1 to 6."""
        return ORDER.index(self.phase) + 1


def answer(setup: Setup, answers: Answers) -> Setup:
    """Other answers: phases from the first one that they touch on have to be done again."""
    changed = [key for key, phase in _WHERE.items() if getattr(answers, key) != getattr(setup.answers, key)]
    if not changed:
        return replace(setup, answers=answers)
    first = min(ORDER.index(_WHERE[key]) for key in changed)
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
