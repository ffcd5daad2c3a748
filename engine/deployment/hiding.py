"""What a unit's hardening hides from the engine that it starts: the classic reason for "no such wallet" under systemd.

The published unit of the deployed miner had ``ProtectHome=yes`` and its wallet below ``/root``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.deployment.needs import EngineNeeds, Need
from engine.deployment.settings import UnitSettings

HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what PrivateTmp replaces
_YES = {"yes", "true", "1", "on"}
_ALWAYS_WRITABLE = (Path("/dev"), Path("/proc"), Path("/sys"))
_SYSTEM = (Path("/usr"), Path("/boot"), Path("/efi"))


@dataclass(frozen=True, slots=True)
class Hidden:
    """One need that the unit does not meet: which setting is in the way, and the line that would help."""

    need: Need
    setting: str
    cure: str

    @property
    def words(self) -> str:
        """One sentence."""
        verb = "written" if self.need.writable else "read"
        return f"{self.need.what} {self.need.path} cannot be {verb} by the service: {self.setting}; add {self.cure}"


def is_below(path: Path, tops: Iterable[Path]) -> bool:
    """Whether a path is one of these or lies below one."""
    return any(path == top or top in path.parents for top in tops)


def hidden_by(unit: UnitSettings, needs: EngineNeeds) -> tuple[Hidden, ...]:
    """Every need that this unit's sandbox does not meet, by the rules of systemd.exec(5)."""
    found = (_judge(unit, need) for need in needs.needs)
    return tuple(hidden for hidden in found if hidden is not None)


def _judge(unit: UnitSettings, need: Need) -> Hidden | None:
    path = need.path
    bound = unit.paths("BindPaths")
    seen = (*bound, *unit.paths("BindReadOnlyPaths"))
    cure = f"BindPaths={path}" if need.writable else f"BindReadOnlyPaths={path}"
    barred = unit.paths("InaccessiblePaths")
    if is_below(path, barred):
        return Hidden(need, f"InaccessiblePaths={' '.join(map(str, barred))}", "no such line for it")
    home = unit.get("ProtectHome", "no").lower()
    if is_below(path, HOMES) and home in _YES:  # systemd drops binds below what it makes inaccessible
        return Hidden(need, f"ProtectHome={home} hides it", f"ProtectHome=tmpfs and {cure}")
    is_bound = is_below(path, seen)
    covered = [Path(text.partition(":")[0]) for text in unit.lists.get("TemporaryFileSystem", ())]
    if is_below(path, covered) and not is_bound:
        return Hidden(need, "TemporaryFileSystem= covers it", cure)
    if is_below(path, HOMES) and home == "tmpfs" and not is_bound:
        return Hidden(need, f"ProtectHome={home} hides it", cure)
    is_private = unit.get("PrivateTmp", "no").lower() in _YES
    if is_private and is_below(path, TEMPORARY) and not is_bound:
        return Hidden(need, "PrivateTmp=yes replaces the directory", cure)
    return _judge_writing(unit, need, bound) if need.writable else None


def _judge_writing(unit: UnitSettings, need: Need, bound: tuple[Path, ...]) -> Hidden | None:
    path = need.path
    if is_below(path, unit.paths("ReadOnlyPaths")):
        return Hidden(need, "ReadOnlyPaths= names it", f"ReadWritePaths={path}")
    if is_below(path, bound) or is_below(path, unit.paths("ReadWritePaths")) or is_below(path, _granted(unit)):
        return None
    if is_below(path, unit.paths("BindReadOnlyPaths")):
        return Hidden(need, "BindReadOnlyPaths= shows it, but only for reading", f"BindPaths={path}")
    if is_below(path, HOMES) and unit.get("ProtectHome").lower() == "read-only":
        return Hidden(need, "ProtectHome=read-only", f"ReadWritePaths={path}")
    system = unit.get("ProtectSystem", "no").lower()
    closed: tuple[Path, ...] = ()
    if system == "strict" and not is_below(path, _ALWAYS_WRITABLE):
        closed = (Path("/"),)
    elif system == "full":
        closed = (*_SYSTEM, Path("/etc"))
    elif system in _YES:
        closed = _SYSTEM
    return Hidden(need, f"ProtectSystem={system}", f"ReadWritePaths={path}") if is_below(path, closed) else None


def _granted(unit: UnitSettings) -> tuple[Path, ...]:
    """Directories that systemd makes for the service."""
    tops = {"RuntimeDirectory": "/run", "StateDirectory": "/var/lib", "LogsDirectory": "/var/log"}
    return tuple(Path(top) / name for key, top in tops.items() for name in unit.get(key).split())
