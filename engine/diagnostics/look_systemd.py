"""What systemd says about one unit, and to which unit or container a process belongs."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ASK_S = 5.0
_SHOWN = ("ActiveState", "SubState", "UnitFileState", "MainPID", "ControlGroup")
_CONTAINER = re.compile(r"(?:^|[/-])(?:docker|libpod)[-/]([0-9a-f]{64})(?:\.scope)?(?:/|$)")


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit by systemd's own word; everything is empty where systemd does not answer."""

    active: str = ""
    sub: str = ""
    enabled: str = ""
    main_pid: int = 0
    group: str = ""
    """Path of its control group, empty while it does not run."""

    @property
    def runs(self) -> bool:
        """Whether systemd runs it, or is about to."""
        return self.active in ("active", "activating", "reloading")

    def has(self, pid: int, group: str) -> bool:
        """Whether a process is one of this unit's: its main process, or one of its control group."""
        return pid == self.main_pid or (bool(self.group) and f"{group}/".startswith(f"{self.group}/"))


def ask_unit(unit: str, *, for_user: bool = False) -> UnitState:
    """Ask systemd, or this user's own; nothing is known where it does not run or does not answer."""
    words = ("systemctl", *(["--user"] if for_user else []), "show", "--no-pager", "-p", ",".join(_SHOWN), unit)
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return UnitState()
    said = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    pid = said.get("MainPID", "")
    return UnitState(
        said.get("ActiveState", ""),
        said.get("SubState", ""),
        said.get("UnitFileState", ""),
        int(pid) if pid.isdigit() else 0,
        said.get("ControlGroup", ""),
    )


def group_of(pid: int) -> str:
    """A process's control group as systemd and Docker count them; empty when unknown."""
    try:
        return read_group(Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace"))
    except OSError:
        return ""


def read_group(text: str) -> str:
    """``/proc/PID/cgroup``: version 2, else systemd's own hierarchy of version 1, else any other; whichever says more
    than the root. A host may have both versions, and use one."""
    groups = {
        names: path for _, names, path in (line.split(":", 2) for line in text.splitlines() if line.count(":") > 1)
    }
    first = [groups.get("", ""), groups.get("name=systemd", "")]
    return next((path for path in [*first, *groups.values()] if path not in ("", "/")), "/" if groups else "")


def container_of(group: str) -> str:
    """The id of the container that a control group is, empty when it is none."""
    found = _CONTAINER.search(group)
    return found[1] if found else ""
