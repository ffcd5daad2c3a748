"""What it takes to run this configuration as a service: the unit as it is, and a drop-in with this host's facts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.config import load_config
from engine.deployment.access import barred, owner_words
from engine.deployment.files import UNIT, unit_text
from engine.deployment.hiding import HOMES, TEMPORARY, is_below
from engine.deployment.needs import EngineNeeds, Need, needs_of, owner_of
from engine.deployment.settings import quote, quote_path
from engine.deployment.steps import ChangeOwner, MakeDirectory, Plan, RemoveFile, RunCommand, Step, WriteFile
from engine.errors import ServiceFailed

SYSTEM_UNITS = Path("/etc/systemd/system")
DROP_IN = "10-this-host.conf"
GUARDED = frozenset({"the hotkey", "the hotkey's password file", "the chain in a file"})
"""Whose these are, a person decides."""
_NO_BUS = "log in as this user itself (not through su or sudo), or have an administrator run: loginctl enable-linger"
_INSTANCE = re.compile(r"[A-Za-z0-9:_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class ServiceChoice:
    """How the service should run. ``units`` is where its files go; ``run_as`` is empty for a user's own service."""

    needs: EngineNeeds
    for_user: bool
    units: Path
    run_as: str = ""
    program: tuple[str, ...] = ()
    """The engine's command without its options; this interpreter's own when empty."""
    start: bool = True

    @property
    def unit(self) -> str:
        """The instance's name."""
        return UNIT.replace("@", f"@{self.needs.name}")

    @property
    def drop_in(self) -> Path:
        """This host's file."""
        return self.units / f"{self.unit}.d" / DROP_IN


def system_choice(config_path: Path) -> ServiceChoice:
    """The system's service for a configuration, as the hotkey's owner. Raises ConfigInvalid."""
    path = config_path.resolve()
    needs = needs_of(load_config(path, check=False).config, path)
    units = Path(os.environ.get("BASILICA_UNIT_DIR") or SYSTEM_UNITS)
    return ServiceChoice(needs, False, units, owner_of(needs.hotkey) or "root")


def user_units(home: Path) -> Path:
    """Where a user's own units are."""
    return home / ".config/systemd/user"


def plan_install(choice: ServiceChoice, *, has_systemd: bool) -> Plan:
    """The steps. Raises ServiceFailed when the engine's name cannot be a unit's."""
    if not _INSTANCE.fullmatch(choice.needs.name):
        raise ServiceFailed(
            f"'{choice.needs.name}' cannot be part of a unit's name", hint="give [engine] name letters, digits, - and _"
        )
    steps: list[Step] = [
        MakeDirectory(need.path, "" if choice.for_user else choice.run_as)
        for need in choice.needs.writable
        if not need.path.exists()
    ]
    steps += handed_over(choice)
    steps.append(WriteFile(choice.units / UNIT, unit_text(for_user=choice.for_user)))
    steps.append(WriteFile(choice.drop_in, drop_in_text(choice)))
    if has_systemd:
        control = _systemctl(choice)
        steps.append(RunCommand((*control, "daemon-reload"), hint=_NO_BUS if choice.for_user else ""))
        steps.append(RunCommand((*control, "enable", choice.unit)))
        if choice.start:
            words = ("journalctl", *control[1:], "--unit", choice.unit, "--lines=20", "--output=cat", "--no-pager",
                     "_COMM!=systemd")  # fmt: skip
            steps.append(RunCommand((*control, "restart", choice.unit), explain=words))
    return Plan(f"install {choice.unit} for {choice.needs.config}", tuple(steps), tuple(_notes(choice, has_systemd)))


def plan_uninstall(choice: ServiceChoice, *, has_systemd: bool, others: bool) -> Plan:
    """The way back; the template goes too unless other instances use it. Data and configuration stay."""
    control = _systemctl(choice)
    steps: list[Step] = []
    if has_systemd:
        steps.append(RunCommand((*control, "disable", "--now", choice.unit), may_fail=True))
    steps.append(RemoveFile(choice.drop_in))
    if not others:
        steps.append(RemoveFile(choice.units / UNIT))
    if has_systemd:
        steps.append(RunCommand((*control, "daemon-reload")))
    notes = ("configuration, database, keys and wallet stay where they are",)
    return Plan(f"uninstall {choice.unit}", tuple(steps), notes)


