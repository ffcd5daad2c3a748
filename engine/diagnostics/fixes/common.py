"""What every maker of plans gets, and the shape of an entry in the table of fixes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.diagnostics.model import Result
from engine.diagnostics.patient import NodePatient, Patient
from engine.diagnostics.plan import (
    THIS_HOST,
    AccountScript,
    Action,
    InstallService,
    LocalCommand,
    Plan,
    RootScript,
    Step,
)
from engine.ssh.target import NodeTarget


class CannotFixError(Exception):
    """No plan can be made: something that it needs is not known. Never leaves this room."""


@dataclass(frozen=True)
class Case:
    """One finding and everything that a plan may need to know about it."""

    result: Result
    patient: Patient
    node: NodePatient | None = None
    public_line: str = ""
    """The miner's own key as a line of authorized_keys."""
    admin: str = ""
    """Name of the administrator's account, empty when there is none."""
    own_ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def target(self) -> NodeTarget:
        """The node of the finding."""
        if self.node is None:
            raise CannotFixError("the finding is not about a node")
        return self.node.target

    @property
    def data(self) -> Mapping[str, str]:
        """What the judgement left for us."""
        return self.result.data

    @property
    def account(self) -> str:
        """The node's account, quoted for a shell."""
        return shlex.quote(self.target.username)

    def root_step(
        self, title: str, script: str, undo: str = "", *, undo_script: str = "", returns_after_s: int = 0
    ) -> Step:
        """A script as root on the node."""
        whom = f"root (via {self.admin or 'an administrator'})"
        action = RootScript(self.target, script, undo_script, returns_after_s)
        return Step(title, self.target.address, whom, script, action, undo)

    def account_step(
        self, title: str, script: str, undo: str = "", *, by_password: bool = False, undo_script: str = ""
    ) -> Step:
        """A script as the node's account."""
        action = AccountScript(self.target, script, by_password, undo_script)
        how = " (its password is asked once, never stored)" if by_password else ""
        return Step(title, self.target.address, f"{self.target.username}{how}", script, action, undo)


def local_step(title: str, command: str, action: Action, undo: str = "", *, as_whom: str = "you") -> Step:
    """A step on this host."""
    return Step(title, THIS_HOST, as_whom, command, action, undo)


def config_path(case: Case) -> Path:
    """The file that is edited. Raises CannotFixError for values that no file holds."""
    if case.patient.path is None:
        raise CannotFixError("these values are in no file")
    return case.patient.path


def ourselves(*words: str) -> tuple[str, ...]:
    """This very program, whatever is first on the PATH."""
    return (sys.executable, "-m", "basilica_tui", *words)


def as_root(*words: str) -> tuple[str, ...]:
    """A command that needs root: as it is for root, else by sudo, which must not ask since nobody might be there."""
    return words if os.geteuid() == 0 else ("sudo", "-n", *words)


def systemctl_step(title: str, *words: str, undo: tuple[str, ...] = ()) -> Step:
    """A word to systemd, as root, or with ``--user`` to this user's own.

    One with a way back may have been done in part when it fails (``disable --now``).
    """
    is_own = words[:1] == ("--user",)
    command, back = (("systemctl", *these) if is_own else as_root("systemctl", *these) for these in (words, undo))
    back = back if undo else ()
    return local_step(
        title,
        " ".join(command),
        LocalCommand(command, back, may_be_half_done=bool(back)),
        " ".join(back),
        as_whom="you" if is_own else "root",
    )


def service_step(title: str, config: Path) -> Step:
    """The engine of that configuration as a service, started; the way back is to how it stood, installed or not."""
    words = ("service", "install", "--config", str(config), "--yes")
    back = "the unit's files and state, and the owners of the engine's files, as they were"
    action = InstallService(config, ourselves(*words))
    return local_step(title, f"basilica-tui {' '.join(words)}", action, back, as_whom="root")


Make = Callable[[Case], tuple[Step, ...]]


@dataclass(frozen=True, slots=True)
class Fix:
    """One entry of the table. ``make`` raises CannotFixError when the case lacks something."""

    id: str
    title: str
    make: Make
    warning: str = ""

    def plan(self, case: Case) -> Plan:
        """The plan for one case."""
        where = case.node.label if case.node is not None else THIS_HOST
        subject = case.result.subject.id
        return Plan(self.id, self.title, case.result.check, subject, where, self.make(case), self.warning)
