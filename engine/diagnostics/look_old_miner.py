"""Looking for the deployed miner on this host: processes of its name, and a unit that starts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.diagnostics.host_facts import OldMiner
from engine.lifecycle.imports.find import UNIT_FOLDERS
from engine.lifecycle.imports.systemd import Unit, read_unit

_PROGRAMS = {"basilica-miner", "basilca-miner"}
"""The network spells its own name in two ways."""
_MOST = 8
_LONGEST = 4096
_WANTS = Path("/etc/systemd/system/multi-user.target.wants")


def look_at_old_miner() -> OldMiner:
    """What runs, and what would run at the next boot; an enabled unit is named before one that is not."""
    running = [
        f"process {pid}: {' '.join(command)[:120]}"
        for pid, command in processes()
        if Path(command[0]).name.lower() in _PROGRAMS
    ]
    units = sorted(_units(), key=lambda unit: not _is_enabled(unit))
    enabled = [f"unit {unit.path.name} is enabled" for unit in units if _is_enabled(unit)]
    chosen = units[0] if units else None
    return OldMiner(
        seen=tuple([*running, *enabled][:_MOST]),
        is_running=bool(running),
        is_enabled=bool(enabled),
        unit=chosen.path.name if chosen is not None else "",
        config=str(chosen.config) if chosen is not None and Path(chosen.config).is_file() else "",
    )


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


def _units() -> Iterator[Unit]:
    for folder in UNIT_FOLDERS:
        for path in sorted(Path("/", folder).glob("*.service")):
            if "basil" in path.name.lower() and "miner" in path.name.lower():
                unit = read_unit(path, Path("/"))
                if unit is not None:
                    yield unit


def _is_enabled(unit: Unit) -> bool:
    link = _WANTS / unit.path.name
    return link.is_symlink() or link.exists()
