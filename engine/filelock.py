"""One process at a time: an advisory lock on a file, with the holder's pid inside."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from engine.errors import EngineAlreadyRunning


class FileLock:
    """``flock`` on a file that stays behind: removing it would let two processes lock two files of one name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, thing: str) -> None:
        """Take the lock at once or not at all; ``thing`` is what it protects, for the message.

        Raises:
            EngineAlreadyRunning: another process has it.
            OSError: the file cannot be opened (a symbolic link is refused) or the file system cannot lock.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = _pid(os.pread(descriptor, 32, 0))
            os.close(descriptor)
            holder = "another engine" if pid is None else f"another engine (pid {pid})"
            raise EngineAlreadyRunning(
                f"{holder} already uses {thing}", hint="stop that one first, or give this one its own place"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; harmless when nothing is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _pid(content: bytes) -> int | None:
    text = content.strip()
    return int(text) if text.isdigit() else None
