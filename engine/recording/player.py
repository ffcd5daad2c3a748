"""A place in a recording and the live state there: steps, jumps, and what they changed. Blocking, no clock."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass

from engine.control.models import LogRecord, View
from engine.control.state import LiveState, Touched
from engine.errors import RecordingUnreadable
from engine.events import EngineStarted
from engine.observe.words import lines
from engine.recording.keyframes import LOG_LINE, event_of, is_trouble, state_from
from engine.recording.reader import Chapter, Record, Recording

LOGS_KEPT = 2_000
TROUBLE_MARKS = 500
STEPS_KEPT = 10_000
"""So many steps go back to the very moments they began at; before those, to the moments of the events."""
FIRST_RECORDS = 100
"""Among so many a life of an engine says that it began."""
_KEYFRAME = "keyframe"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the player stands."""

    at: float
    begins_at: float
    ends_at: float
    silent_s: float
    """How long nothing was recorded before this moment."""
    down_s: float = 0.0
    """How long no engine ran, where the moment lies between the end of one and the start of the next."""


class Player:
    """Folds a recording up to a moment. Going on is cheap; going back opens the keyframe before it again."""

    def __init__(self, recording: Recording, *, begins_at: float | None = None, ends_at: float | None = None) -> None:
        """``begins_at`` and ``ends_at`` narrow what can be reached."""
        self.recording = recording
        self.begins_at = max(recording.begins_at, begins_at if begins_at is not None else 0.0)
        self.ends_at = max(min(recording.ends_at, ends_at if ends_at is not None else 1e12), self.begins_at)
        self.state = LiveState()
        self.logs: deque[LogRecord] = deque(maxlen=LOGS_KEPT)
        self.at = self.begins_at
        self._chapter = 0
        self._block = 0
        self._records: list[Record] = []
        self._next = 0
        self._seq = 0
        self._last_at = self.begins_at
        self._down_s = 0.0
        self._lives: dict[int, bool] = {}
        self._taken = 0
        self._taken_in = 0
        self._trail: deque[tuple[int, int, float]] = deque(maxlen=STEPS_KEPT)
        self.seek(self.begins_at)

    @property
    def place(self) -> Place:
        """Where it stands."""
        silent_s = max(self.at - self._last_at, 0.0)
        return Place(self.at, self.begins_at, self.ends_at, silent_s, self._down_s)

    @property
    def is_at_end(self) -> bool:
        """Whether nothing comes any more."""
        return self.at >= self.ends_at

    def seek(self, at: float) -> None:
        """Go to a moment: everything up to and including it has happened."""
        at = min(max(at, self.begins_at), self.ends_at)
        self._open(self.recording.chapter_at(at))
        self.advance(at)

    def advance(self, at: float) -> Touched:
        """Go on to a later moment; returns what changed on the way."""
        at = min(max(at, self.at), self.ends_at)
        self._trail.clear()
        touched: Touched = set()
        while True:
            record = self._peek()
            if record is None or _time(record) > at:
                break
            touched |= self._apply(record)
        self.at = at
        self._down_s = self._gap_s()
        return touched

    def step(self) -> Touched:
        """Go on by one event; to the end when there is none."""
        before = (self._taken_in, self._taken, self.at)
        touched = self._step()
        if (self._taken_in, self._taken, self.at) != before:
            self._trail.append(before)
        return touched

    def step_back(self) -> None:
        """Take the last step back; without one, to just after the event before the last one.

        Events that share a moment are gone through one by one, as ``step`` does.
        """
        if self._trail:
            trail = self._trail.copy()
            self._stand(*trail.pop())
            self._trail = trail
            return
        index, taken = self._taken_in, self._taken
        if taken and self._last_at >= self.at:
            taken -= 1
        while not taken and index > 0:
            index -= 1
            taken = len(self._times(index))
        at = max(self._times(index)[:taken], default=self.begins_at)
        if at <= self.begins_at:
            self.seek(self.begins_at)
        else:
            self._stand(index, taken, at)

    def seek_trouble(self, *, forward: bool) -> bool:
        """Go to the next error or alert, or the one before; False when there is none.

        Those that share a moment are gone through one by one; what follows them in that moment has not happened yet.
        """
        chapters = range(len(self.recording.chapters))
        for index in chapters[self._taken_in :] if forward else reversed(chapters[: self._taken_in + 1]):
            found = [taken for taken in self._troubles(index) if self._is_beyond(index, taken, forward=forward)]
            if found:
                taken = found[0] if forward else found[-1]
                self._stand(index, taken, max(self._times(index)[:taken]))
                return True
        return False

    def marks(self) -> list[float]:
        """Times of errors and alerts for a time bar, as exact as blocks are."""
        found = [t for t, _ in self.recording.troubles() if self.begins_at <= t <= self.ends_at]
        step = max(len(found) // TROUBLE_MARKS, 1)
        return found[::step]

    def views(self, touched: Touched | None = None) -> dict[str, dict[str, View]]:
        """Copies of the views, of all of them or of those touched; the fold changes its own in place."""
        if touched is None:
            return {
                name: {key: copy.copy(view) for key, view in rows.items()}
                for name, rows in self.state.collections().items()
            }
        found: dict[str, dict[str, View]] = {}
        for name, view_id in touched:
            view = self.state.view(name, view_id)
            if view is not None:
                found.setdefault(name, {})[view_id] = copy.copy(view)
        return found

    # --- inside ---------------------------------------------------------------------------------------------------

    def _step(self) -> Touched:
        touched: Touched = set()
        while True:
            record = self._peek()
            if record is None or _time(record) > self.ends_at:
                self.at, self._down_s = self.ends_at, 0.0
                return touched
            touched |= self._apply(record)
            self.at = max(self.at, _time(record))
            if record.get("kind") != _KEYFRAME:
                self._down_s = 0.0
                return touched

    def _stand(self, index: int, taken: int, at: float) -> None:
        """Go to where so many events of a chapter have happened."""
        self._open(index)
        while self._taken < taken and (record := self._peek()) is not None and record.get("kind") != _KEYFRAME:
            self._apply(record)
        self.at = at
        self._down_s = self._gap_s()

    def _open(self, index: int) -> None:
        self.logs.clear()
        self._trail.clear()
        self._taken_in, self._taken = index, 0
        self._chapter, self._block, self._records, self._next = index, 0, [], 0
        chapter = self.recording.chapters[index]
        try:
            self.state = state_from(self.recording.keyframe(chapter))
        except RecordingUnreadable:
            self.recording.damaged += 1
            self.state = LiveState()
        self.at = self._last_at = chapter.begins_at
        if index > 0:
            self._recall_logs(self.recording.chapters[index - 1])

    def _recall_logs(self, before: Chapter) -> None:
        """The last lines before a keyframe, so that a log does not begin with it."""
        recalled: list[Record] = []
        for block in reversed(before.events):
            recalled[:0] = self.recording.records(before, block)
            if len(recalled) >= LOGS_KEPT // 4:
                break
        for record in recalled:
            self._log(record)

    def _peek(self) -> Record | None:
        """The next event, or the keyframe that comes before it."""
        while self._next >= len(self._records):
            chapter = self.recording.chapters[self._chapter]
            if self._block < len(chapter.events):
                self._records, self._next = self.recording.records(chapter, chapter.events[self._block]), 0
                self._block += 1
            elif self._chapter + 1 < len(self.recording.chapters):
                self._chapter, self._block, self._next = self._chapter + 1, 0, 0
                self._records = [{"kind": _KEYFRAME, "at": self.recording.chapters[self._chapter].begins_at}]
            else:
                return None
        return self._records[self._next]

    def _apply(self, record: Record) -> Touched:
        self._next += 1
        if record.get("kind") == _KEYFRAME:
            self._taken_in, self._taken = self._chapter, 0
            return self._take_keyframe()
        self._taken += 1
        self._last_at = max(self._last_at, _time(record))
        self._log(record)
        event = event_of(record)
        if event is None:
            return set()
        try:
            return self.state.apply(event)
        except (ValueError, TypeError, KeyError, AttributeError):
            self.recording.damaged += 1  # somebody else's file may say what no engine would
            return set()

    def _gap_s(self) -> float:
        """The length of the gap that the moment lies in: what comes next is another life of the engine."""
        record = self._peek()
        if record is None or record.get("kind") != _KEYFRAME:
            return 0.0
        if self._chapter not in self._lives:
            chapter = self.recording.chapters[self._chapter]
            first = self.recording.records(chapter, chapter.events[0])[:FIRST_RECORDS] if chapter.events else []
            self._lives[self._chapter] = any(r.get("kind") == EngineStarted.kind for r in first)
        is_between = self._last_at < self.at and self._lives[self._chapter]
        return max(_time(record) - self._last_at, 0.0) if is_between else 0.0

    def _take_keyframe(self) -> Touched:
        """What an earlier chapter could not record, and what a restart forgot, is as the next keyframe says."""
        try:
            fresh = state_from(self.recording.keyframe(self.recording.chapters[self._chapter]))
        except RecordingUnreadable:
            self.recording.damaged += 1
            return set()
        old, self.state = self.state, fresh
        return {(name, key) for s in (old, fresh) for name, rows in s.collections().items() for key in rows}

    def _log(self, record: Record) -> None:
        for level, words, fields in _log_lines(record):
            self._seq += 1
            self.logs.append(LogRecord(self._seq, _time(record), level, words, fields))

    def _troubles(self, index: int) -> list[int]:
        """After how many events of a chapter each of its errors and alerts within reach has just happened."""
        chapter = self.recording.chapters[index]
        if not any(block.header.has_trouble for block in chapter.events):
            return []
        records = (r for block in chapter.events for r in self.recording.records(chapter, block))
        return [
            taken
            for taken, record in enumerate(records, start=1)
            if is_trouble(str(record.get("severity")), str(record.get("kind")))
            and self.begins_at <= _time(record) <= self.ends_at
        ]

    def _is_beyond(self, index: int, taken: int, *, forward: bool) -> bool:
        """Whether that place is after the present one, or before it; an event that time has passed is before it."""
        here, there = (self._taken_in, self._taken), (index, taken)
        return there > here if forward else there < here or (there == here and self._last_at < self.at)

    def _times(self, index: int) -> list[float]:
        """Times of the events of a chapter, in the order in which they are folded."""
        chapter = self.recording.chapters[index]
        return [_time(r) for block in chapter.events for r in self.recording.records(chapter, block)]


def _time(record: Record) -> float:
    at = record["at"]
    return float(at) if isinstance(at, int | float) else 0.0


def _log_lines(record: Record) -> list[tuple[str, str, dict[str, str]]]:
    """Level, words and fields, as the engine's log had them."""
    if record.get("kind") == LOG_LINE:
        fields = record.get("fields")
        kept = {str(k): str(v) for k, v in fields.items()} if isinstance(fields, dict) else {}
        return [(str(record.get("severity", "info")), str(record.get("event", "")), kept)]
    event = event_of(record)
    shown = {
        str(k): ", ".join(map(str, v)) if isinstance(v, list) else str(v)
        for k, v in record.items()
        if k not in {"at", "severity", "version"} and v not in (None, "", [])
    }
    if event is None:
        return [(str(record.get("severity", "info")), str(record.get("kind", "")), shown)]
    return [(severity, words, shown) for severity, words in lines(event)]
