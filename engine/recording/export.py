"""A part of a recording as one file that can be shown to others: what happened, without whose it is. Blocking."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import RecordingEmpty, RecordingUnreadable, RedactionFailed
from engine.recording.blocks import (
    EVENTS,
    FILE_HEAD,
    KEYFRAME,
    PLAIN,
    SERIES,
    TROUBLE,
    Packer,
    dictionary_of,
)
from engine.recording.keyframes import FREQUENT, is_trouble, keyframe_of
from engine.recording.player import Player
from engine.recording.pseudonyms import Pseudonyms
from engine.recording.reader import Chapter, Record, Recording
from engine.recording.series import SeriesLines, SeriesReader

BLOCK_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    events: int
    bytes: int
    begins_at: float
    ends_at: float
    hotkeys: int
    addresses: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A keyframe, the events after it, and the buckets of the time series beside them."""

    at: float
    keyframe: Record
    events: Iterator[Record]
    series: Iterator[bytes]


def export_recording(
    recording: Recording,
    target: Path,
    *,
    begins_at: float | None = None,
    ends_at: float | None = None,
    redact: bool = True,
    names: Pseudonyms | None = None,
) -> Exported:
    """Write ``target`` (mode 0600), whole or not at all; ``names`` goes on with stand-ins that are in use elsewhere.

    Raises:
        RecordingEmpty: nothing is recorded of that time.
        RedactionFailed: a name would still be in it; nothing was written.
        RecordingUnreadable: the file cannot be written.
    """
    begin = max(recording.begins_at, begins_at if begins_at is not None else 0.0)
    end = min(recording.ends_at, ends_at if ends_at is not None else 1e12)
    if begin > end:
        raise RecordingEmpty("nothing is recorded of that time")
    names = names or Pseudonyms()
    if redact:
        for part in _parts(recording, begin, end):
            names.learn(part.keyframe)
            for record in part.events:
                names.learn(record)
            for line in part.series:
                names.learn(json.loads(line))
    if target.exists() and not target.is_file():
        raise RecordingUnreadable(f"{target} cannot be written: it is no file", hint="name a file")
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                writer = _Writer(file, names if redact else None)
                for part in _parts(recording, begin, end):
                    writer.add(part)
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
        size = target.stat().st_size
    except OSError as error:
        raise RecordingUnreadable(f"{target} cannot be written: {error.strerror or error}") from error
    return Exported(writer.count, size, begin, end, names.count("hotkey"), names.count("ipv4") + names.count("ipv6"))


def _parts(recording: Recording, begin: float, end: float) -> Iterator[_Part]:
    first = recording.chapter_at(begin)
    for index, chapter in enumerate(recording.chapters[first:], first):
        if chapter.begins_at > end:
            return
        if index == first:
            player = Player(recording, begins_at=begin)
            player.seek(begin)
            keyframe: Record = keyframe_of(player.state, begin)
        else:
            keyframe = recording.keyframe(chapter)
        events = (
            record
            for block in chapter.events
            if block.header.last_at >= begin
            for record in recording.records(chapter, block)
            if begin < _time(record) <= end or (index > first and _time(record) <= end)
        )
        yield _Part(max(chapter.begins_at, begin), keyframe, events, _series(recording, chapter, begin, end))


def _series(recording: Recording, chapter: Chapter, begin: float, end: float) -> Iterator[bytes]:
    """The buckets of that time: what was before it was not asked for."""
    reader, lines = SeriesReader(), SeriesLines()
    for block in chapter.series:
        for record in recording.records(chapter, block):
            place = reader.take(record)
            if place is not None and begin <= place[1] and place[1] + place[0].width_s <= end:
                yield lines.line(place[0].name, reader.bucket(record, place[1]))


class _Writer:
    """Puts parts into one file, redacted on the way, and looks at every byte before it is packed."""

    def __init__(self, file: BinaryIO, names: Pseudonyms | None) -> None:
        self._file = file
        self._names = names
        self._packer = Packer()
        self.count = 0
        file.write(FILE_HEAD)

    def add(self, part: _Part) -> None:
        """A keyframe and its events."""
        raw = self._line({**part.keyframe, "at": part.at, "redacted": self._names is not None})
        self._file.write(Packer().pack(KEYFRAME, raw, first_at=part.at, last_at=part.at, count=1))
        self._packer = Packer(dictionary_of(raw))
        batch: list[Record] = []
        for record in part.events:
            batch.append(record)
            if len(batch) >= BLOCK_EVENTS:
                self._block(batch)
                batch = []
        self._block(batch)
        lines = [self._line(json.loads(line)) for line in part.series]
        if lines:
            raw = b"\n".join(lines)
            at = max(part.at, _time(json.loads(lines[-1])))
            self._file.write(self._packer.pack(SERIES, raw, first_at=at, last_at=at, count=len(lines)))

    def _block(self, batch: list[Record]) -> None:
        if not batch:
            return
        times = [_time(r) for r in batch]
        flags = TROUBLE if any(is_trouble(str(r.get("severity")), str(r.get("kind"))) for r in batch) else 0
        flags |= PLAIN if all(str(r.get("kind")) in FREQUENT for r in batch) else 0
        raw = b"\n".join(self._line(record) for record in batch)
        block = self._packer.pack(EVENTS, raw, first_at=min(times), last_at=max(times), count=len(batch), flags=flags)
        self._file.write(block)
        self.count += len(batch)

    def _line(self, record: Record) -> bytes:
        if self._names is None:
            return json.dumps(record, separators=(",", ":")).encode("ascii")
        text = json.dumps(self._names.value(record), separators=(",", ":"))
        leaks = self._names.leaks(text)
        if leaks:
            raise RedactionFailed(
                f"{len(leaks)} names would still be in a line of kind {str(record.get('kind', 'keyframe'))[:40]}",
                hint="nothing was written; please report which kind of line this is",
            )
        return text.encode("ascii")


def _time(record: Record) -> float:
    at = record.get("at")
    return float(at) if isinstance(at, int | float) else 0.0