def drop_in_text(choice: ServiceChoice) -> str:
    """Which user, program and files: everything that the template cannot know."""
    lines = [
        f"# Written by basilica-tui service install for {choice.needs.config}; run it again after moving files.",
        "[Service]",
        "ExecStart=",
        "ExecStart="
        + " ".join(quote(part) for part in (*_program(choice), "--daemon", "--config", str(choice.needs.config))),
        f"WorkingDirectory={quote_path(choice.needs.working_directory)}",
    ]
    if not choice.for_user:
        lines.append(f"User={choice.run_as}")
        lines += _paths(choice)
        if choice.needs.has_low_port:
            lines += ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    return "\n".join(lines) + "\n"


def handed_over(choice: ServiceChoice) -> list[ChangeOwner]:
    """Steps that give the service's user what it may not use yet; whose a hotkey is, a person decides."""
    return [ChangeOwner(need.path, choice.run_as) for need in _closed(choice) if not _is_guarded(need)]


def program_paths() -> tuple[Path, ...]:
    """What this installation of the engine consists of: its environment, Python's own, and the package."""
    package = Path(__file__).resolve().parents[2]
    inside = is_below(package, [Path(sys.prefix)])
    found = (Path(sys.prefix), Path(sys.base_prefix), *(() if inside else (package,)))
    return tuple(dict.fromkeys(found))


def _paths(choice: ServiceChoice) -> Iterator[str]:
    hidden = (*HOMES, *TEMPORARY)
    for path in program_paths():
        if is_below(path, hidden):
            yield f"# the program itself\nBindReadOnlyPaths={quote_path(path)}"
    writable = [need.path for need in choice.needs.writable]
    if is_below(choice.needs.working_directory, hidden) and not is_below(choice.needs.working_directory, writable):
        yield f"# where relative paths begin\nBindReadOnlyPaths={quote_path(choice.needs.working_directory)}"
    for need in choice.needs.readable:
        if is_below(need.path, hidden) and not is_below(need.path, writable):
            # The dash: without the file the engine itself says what is missing.
            yield f"# {need.what}\nBindReadOnlyPaths=-{quote_path(need.path)}"
    for need in choice.needs.writable:
        key = "BindPaths" if is_below(need.path, hidden) else "ReadWritePaths"
        yield f"# {need.what}\n{key}={quote_path(need.path)}"


def _is_guarded(need: Need) -> bool:
    return need.what in GUARDED or need.path.parent.name == ".ssh"


def _closed(choice: ServiceChoice) -> tuple[Need, ...]:
    """What the service's user may not use; a user's own service uses what that user can."""
    return () if choice.for_user else barred(choice.needs, choice.run_as)


def _program(choice: ServiceChoice) -> tuple[str, ...]:
    return choice.program or (sys.executable, "-m", "basilica_tui")


def _systemctl(choice: ServiceChoice) -> tuple[str, ...]:
    return ("systemctl", "--user") if choice.for_user else ("systemctl",)


def _notes(choice: ServiceChoice, has_systemd: bool) -> Iterator[str]:
    if not has_systemd:
        enable = " ".join((*_systemctl(choice), "enable", "--now", choice.unit))
        yield f"systemd does not run here, so the files are only written; where it runs: {enable}"
    if choice.for_user:
        yield "it stops when you log out, unless an administrator ran: loginctl enable-linger"
    elif choice.run_as == "root":
        yield "it runs as root, without any capability; a user of its own that owns the wallet would be better"
    for need in _closed(choice):
        if _is_guarded(need):
            whose = owner_words(need.path)
            yield f"{choice.run_as} may not use {need.what} {need.path} ({whose}): the engine will not start"
    for need in choice.needs.readable:
        if not need.path.exists():
            yield f"{need.what} {need.path} is not there yet; the engine will say so and be started again for ever"
        if need.what == "the node key" and need.path.parent.name == ".ssh":
            yield f"'keys rotate' cannot replace {need.path}: only the key is visible to the service, not its directory"
