"""A fix before it runs: steps that a person can read, with the exact command or edit of each. Pure.

A step's ``action`` is what ``engine.diagnostics.fixing`` performs; its ``command`` is what is shown. Both are made
together, so that nothing happens that was not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.ssh.target import NodeTarget

THIS_HOST = "this host"


@dataclass(frozen=True, slots=True)
class RootScript:
    """A shell script as root on a node, through the administrator's login. ``undo`` takes it back, with the lines
    ``undo COMMAND`` of its output, which run on the same node only."""

    target: NodeTarget
    script: str
    undo: str = ""
    returns_after_s: int = 0
    """Where the node itself takes the change back when nobody confirms it: after so many seconds."""


@dataclass(frozen=True, slots=True)
class AccountScript:
    """A shell script as the node's own account: over the miner's login, or with that account's password."""

    target: NodeTarget
    script: str
    by_password: bool = False
    undo: str = ""


@dataclass(frozen=True, slots=True)
class ProveLogin:
    """A second login that must succeed, by the administrator and, where it worked before, by the miner."""

    target: NodeTarget
    with_account: bool = False


@dataclass(frozen=True, slots=True)
class PinHostKey:
    """Trust the host key with this fingerprint, which the node must present now."""

    target: NodeTarget
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RemoveKeyLines:
    """Take lines out of a node's authorized_keys, through the editor that grants use: those with these keys, or with
    none named those that the deployed miner left."""

    target: NodeTarget
    fingerprints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SetMode:
    """The mode of a local file."""

    path: Path
    mode: int


@dataclass(frozen=True, slots=True)
class MakeKey:
    """A new SSH key for the miner's own logins; an existing file is never replaced."""

    path: Path


@dataclass(frozen=True, slots=True)
class EditConfig:
    """Keys of the configuration file; None removes one. A backup is made first."""

    path: Path
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RestoreFile:
    """A local file's content taken from a copy; the present content is kept beside it."""

    path: Path
    copy: Path


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A small local file of settings, written whole; the one of before comes back with the undo."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class KeepCopy:
    """A copy of a local file under a name that is not taken; taken back, it is the file again, owner and mode too."""

    path: Path
    copy: Path


@dataclass(frozen=True, slots=True)
class InstallService:
    """The engine of a configuration as a service of the system; how everything stood is noted before, for the undo."""

    config: Path
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """A program on this host; ``undo`` takes it back, also where it failed halfway if that ``may_be_half_done``."""

    words: tuple[str, ...]
    undo: tuple[str, ...] = ()
    may_be_half_done: bool = False
    prints_undo: bool = False
    """Its last word is a shell script, and lines ``undo COMMAND`` of its output take it back."""


@dataclass(frozen=True, slots=True)
class EngineAction:
    """A verb of the running engine."""

    verb: str
    args: Mapping[str, object] = field(default_factory=dict)


Action = (
    RootScript
    | AccountScript
    | ProveLogin
    | PinHostKey
    | RemoveKeyLines
    | SetMode
    | MakeKey
    | EditConfig
    | RestoreFile
    | WriteFile
    | KeepCopy
    | InstallService
    | LocalCommand
    | EngineAction
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step. An empty ``undo`` says that it cannot be taken back."""

    title: str
    where: str
    as_whom: str
    command: str
    action: Action
    undo: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fix would do about one finding."""

    fix: str
    title: str
    check: str
    subject: str
    """Id of the node, empty for this host."""
    where: str
    steps: tuple[Step, ...]
    warning: str = ""
    """What a person should know before agreeing."""

    @property
    def is_reversible(self) -> bool:
        """Whether every step can be taken back."""
        return all(step.undo or isinstance(step.action, ProveLogin) for step in self.steps)

    @property
    def needs_admin(self) -> bool:
        """Whether an administrator's login on the node is needed."""
        return any(isinstance(step.action, RootScript) for step in self.steps)

    @property
    def needs_password(self) -> bool:
        """Whether the password of the node's account is needed."""
        return any(isinstance(step.action, AccountScript) and step.action.by_password for step in self.steps)

    @property
    def needs_engine(self) -> bool:
        """Whether a running engine is needed."""
        return any(isinstance(step.action, EngineAction) for step in self.steps)


def render_plan(plan: Plan) -> str:
    """The plan as text, every command in full."""
    lines = [f"{plan.fix}: {plan.title} ({plan.where})"]
    if plan.warning:
        lines.append(f"  note: {plan.warning}")
    for number, step in enumerate(plan.steps, 1):
        lines.append(f"  {number}. {step.title}, on {step.where} as {step.as_whom}")
        lines += [f"       {line}" for line in step.command.splitlines()]
        lines.append(f"     undo: {step.undo}" if step.undo else "     cannot be undone" if _changes(step) else "")
    return "\n".join(line for line in lines if line)


def _changes(step: Step) -> bool:
    return not isinstance(step.action, ProveLogin)
