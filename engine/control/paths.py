"""Where control sockets are, for engines that make them and consoles that look for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

SOCKET_NAME = "engine.sock"
DEFAULT_NAME = "default"


def default_socket(name: str) -> Path:
    """The socket of the engine called ``name``; without a name that is ``default``."""
    return next(iter(_bases())) / _directory_name(name) / SOCKET_NAME


def find_sockets() -> list[Path]:
    """Sockets of this user's engines, whether or not one still answers there, newest first."""
    found = {path for base in _bases() for path in _sockets_below(base)}
    return sorted(found, key=_modified, reverse=True)


def _bases() -> Iterator[Path]:
    if os.geteuid() == 0:
        yield Path("/run/basilica")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.geteuid() != 0:
        yield Path(runtime) / "basilica"
    yield Path.home() / ".local/state/basilica/run"


def _sockets_below(base: Path) -> list[Path]:
    try:
        return [path for path in base.glob(f"*/{SOCKET_NAME}") if path.is_socket()]
    except OSError:
        return []


def _directory_name(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40]
    return safe or DEFAULT_NAME


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
