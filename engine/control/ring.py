"""The engine's last log lines, in memory, for consoles."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping

from engine.control.models import LogRecord

TEXT_LIMIT = 2_000
FIELDS_LIMIT = 40


class LogRing:
    """A ring of the last ``size`` lines, numbered from 1 without holes; any thread may add."""

    def __init__(self, size: int = 5_000) -> None:
        self._size = size
        self._records: list[LogRecord] = []
        self._last = 0
        self._lock = threading.Lock()

    @property
    def last_seq(self) -> int:
        """The number of the newest line, 0 when there was none."""
        return self._last

    @property
    def first_seq(self) -> int:
        """The number of the oldest line that is still here; one past the newest when there is none."""
        return self._last - len(self._records) + 1

    def add(self, at: float, level: str, event: str, fields: Mapping[str, object]) -> LogRecord:
        """Keep one line; long texts are cut so that a line always fits into a frame."""
        if len(fields) > FIELDS_LIMIT:
            fields = dict(itertools.islice(fields.items(), FIELDS_LIMIT))
        kept = {name[:100]: _short(value) for name, value in fields.items()}
        with self._lock:
            record = LogRecord(self._last + 1, at, level, event[:TEXT_LIMIT], kept)
            if len(self._records) < self._size:
                self._records.append(record)
            else:
                self._records[self._last % self._size] = record
            self._last = record.seq
        return record

    def after(self, seq: int, limit: int = 500) -> list[LogRecord]:
        """Up to ``limit`` lines that came after line ``seq``, oldest first; those that are gone are left out."""
        with self._lock:
            start = max(seq + 1, self.first_seq)
            stop = min(start + limit, self._last + 1)
            return [self._records[(number - 1) % self._size] for number in range(start, stop)]


def _short(value: object) -> str:
    text = value if type(value) is str else str(value)
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "…"
