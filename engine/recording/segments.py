"""The files of a recording that grows: segments that each begin with a keyframe, the oldest going first. Blocking.

Whatever cannot be written is taken back to the last whole block and said with one error; the caller decides when to
try again, and begins a new segment then.
"""

from __future__ import annotations

import calendar
import errno
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineAlreadyRunning, RecordingPaused
from engine.filelock import FileLock
from engine.recording.blocks import (
    BASE,
    EVENTS,
    FILE_HEAD,
    KEYFRAME,
    PLAIN,
    SERIES,
    SUFFIX,
    TROUBLE,
    Packer,
    dictionary_of,
    headers,
)

_NAME = re.compile(r"(\d{6,})-\d{8}T\d{6}Z" + re.escape(SUFFIX))
LOCK_NAME = "recording.lock"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, and how much room is left to others."""

    retention_s: float
    max_bytes: int
    min_free_bytes: int

    @property
    def segment_bytes(self) -> int:
        """A segment that has grown to this is followed by a new one, so that the oldest part that goes is small."""
        return min(32 * 1024 * 1024, self.max_bytes // 8)


@dataclass(frozen=True, slots=True)
class Lines:
    """Events as lines, in order."""

    lines: tuple[bytes, ...]
    first_at: float
    last_at: float
    has_trouble: bool
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """How large the recording is, and when it begins."""

    bytes: int
    segments: int
    oldest_at: float | None


class Segments:
    """The directory of one engine's recording. One writer at a time, held by a lock."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory = directory
        self.limits = limits
        self._lock = FileLock(directory / LOCK_NAME)
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._packer = Packer()
        self._sizes: dict[Path, int] = {}
        self.size = 0
        """Bytes of the segment that is being written; 0 when there is none."""

    @property
    def is_open(self) -> bool:
        """Whether there is a segment to add to."""
        return self._descriptor is not None

    def begin(self, keyframe: bytes, at: float) -> None:
        """Start a segment. Raises RecordingPaused."""
        try:
            self._prepare()
            self._finish()
            number = 1 + max((_number(path) for path in self._sizes), default=0)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
            path = self._directory / f"{number:06d}-{stamp}{SUFFIX}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
            self._path, self.size, self._sizes[path] = path, 0, 0
            block = Packer().pack(KEYFRAME, keyframe, first_at=at, last_at=at, count=1)
            self._write(FILE_HEAD + block)
            self._packer = Packer(dictionary_of(keyframe))
        except OSError as error:
            raise self._broken(error) from error

    def append(self, batch: Lines) -> None:
        """Add a block of events to the segment. Raises RecordingPaused."""
        block = self._packer.pack(
            EVENTS,
            b"\n".join(batch.lines),
            first_at=batch.first_at,
            last_at=batch.last_at,
            count=len(batch.lines),
            flags=(TROUBLE if batch.has_trouble else 0) | (PLAIN if batch.is_plain else 0),
        )
        self._put(block)

    def append_series(self, lines: Sequence[bytes], at: float, *, is_base: bool = False) -> None:
        """Add a block of buckets of the time series. Raises RecordingPaused."""
        flags = BASE if is_base else 0
        raw = b"\n".join(lines)
        self._put(self._packer.pack(SERIES, raw, first_at=at, last_at=at, count=len(lines), flags=flags))

    def last_base_at(self, since: float) -> float | None:
        """When a base of the time series was last written, if that was after ``since``."""
        for path in sorted(self._found(), key=_number, reverse=True):
            if path != self._path and _modified(path) < since:
                return None
            try:
                with path.open("rb") as file:
                    blocks = headers(file, path.stat().st_size)
                    found = [block.first_at for block in blocks if block.kind == SERIES and block.flags & BASE]
            except OSError:
                continue
            if found:
                return max(found) if max(found) > since else None
        return None

    def prune(self, now: float, room: int = 0) -> None:
        """Remove what is too old or too much, oldest first; the segment that is being written stays."""
        for path in sorted(self._sizes, key=_number):
            is_over = sum(self._sizes.values()) + room > self.limits.max_bytes
            if path == self._path or not (is_over or _modified(path) < now - self.limits.retention_s):
                return
            path.unlink(missing_ok=True)
            del self._sizes[path]

    def measure(self) -> Measure:
        """What is there now."""
        oldest = min(self._sizes, key=_number, default=None)
        return Measure(sum(self._sizes.values()), len(self._sizes), None if oldest is None else _begun(oldest))

    def close(self) -> None:
        """Finish the segment and let the directory go."""
        try:
            self._finish()
        except OSError:
            self._abandon()
        self._lock.release()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._lock.is_held:
            try:
                self._lock.acquire(f"the recording in {self._directory}")
            except EngineAlreadyRunning as error:
                raise RecordingPaused(error.message, hint="give each engine its own [recording] directory") from None
        self._sizes = {path: path.stat().st_size for path in self._found()}

    def _found(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        return [p for p in self._directory.iterdir() if _NAME.fullmatch(p.name) and p.is_file()]

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        assert self._path is not None
        free = shutil.disk_usage(self._directory).free
        if free - len(data) < self.limits.min_free_bytes:
            raise OSError(
                errno.ENOSPC,
                f"{free / 1e6:,.0f} MB free, recording stops below {self.limits.min_free_bytes / 1e6:,.0f} MB",
            )
        self.prune(0.0, len(data))
        written = 0
        while written < len(data):
            written += os.write(self._descriptor, data[written:])
        self.size += written
        self._sizes[self._path] = self.size

    def _put(self, block: bytes) -> None:
        try:
            self._write(block)
        except OSError as error:
            raise self._broken(error) from error

    def _finish(self) -> None:
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)
            self._abandon()

    def _abandon(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._path, self.size = None, None, 0

    def _broken(self, error: OSError) -> RecordingPaused:
        """Take back what was half written; the segment is left as it is and never continued."""
        if self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, self.size)
                if self.size == 0 and self._path is not None:
                    self._path.unlink(missing_ok=True)
                    self._sizes.pop(self._path, None)
            except OSError:
                pass  # the reader skips half a block
        self._abandon()
        return RecordingPaused(
            f"{self._directory}: {error.strerror or error}", hint="free some space there, or lower [recording] max_size"
        )


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _begun(path: Path) -> float | None:

    try:
        return float(calendar.timegm(time.strptime(path.name.partition("-")[2], f"%Y%m%dT%H%M%SZ{SUFFIX}")))
    except ValueError:
        return None
