"""The log in a file of its own, rotated by size, and what journald wants of a stream that it reads."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, TextIO

from engine.errors import ConfigInvalid

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


@dataclass(frozen=True, slots=True)
class LogFile:
    """Where, and how much: ``max_files`` older ones are kept as ``path.1``, ``path.2`` and so on."""

    path: Path
    max_bytes: int
    max_files: int


class _FileHandler(RotatingFileHandler):
    """Rotates, is readable by its owner only, and never makes a full disk worse by complaining about it."""

    def _open(self) -> IO[str]:  # type: ignore[override]  # narrower in the stubs than what the handler needs
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - overrides logging's name
        """A line that cannot be written is on stderr and in the ring already."""

    def close(self) -> None:
        """Let the file go; what a full disk did not take is lost."""
        with contextlib.suppress(OSError):
            super().close()


def open_log_file(file: LogFile) -> logging.Handler:
    """A handler for the file; its directory is made.

    Raises:
        ConfigInvalid: it cannot be written.
    """
    path = file.path
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return _FileHandler(path, maxBytes=file.max_bytes, backupCount=file.max_files)
    except OSError as error:
        raise ConfigInvalid(
            f"logging.file: {path} cannot be written: {error.strerror}",
            hint="name a file in a directory that the engine's user may write, or remove the key",
        ) from error


def is_read_by_journal(stream: TextIO) -> bool:
    """Whether journald reads this very stream; JOURNAL_STREAM alone is inherited by streams that it does not read."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def for_journal(text: str, level: str) -> str:
    """Each line with the priority that journald takes off and files it under."""
    prefix = f"<{PRIORITIES.get(level, 6)}>"
    return "\n".join(prefix + line for line in text.split("\n"))
