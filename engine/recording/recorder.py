"""The service that writes down what happens: off the loop, in small blocks, never in the way of the engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from engine.clock import Clock, sleep_or_wake
from engine.config.common import RecordingConfig
from engine.control.models import LogRecord
from engine.control.ring import LogRing
from engine.control.state import LiveState
from engine.errors import RecordingPaused
from engine.events import Event, EventSink, RecordingHalted, RecordingMeasured, RecordingResumed
from engine.recording.keyframes import event_line, is_trouble, keyframe_of, log_line
from engine.recording.segments import Limits, Lines, Measure, Segments

FLUSH_S = 2.0
FLUSH_EVENTS = 2_000
QUEUE_EVENTS = 50_000
SEGMENT_EVENTS = 20_000
"""Replay folds at most so many events from a keyframe to the moment that it opens."""
RETRY_S = 30.0
MEASURE_S = 60.0
LOGS_AT_ONCE = 5_000


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
    ) -> None:
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
        now = self._clock.now()
        batch, self._pending = self._pending, []
        lines = [r for r in self._logs.after(self._log_seq, LOGS_AT_ONCE) if "kind" not in r.fields]
        self._log_seq = self._logs.last_seq
        first, self._first = self._first, None
        # Taken in the same breath as the batch: it holds what the batch changed, and nothing later.
        keyframe = first or (keyframe_of(self._state, now) if self._is_segment_due() else None)
        if not batch and not lines and keyframe is None:
            return
        self._work = asyncio.get_running_loop().run_in_executor(
            None, self._write, batch, lines, keyframe, first is not None
        )
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

    def _write(
        self, batch: Sequence[Event], lines: Sequence[LogRecord], keyframe: dict[str, object] | None, is_first: bool
    ) -> Measure:
        """In a thread. A batch ends the old segment, because the keyframe of the new one holds it already."""
        segments = self._segments
        if (batch or lines) and segments.is_open:
            segments.append(_lines(batch, lines))
        if keyframe is not None:
            at = float(str(keyframe["at"]))
            segments.begin(json.dumps(keyframe, separators=(",", ":"), default=str).encode("ascii"), at)
            segments.prune(at)
            if is_first and (batch or lines):
                segments.append(_lines(batch, lines))
        return segments.measure()

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
    return Lines(tuple(text for _, text in placed), min(times), max(times), trouble)
