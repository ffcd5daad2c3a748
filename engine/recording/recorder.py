"""The service that writes down what happens: off the loop, in small blocks, never in the way of the engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.clock import Clock, sleep_or_wake
from engine.config.common import RecordingConfig
from engine.control.models import LogRecord
from engine.control.ring import LogRing
from engine.control.state import LiveState
from engine.errors import RecordingPaused, StoreUnusable
from engine.events import Event, EventSink, RecordingHalted, RecordingMeasured, RecordingResumed
from engine.observe.history_rules import Bucket, unpack
from engine.recording.keyframes import FREQUENT, event_line, is_trouble, keyframe_of, log_line
from engine.recording.segments import Limits, Lines, Measure, Segments
from engine.recording.series import CARRIED, SeriesLines

FLUSH_S = 2.0
FLUSH_EVENTS = 2_000
QUEUE_EVENTS = 50_000
SEGMENT_EVENTS = 20_000
"""Replay folds at most so many events from a keyframe to the moment that it opens."""
RETRY_S = 30.0
MEASURE_S = 60.0
LOGS_AT_ONCE = 5_000
BASE_EVERY_S = 86_400.0
BASE_AFTER_START_S = 3600.0
"""An engine that is started again and again does not write all that is known each time."""
BASE_BYTES = 4_000_000
"""Of lines in one block."""
BUCKETS_KEPT = 200

StoredSeries = Callable[[float], Awaitable[Sequence[tuple[str, float, bytes]]]]
"""Tier, start and row of all buckets of the time series since then, as ``History.stored`` has them."""


async def no_series(since: float) -> Sequence[tuple[str, float, bytes]]:
    """An engine that keeps none."""
    return ()


@dataclass(frozen=True, slots=True)
class _Load:
    """What one write puts down."""

    batch: Sequence[Event]
    lines: Sequence[LogRecord]
    keyframe: dict[str, object] | None
    is_first: bool
    buckets: Sequence[tuple[str, Bucket]] = ()
    base: Sequence[tuple[str, float, bytes]] | None = None


class Recorder:
    """Made after the live state subscribed to the bus, so that a keyframe holds what its events already changed."""

    def __init__(
        self,
        section: RecordingConfig,
        directory: Path,
        state: LiveState,
        logs: LogRing,
        *,
        clock: Clock,
        emit: EventSink,
        stored_series: StoredSeries = no_series,
    ) -> None:
        self._stored_series = stored_series
        self._buckets: list[tuple[str, Bucket]] = []
        self._series = SeriesLines()
        self._base_at: float | None = None
        self._enabled = section.enabled
        self._segment_s = section.segment_length
        self._state = state
        self._logs = logs
        self._clock = clock
        self._emit = emit
        self._segments = Segments(directory, Limits(section.retention, section.max_size, section.min_free))
        self._pending: list[Event] = []
        self._filled = asyncio.Event()
        self._log_seq = 0
        self._first: dict[str, object] | None = keyframe_of(state, clock.now()) if section.enabled else None
        """How everything was before the first event, so that the first segment tells how it came about."""
        self._begun_at: float | None = None
        self._events = 0
        self._measured_at: float | None = None
        self._is_halted = False
        self._lost = 0
        self._work: asyncio.Future[Measure] | None = None

    def listen(self, event: Event) -> None:
        """Queue one event; what does not fit, and what happens while nothing can be written, is counted."""
        if not self._enabled:
            return
        if self._is_halted or len(self._pending) >= QUEUE_EVENTS:
            self._lost += 1
            return
        self._pending.append(event)
        if len(self._pending) >= FLUSH_EVENTS:
            self._filled.set()

    def note_bucket(self, tier: str, bucket: Bucket) -> None:
        """Take a bucket of the time series that nothing falls into any more; the finest tier is not recorded."""
        if self._enabled and not self._is_halted and tier in CARRIED and len(self._buckets) < BUCKETS_KEPT:
            self._buckets.append((tier, bucket))

    async def run(self) -> None:
        """Write what comes, for ever."""
        while self._enabled:
            await self.flush()
            await sleep_or_wake(self._clock, RETRY_S if self._is_halted else FLUSH_S, self._filled)

    async def flush(self) -> None:
        """Write everything that is queued; a disk that does not take it halts the recording and says so once."""
        if not self._enabled:
            return
        if self._work is not None and not self._work.done():
            await asyncio.wait([self._work])
        base = await self._read_base() if self._is_base_due() else None
        now = self._clock.now()
        batch, self._pending = self._pending, []
        lines = [r for r in self._logs.after(self._log_seq, LOGS_AT_ONCE) if "kind" not in r.fields]
        self._log_seq = self._logs.last_seq
        first, self._first = self._first, None
        # Taken in the same breath as the batch: it holds what the batch changed, and nothing later.
        keyframe = first or (keyframe_of(self._state, now) if base is not None or self._is_segment_due() else None)
        buckets, self._buckets = self._buckets, []
        if not batch and not lines and not buckets and keyframe is None:
            return
        load = _Load(batch, lines, keyframe, first is not None, buckets, base)
        self._work = asyncio.get_running_loop().run_in_executor(None, self._write, load)
        try:
            # A cancelled service leaves the thread to its end; ``close`` waits for it.
            measure = await asyncio.shield(self._work)
        except RecordingPaused as error:
            self._halt(error, len(batch))
        else:
            self._settle(measure, len(batch), is_new=keyframe is not None)

    async def close(self) -> None:
        """Write the last events and let the directory go."""
        if not self._enabled:
            return
        self._is_halted = False
        await self.flush()
        await asyncio.to_thread(self._segments.close)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _is_segment_due(self) -> bool:
        if self._begun_at is None or self._events >= SEGMENT_EVENTS:
            return True
        is_large = self._segments.size >= self._segments.limits.segment_bytes
        return is_large or self._clock.monotonic() - self._begun_at >= self._segment_s

    def _is_base_due(self) -> bool:
        return self._base_at is None or self._clock.monotonic() - self._base_at >= BASE_EVERY_S

    async def _read_base(self) -> Sequence[tuple[str, float, bytes]] | None:
        """What the store has of the time series: all of it, or what came since a base of a life just before."""
        self._base_at = self._clock.monotonic()
        now = self._clock.now()
        try:
            written = await asyncio.to_thread(self._segments.last_base_at, now - BASE_AFTER_START_S)
            return await self._stored_series(written or 0.0)
        except StoreUnusable:
            return None  # said by the service that keeps them; tried again tomorrow

    def _write(self, load: _Load) -> Measure:
        """In a thread. A batch ends the old segment, because the keyframe of the new one holds it already."""
        segments = self._segments
        if segments.is_open:
            self._append(load)
        if load.keyframe is not None:
            at = float(str(load.keyframe["at"]))
            segments.begin(json.dumps(load.keyframe, separators=(",", ":"), default=str).encode("ascii"), at)
            segments.prune(at)
            self._series = SeriesLines()
            self._write_base(load.base or (), at)
            if load.is_first:
                self._append(load)
        return segments.measure()

    def _append(self, load: _Load) -> None:
        if load.batch or load.lines:
            self._segments.append(_lines(load.batch, load.lines))
        if load.buckets:
            written = [self._series.line(tier, bucket) for tier, bucket in load.buckets]
            self._segments.append_series(written, max(bucket.start for _, bucket in load.buckets))

    def _write_base(self, rows: Sequence[tuple[str, float, bytes]], at: float) -> None:
        """A bucket at a time: all of them unpacked would be as large as the engine."""
        lines: list[bytes] = []
        size, room = 0, self._segments.limits.segment_bytes  # of text, which packs to a fifth and less
        for tier, start, record in rows:
            lines.append(self._series.line(tier, unpack(start, record)))
            size += len(lines[-1])
            if size >= min(BASE_BYTES, room):
                self._segments.append_series(lines, at, is_base=True)
                lines, size, room = [], 0, room - size
            if room <= 0:
                return
        if lines:
            self._segments.append_series(lines, at, is_base=True)

    def _settle(self, measure: Measure, count: int, *, is_new: bool) -> None:
        self._events += count
        if is_new:
            self._begun_at, self._events = self._clock.monotonic(), 0
        now = self._clock.now()
        if self._is_halted:
            self._is_halted = False
            self._emit(RecordingResumed(at=now, lost=self._lost))
        if self._measured_at is None or self._clock.monotonic() - self._measured_at >= MEASURE_S or is_new:
            self._measured_at = self._clock.monotonic()
            self._emit(
                RecordingMeasured(
                    at=now, bytes=measure.bytes, segments=measure.segments, oldest_at=measure.oldest_at, lost=self._lost
                )
            )

    def _halt(self, error: RecordingPaused, count: int) -> None:
        self._base_at = None
        self._begun_at = None  # the next attempt begins a segment, and so needs nothing of what is lost
        self._lost += count + len(self._pending)
        self._pending = []
        if not self._is_halted:
            self._is_halted = True
            self._emit(RecordingHalted(at=self._clock.now(), reason=error.message, hint=error.hint))


def _lines(batch: Sequence[Event], lines: Sequence[LogRecord]) -> Lines:
    times = [*(event.at for event in batch), *(line.at for line in lines)]
    placed = [(event.at, event_line(event)) for event in batch]
    # Lines of the log are put among the events by time, which never changes the order of the events themselves.
    for line in lines:
        index = next((i for i, (at, _) in enumerate(placed) if at > line.at), len(placed))
        placed.insert(index, (line.at, log_line(line)))
    trouble = any(is_trouble(e.severity, e.kind) for e in batch) or any(is_trouble(r.level, "") for r in lines)
    plain = all(event.kind in FREQUENT for event in batch)
    return Lines(tuple(text for _, text in placed), min(times), max(times), trouble, plain)
