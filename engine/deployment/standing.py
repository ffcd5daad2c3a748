"""How a service stood before it was changed, and the way back to exactly that.

Noted are the unit's own files, its state with systemd, and owner and mode of what the engine uses: an installation
gives files to the service's user, and a failed one has to return them. What an engine wrote is never deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.deployment.files import UNIT
from engine.deployment.install import ServiceChoice
from engine.deployment.needs import EngineNeeds
from engine.deployment.steps import RunCommand
from engine.errors import ServiceFailed

_ASK_S = 15.0
_RUNNING = frozenset({"active", "activating", "reloading"})


@dataclass(frozen=True, slots=True)
class Holding:
    """Whose a file or directory was, and its mode."""

    path: Path
    uid: int
    gid: int
    mode: int

    def put_back(self) -> None:
        """Only where it differs now; what is gone stays gone. Raises OSError."""
        try:
            now = self.path.lstat()
        except FileNotFoundError:
            return
        if (now.st_uid, now.st_gid) != (self.uid, self.gid):
            os.chown(self.path, self.uid, self.gid, follow_symlinks=False)
        if not stat.S_ISLNK(now.st_mode):
            self.path.chmod(self.mode)  # after the owner, whose change drops bits


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A file of the unit. ``content`` is None where there was none."""

    path: Path
    content: bytes | None
    holding: Holding | None = None

    def put_back(self) -> None:
        """Raises OSError."""
        if self.content is None or self.holding is None:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(self.content)
        Path(temporary).replace(self.path)
        self.holding.put_back()


@dataclass(frozen=True, slots=True)
class Standing:
    """A service at one moment. ``enabled`` is systemd's word, empty where it does not run."""

    unit: str
    has_systemd: bool
    enabled: str
    is_active: bool
    files: tuple[UnitFile, ...]
    holdings: tuple[Holding, ...]
    absent: tuple[Path, ...]
    """Directories that were not there, the deepest first."""


def note_standing(choice: ServiceChoice, *, has_systemd: bool) -> Standing:
    """Look at a system's service before it is installed. Raises ServiceFailed for files that cannot be read."""
    said = _ask(choice.unit) if has_systemd else {}
    try:
        files = tuple(_file(path) for path in (choice.units / UNIT, choice.drop_in))
        holdings = tuple(_holding(path) for path in _used(choice.needs))
        absent = _absent([*(need.path for need in choice.needs.writable), choice.drop_in.parent])
    except OSError as error:
        raise ServiceFailed(f"cannot read {error.filename}: {error.strerror}", hint="run it as root (sudo)") from error
    return Standing(
        unit=choice.unit,
        has_systemd=has_systemd,
        enabled=said.get("UnitFileState", ""),
        is_active=said.get("ActiveState", "") in _RUNNING,
        files=files,
        holdings=holdings,
        absent=absent,
    )


def put_back(standing: Standing) -> None:
    """Stop what was started meanwhile, then files, owners and state as they were; a service that ran runs again.

    Raises:
        ServiceFailed: what could not be done; everything else was done nevertheless.
    """
    failures: list[str] = []

    def systemctl(*words: str, may_fail: bool = False) -> None:
        if not standing.has_systemd:
            return
        try:
            RunCommand(("systemctl", *words), may_fail=may_fail).run()
        except ServiceFailed as error:
            failures.append(error.message)

    systemctl("disable", "--now", standing.unit, may_fail=True)  # there may be no such unit
    changed: tuple[UnitFile | Holding, ...] = (*standing.files, *standing.holdings)
    for one in changed:
        try:
            one.put_back()
        except OSError as error:
            failures.append(f"{one.path}: {error.strerror or error}")
    for path in standing.absent:
        with contextlib.suppress(OSError):  # something was written there: it stays
            path.rmdir()
    systemctl("daemon-reload")
    systemctl("reset-failed", standing.unit, may_fail=True)
    if standing.enabled.startswith("enabled"):
        systemctl("enable", *(["--runtime"] if standing.enabled == "enabled-runtime" else []), standing.unit)
    if standing.is_active:
        systemctl("restart", standing.unit)
    if failures:
        raise ServiceFailed("; ".join(failures), hint="do that by hand")


def _used(needs: EngineNeeds) -> list[Path]:
    """What an installation may give away: everything that is needed, and the files directly below its directories."""
    found: dict[Path, None] = {}
    for need in needs.needs:
        if need.path.exists():
            found[need.path] = None
            inside = need.path.iterdir() if need.path.is_dir() else ()
            found |= dict.fromkeys(path for path in inside if not path.is_dir())
    return list(found)


def _file(path: Path) -> UnitFile:
    try:
        return UnitFile(path, path.read_bytes(), _holding(path))
    except FileNotFoundError:
        return UnitFile(path, None)


def _holding(path: Path) -> Holding:
    found = path.lstat()
    return Holding(path, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


def _absent(paths: Iterable[Path]) -> tuple[Path, ...]:
    missing = {one for path in paths for one in (path, *path.parents) if not one.exists()}
    return tuple(sorted(missing, key=lambda path: len(path.parts), reverse=True))


def _ask(unit: str) -> dict[str, str]:
    if shutil.which("systemctl") is None:
        return {}
    words = ("systemctl", "show", "--no-pager", "-p", "ActiveState,UnitFileState", unit)
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceFailed(f"systemd does not say how {unit} stands", hint="try systemctl status") from error
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())
