"""Looking for the deployed miner on this host: processes of its name, what runs them, and what would start it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engine.deployment.files import UNIT
from engine.diagnostics.container_facts import Container
from engine.diagnostics.host_facts import OldMiner
from engine.diagnostics.look_docker import PROGRAMS, is_old_miner, look_at_containers
from engine.diagnostics.look_systemd import UnitState, ask_unit, container_of, group_of
from engine.errors import BasilicaError
from engine.lifecycle.imports.container import PREFIX
from engine.lifecycle.imports.find import UNIT_FOLDERS, find_deployment
from engine.lifecycle.imports.systemd import Unit, read_unit

_MOST = 8
_LONGEST = 4096
_WANTS = Path("/etc/systemd/system/multi-user.target.wants")


def look_at_old_miner(instance: str) -> OldMiner:
    """What runs, and what would run at the next boot. ``instance`` is our own service's."""
    has_systemd = Path("/run/systemd/system").is_dir()
    running = {
        pid: (group_of(pid), f"process {pid}: {' '.join(command)[:120]}")
        for pid, command in processes()
        if Path(command[0]).name.lower() in PROGRAMS
    }
    units = {unit.path.name: unit for unit in _units()}
    states = {name: _state(name, has_systemd) for name in units}
    if has_systemd:
        for unit in _units_of({pid: group for pid, (group, _) in running.items()}, states):
            units.setdefault(unit.path.name, unit)
    containers = look_at_containers(is_old_miner)
    groups = {pid: group for pid, (group, _) in running.items()}
    chosen = choose_unit(states, groups)
    state = states.get(chosen, UnitState())
    enabled = [f"unit {name} is enabled" for name, one in states.items() if one.enabled == "enabled"]
    boxed = [one for one in containers if one.runs or one.starts_again]
    known = {one.id for one in containers}
    config, source = _config(units.get(chosen), state.runs, boxed)
    own = UNIT.replace("@", f"@{instance}")
    return OldMiner(
        seen=tuple([*(words for _, words in running.values()), *(one.words for one in boxed), *enabled][:_MOST]),
        is_running=bool(running) or any(one.runs for one in containers),
        is_enabled=bool(enabled) or any(one.starts_again for one in containers),
        unit=chosen,
        unit_runs=state.runs,
        unit_enabled=state.enabled == "enabled",
        config=config,
        source=source,
        loose=tuple(
            pid
            for pid, group in groups.items()
            if container_of(group) not in known and not any(one.has(pid, group) for one in states.values())
        ),
        containers=containers,
        own_unit=own if has_systemd and ask_unit(own).runs else "",
    )


def _config(unit: Unit | None, unit_runs: bool, containers: Sequence[Container]) -> tuple[str, str]:
    """Where the set-up is: what runs counts, and a container's mounts are known to Docker alone."""
    box = next((one for one in containers if one.runs), None)
    if box is None and not unit_runs and containers:
        box = containers[0]
    if box is not None:
        source = f"{PREFIX}{box.name}"
        try:
            return str(find_deployment(Path(source)).config_path), source
        except BasilicaError:  # reading it is a step of the plan, which says why it cannot be done
            return "", source
    path = str(unit.config) if unit is not None else ""
    return (path, path) if path and Path(path).is_file() else ("", "")


def choose_unit(states: Mapping[str, UnitState], running: Mapping[int, str]) -> str:
    """The unit that is meant: one that has a process of the miner, else one that runs, else one that is enabled.

    ``running`` has the control group of every process. A process of the name elsewhere says nothing about a unit: it
    may be in a container, or started by hand.
    """

    def rank(name: str) -> tuple[bool, bool, bool]:
        state = states[name]
        owns = any(state.has(pid, group) for pid, group in running.items())
        return not owns, not state.runs, state.enabled != "enabled"

    return min(states, key=rank, default="")


def processes() -> Iterator[tuple[int, list[str]]]:
    """Number and words of every process that this user may see."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()[:_LONGEST].decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if words[0]:
            yield int(entry.name), [word for word in words if word]


def _state(name: str, has_systemd: bool) -> UnitState:
    if has_systemd:
        return ask_unit(name)
    link = _WANTS / name
    return UnitState(enabled="enabled" if link.is_symlink() or link.exists() else "")


def _units() -> Iterator[Unit]:
    for folder in UNIT_FOLDERS:
        for path in sorted(Path("/", folder).glob("*.service")):
            if "basil" in path.name.lower() and "miner" in path.name.lower():
                unit = read_unit(path, Path("/"))
                if unit is not None:
                    yield unit


def _units_of(running: Mapping[int, str], states: dict[str, UnitState]) -> Iterator[Unit]:
    """Units of any other name whose main process is a miner; what only has one somewhere below (cron) is not meant."""
    for pid, group in running.items():
        name = group.rpartition("/")[2]
        if not group.startswith("/system.slice/") or not name.endswith(".service") or name in states:
            continue
        state = ask_unit(name)
        paths = (Path("/", folder, name) for folder in UNIT_FOLDERS)
        unit = next((found for path in paths if path.is_file() and (found := read_unit(path, Path("/")))), None)
        if state.main_pid == pid and unit is not None:
            states[name] = state
            yield unit
