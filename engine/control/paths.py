"""Where control sockets are, for engines that make them and consoles that look for them."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

SOCKET_NAME = "engine.sock"
DEFAULT_NAME = "default"
KNOCK_S = 0.5
SERVICES = Path("/run/basilica")
"""Of engines that root or a service manager started; `deploy/systemd` names the same directory."""


def default_socket(name: str) -> Path:
    """Where an engine called ``name`` makes its socket; without a name that is ``default``.

    A service manager that made a runtime directory for the engine says so in ``RUNTIME_DIRECTORY``.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if given.startswith("/"):
        return Path(given) / SOCKET_NAME
    return _private_bases()[0] / _directory_name(name) / SOCKET_NAME


def socket_to_call(name: str) -> Path:
    """The socket of the engine called ``name`` from a console's side: the first behind which somebody listens, else the
    first there is (an engine that is starting, or was killed), else the default one."""
    places = [base / _directory_name(name) / SOCKET_NAME for base in _bases()]
    there = [path for path in places if _is_socket(path)]
    if len(there) > 1:
        there.sort(key=lambda path: not is_listening(path))
    return there[0] if there else default_socket(name)


def find_sockets() -> list[Path]:
    """Sockets of this user's engines, whether or not one still answers there, newest first."""
    found = {path for base in _bases() for path in _sockets_below(base)}
    return sorted(found, key=_modified, reverse=True)


def find_listening() -> list[Path]:
    """Those of them behind which somebody listens; a killed engine leaves its socket behind."""
    return [path for path in find_sockets() if is_listening(path)]


def is_listening(path: Path) -> bool:
    """Whether a connection is taken, or would be as soon as there is room in the queue."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(KNOCK_S)
        try:
            caller.connect(str(path))
        except (TimeoutError, BlockingIOError):
            return True
        except OSError:
            return False
    return True


def _bases() -> list[Path]:
    """Private places first, then where system services have theirs; those of other users cannot be entered."""
    return list(dict.fromkeys([*_private_bases(), SERVICES]))


def _private_bases() -> list[Path]:
    home = Path.home() / ".local/state/basilica/run"
    if os.geteuid() == 0:
        return [SERVICES, home]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [Path(runtime) / "basilica", home] if runtime else [home]


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:
        return False


def _sockets_below(base: Path) -> list[Path]:
    try:
        return [path for path in base.glob(f"*/{SOCKET_NAME}") if _is_socket(path)]
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
