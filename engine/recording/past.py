"""What a recording says about the time before a moment: points of plots, and the events of a timeline. Blocking.

An engine answers both from its store. A recording carries the buckets of the time series; the finest ones, and those
that were still open, are made again of the events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from engine.control.state import LiveState
from engine.errors import RecordingUnreadable
from engine.events import Event, NodeChecked, NodeVerified
from engine.observe.history_rules import (
    HOURLY_SERIES,
    SERIES,
    TIERS,
    Bucket,
    Tier,
    Value,
    bucket_start,
    points_of,
    standing_in,
    tier_for,
    told_by,
)
from engine.recording.blocks import BASE
from engine.recording.hours import HOURS, told_of_hour
from engine.recording.keyframes import FREQUENT, event_of, state_from
from engine.recording.reader import Block, Chapter, Record, Recording
from engine.recording.series import SeriesReader

EVENTS_READ = 200_000
"""At most so many events are read for one answer."""
SAMPLE_S = 30.0
STANDING = SERIES - {"ssh", "latency", "load", "temperature", "verified"}
"""Series that tell what stands at a time; the others tell what happened."""
SILENCE_S = 150.0
"""A recorder that runs notes its own size every minute: after a longer silence there was no engine that looked."""

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Question:
    tier: Tier
    series: str
    subject: str


class Past:
    """Answers as of a moment ``at``; nothing from before ``begins_at`` but what was carried over into the recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._role: str | None = None

    # --- time series ----------------------------------------------------------------------------------------------

    def points(self, series: str, subject: str, since: float, at: float) -> Points:
        """Points of time and mean, as ``engine.observe.history.History.read`` answers; none for an unknown series."""
        if series not in SERIES:
            return []
        if self._is_by_the_hour(series, subject, at):
            return self._hours(_Question(HOURS, series, subject), since, at)
        question = _Question(tier_for(TIERS, at - since), series, subject)
        first = since - question.tier.width_s
        points = {t: v for t, v in self._carried(question, question.tier, at).items() if t >= first}
        begin = max(points) + question.tier.width_s if points else first
        for start, value in self._open(question, begin, at):
            points.setdefault(start, value)
        return sorted(points.items())

    def _is_by_the_hour(self, series: str, subject: str, at: float) -> bool:
        """Whether the engine that was recorded answers this from the sums of its hours."""
        if series not in HOURLY_SERIES or (series == "verified" and not subject):
            return False
        if self._role is None:
            chapter = self._recording.chapters[self._recording.chapter_at(at)]
            try:
                self._role = state_from(self._recording.keyframe(chapter)).engine.role
            except RecordingUnreadable:
                return False
        return self._role == "validator"

    def _hours(self, question: _Question, since: float, at: float) -> Points:
        """The hours that were over, and of the one in progress what the events say."""
        first = bucket_start(since, HOURS)
        begin, now = self._recording.chapter_at(first), self._recording.chapter_at(at)
        # An hour is written some minutes after its end, which may be in the next chapter.
        wanted = range(begin, min(now + 2, len(self._recording.chapters)))
        points = {t: v for t, v in self._values(question, HOURS, wanted, at).items() if t >= first}
        if question.series != "score":
            last = max(points) + HOURS.width_s if points else first
            tally = _Tally(question)
            self._count_events(tally, last, at, told_of_hour, question.subject.rpartition("/")[2])
            for start, value in points_of(tally.buckets, question.series, question.subject):
                points.setdefault(start, value)
        return sorted(points.items())

    def _open(self, question: _Question, begin: float, at: float) -> Points:
        """Buckets that were still open: of narrower ones as far as there are any, and of the events after them."""
        tally, narrow = _Tally(question), TIERS[1]
        if question.tier.width_s > narrow.width_s:
            for start, value in sorted(self._carried(question, narrow, at).items()):
                if start >= begin:
                    tally.count(value, start)
                    begin = start + narrow.width_s
        if question.series in STANDING:
            self._count_states(tally, begin, at)
        else:
            self._count_events(tally, begin, at, told_by, question.subject)
        return points_of(tally.buckets, question.series, question.subject)

    def _carried(self, question: _Question, tier: Tier, at: float) -> dict[float, float]:
        """What buckets say that were full by then; a base from later is as good as one from before."""
        chapters = self._recording.chapters
        bases = [i for i, c in enumerate(chapters) if any(b.header.flags & BASE for b in c.series)]
        now = self._recording.chapter_at(at)
        first = max((i for i in bases if i <= now), default=0)
        later = min((i for i in bases if i > now), default=None)
        return self._values(question, tier, [*range(first, now + 1), *([] if later is None else [later])], at)

    def _values(self, question: _Question, tier: Tier, wanted: Iterable[int], at: float) -> dict[float, float]:
        """What the buckets of a tier in these chapters say, as far as they were full by then."""
        found: dict[float, float] = {}
        for index in wanted:
            reader = SeriesReader()
            for record in self._series_records(self._recording.chapters[index]):
                place = reader.take(record)
                if place is None or place[0] != tier or place[1] + tier.width_s > at:
                    continue
                value = reader.value(record, question.series, question.subject)
                if value is not None:
                    found[place[1]] = value
        return found

    def _series_records(self, chapter: Chapter) -> Iterator[Record]:
        for block in chapter.series:
            yield from self._recording.records(chapter, block)

    def _count_events(
        self, tally: _Tally, begin: float, at: float, tell: Callable[[Event], Iterator[Value]], name: str
    ) -> None:
        """What events that name this object, or checks of any, say by themselves."""
        names = [name] if name else [NodeChecked.kind, NodeVerified.kind]
        having = [f'"{name}"'.encode("ascii", "replace") for name in names]
        for chapter, blocks in self._window(begin, at):
            for block in blocks:
                if block.header.last_at < begin:
                    continue
                for record in self._recording.records(chapter, block, having):
                    event = event_of(record) if begin <= _time(record) <= at else None
                    if event is not None:
                        tally.add(tell(event), _time(record))

    def _count_states(self, tally: _Tally, begin: float, at: float) -> None:
        """What stood after the events, looked at as often as an engine does."""
        for chapter, blocks in self._window(begin, at):
            try:
                state = state_from(self._recording.keyframe(chapter))
            except RecordingUnreadable:
                state = LiveState()
            tally.begin(chapter.begins_at)
            for block in blocks:
                for record in self._recording.records(chapter, block):
                    if _time(record) > at:
                        break
                    tally.pass_to(_time(record), state, begin)
                    event = event_of(record)
                    try:
                        if event is not None:
                            state.apply(event)
                    except (ValueError, TypeError, KeyError, AttributeError):
                        continue  # counted by the player

    def _window(self, begin: float, at: float) -> list[tuple[Chapter, list[Block]]]:
        """Chapters and their blocks from the one that holds ``begin`` to ``at``, the newest that may be read."""
        chapters = self._recording.chapters
        found: list[tuple[Chapter, list[Block]]] = []
        room = EVENTS_READ
        for index in range(self._recording.chapter_at(at), self._recording.chapter_at(begin) - 1, -1):
            blocks = [b for b in chapters[index].events if b.header.first_at <= at]
            room -= sum(b.header.count for b in blocks)
            if room < 0 and found:
                break
            found.append((chapters[index], blocks))
        return found[::-1]

    # --- timelines ------------------------------------------------------------------------------------------------

    def events(self, subject: str, kinds: Collection[str], limit: int, at: float) -> list[Record]:
        """The last events of these kinds that name an object, newest first, as the engine's store answers."""
        wanted = set(kinds)
        name = f'"{subject}"'.encode("ascii", "replace")
        having = [name] if subject else [f'"{kind}"'.encode() for kind in sorted(wanted)]
        found: list[Record] = []
        room = EVENTS_READ
        for chapter, block in self._blocks_before(at):
            if block.header.is_plain and wanted.isdisjoint(FREQUENT):
                continue
            room -= block.header.count
            if room < 0:
                break
            records = self._recording.records(chapter, block, having)
            found += [r for r in reversed(records) if r.get("kind") in wanted and _time(r) <= at]
            if len(found) >= limit:
                break
        return found[:limit]

    def _blocks_before(self, at: float) -> Iterator[tuple[Chapter, Block]]:
        for index in range(self._recording.chapter_at(at), -1, -1):
            chapter = self._recording.chapters[index]
            for block in reversed(chapter.events):
                if block.header.first_at <= at:
                    yield chapter, block


