"""Making the control socket where nobody else can reach or replace it, and never stealing a live one."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

from engine.errors import ControlSocketUnusable
from engine.filelock import FileLock

PATH_LIMIT_BYTES = 100
"""The kernel's own limit is 107; the rest is room for a name that a script appends."""
LOCK_NAME = "engine.lock"
BACKLOG = 32
_CREDENTIALS = struct.Struct("3i")


class Endpoint:
    """One socket path. Only the holder of the lock beside it may remove what an earlier engine left there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.parent / LOCK_NAME)

    def open(self) -> socket.socket:
        """Check the place, take the lock, replace a stale socket, and listen.

        Raises:
            EngineAlreadyRunning: a live engine holds this place.
            ControlSocketUnusable: the path is too long, or its directory is not ours alone.
        """
        _check_length(self.path)
        try:
            _prepare_directory(self.path.parent)
            self._lock.acquire(f"control socket {self.path}")
        except OSError as error:
            raise ControlSocketUnusable(
                f"control socket {self.path} cannot be made: {error.strerror}",
                hint="check the directory, or name another place with [engine] socket",
            ) from error
        try:
            self._remove_stale()
            return _listen(self.path)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Remove the socket and let the place go."""
        if self._lock.is_held:
            self.path.unlink(missing_ok=True)
            self._lock.release()

    def _remove_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ControlSocketUnusable(
                f"{self.path} exists and is not a socket", hint="look what it is, and move it away by hand"
            )
        self.path.unlink()


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Process id and user id on the other end, as the kernel knows them."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def _check_length(path: Path) -> None:
    size = len(os.fsencode(path))
    if size > PATH_LIMIT_BYTES:
        raise ControlSocketUnusable(
            f"control socket path {path} has {size} bytes, the limit is {PATH_LIMIT_BYTES}",
            hint="name a shorter one with [engine] socket",
        )


def _prepare_directory(directory: Path) -> None:
    if not os.path.lexists(directory):
        old = os.umask(0o077)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        finally:
            os.umask(old)
    found = directory.lstat()
    problem = ""
    if stat.S_ISLNK(found.st_mode):
        problem = "is a symbolic link"
    elif not stat.S_ISDIR(found.st_mode):
        problem = "is not a directory"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to uid {found.st_uid}, not to us"
    elif found.st_mode & 0o077:
        problem = f"has mode {stat.S_IMODE(found.st_mode):04o}, others could reach the socket"
    if problem:
        raise ControlSocketUnusable(
            f"directory {directory} of the control socket {problem}",
            hint=f"chmod 700 {directory}, or name another place with [engine] socket",
        )


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o077)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ControlSocketUnusable(f"control socket {path} cannot be bound: {error.strerror}") from error
    finally:
        os.umask(old)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
