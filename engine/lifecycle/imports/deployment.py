"""A deployed miner's set-up as it was found: its file, and how its process saw the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path that a container saw under another one."""

    host: PurePosixPath
    container: PurePosixPath


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and how the deployed process ran. Paths are those of its own machine."""

    kind: str
    """``systemd``, ``docker`` or ``file``."""
    working_directory: PurePosixPath
    home: PurePosixPath
    user: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    """Published container ports: outside, inside."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was found. ``root`` is where the machine's file system begins here."""

    config_path: Path
    data: Mapping[str, Any]
    around: Surroundings
    root: Path
    found_by: tuple[str, ...] = ()
    also: tuple[Path, ...] = ()
    """Other files that could have been meant."""

    def locate(self, text: str) -> PurePosixPath | None:
        """Where a path of the configuration lies on the host; None when it was inside a container only."""
        path = PurePosixPath(text)
        if path.parts[:1] == ("~",):
            path = self.around.home.joinpath(*path.parts[1:])
        path = normal(self.around.working_directory / path)
        if self.around.kind != "docker":
            return path
        matching = [m for m in self.around.mounts if path == m.container or m.container in path.parents]
        if not matching:
            return None
        mount = max(matching, key=lambda m: len(m.container.parts))
        return normal(mount.host / path.relative_to(mount.container))

    def here(self, path: PurePosixPath) -> Path:
        """A path of that machine as it is reached from this process."""
        return on_root(self.root, path)


def on_root(root: Path, path: PurePosixPath) -> Path:
    """An absolute path below another root."""
    return root.joinpath(*path.parts[1:]) if path.is_absolute() else root / path


def normal(path: PurePosixPath) -> PurePosixPath:
    """Without ``.`` and ``..``; no link is looked at, the machine may be another one."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "/":
            parts.pop()
        elif part != "..":
            parts.append(part)
    return PurePosixPath(*parts)