class _Tally:
    """Counts one series of one object into buckets, looking at the state as often as an engine does."""

    def __init__(self, question: _Question) -> None:
        self.question = question
        self._found: dict[float, Bucket] = {}
        self._passed = 0.0

    @property
    def buckets(self) -> list[Bucket]:
        """In order."""
        return [bucket for _, bucket in sorted(self._found.items())]

    def begin(self, at: float) -> None:
        """A keyframe: nothing is known of the time before it."""
        self._passed = max(self._passed, at)

    def pass_to(self, at: float, state: LiveState, begin: float) -> None:
        """Time goes on to ``at`` while the state stands."""
        if at - self._passed <= SILENCE_S:
            tick = (self._passed // SAMPLE_S + 1) * SAMPLE_S
            while tick <= at:
                if tick >= begin:
                    self.add(standing_in(state), tick)
                tick += SAMPLE_S
        self._passed = max(self._passed, at)

    def add(self, values: Iterator[tuple[str, str, float]], at: float) -> None:
        """Count what belongs to the question."""
        question = self.question
        for series, subject, value in values:
            if series == question.series and (not question.subject or subject == question.subject):
                self._bucket(at).add(series, subject, value)

    def count(self, value: float, at: float) -> None:
        """Count a value of just what is asked for."""
        self._bucket(at).add(self.question.series, self.question.subject, value)

    def _bucket(self, at: float) -> Bucket:
        start = bucket_start(at, self.question.tier)
        return self._found.setdefault(start, Bucket(start))


def _time(record: Record) -> float:
    at = record["at"]
    return float(at) if isinstance(at, int | float) else 0.0
