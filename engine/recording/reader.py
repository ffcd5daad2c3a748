"""Reading a recording: one file or the segments of a directory, opened at any moment from the keyframe before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import RecordingEmpty, RecordingUnreadable
from engine.recording.blocks import (
    EVENTS,
    FILE_HEAD,
    KEYFRAME,
    SERIES,
    SUFFIX,
    BlockHeader,
    check_head,
    dictionary_of,
    headers,
    read_block,
)

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Block:
    """A block and the file that it is in."""

    file: int
    header: BlockHeader


@dataclass(frozen=True, slots=True)
class Chapter:
    """A keyframe and the blocks that go on from it."""

    keyframe: Block
    events: tuple[Block, ...]
    series: tuple[Block, ...] = ()

    @property
    def begins_at(self) -> float:
        """The time of its keyframe."""
        return self.keyframe.header.first_at

    @property
    def ends_at(self) -> float:
        """The time of its last event."""
        return max([self.begins_at, *(b.header.last_at for b in self.events)])


class Recording:
    """An open recording. Blocks that are damaged are left out and counted in ``damaged``."""

    def __init__(self, paths: list[Path]) -> None:
        self._files: list[BinaryIO] = []
        self._closing = ExitStack()
        self._dictionary: tuple[Block | None, bytes] = (None, b"")
        self.damaged = 0
        self.bytes = 0
        chapters: list[Chapter] = []
        try:
            for path in paths:
                chapters += self._open(path)
        except BaseException:
            self.close()
            raise
        self.chapters = chapters
        """In the order of writing, which is that of time unless a clock was set back."""

    def _open(self, path: Path) -> list[Chapter]:
        file = self._closing.enter_context(path.open("rb"))
        size = path.stat().st_size
        self.bytes += size
        check_head(file, path.name)
        index = len(self._files)
        self._files.append(file)
        chapters: list[tuple[Block, list[Block]]] = []
        for header in headers(file, size):
            block = Block(index, header)
            if header.kind == KEYFRAME:
                chapters.append((block, []))
            elif chapters:
                chapters[-1][1].append(block)
        return [Chapter(keyframe, _of_kind(EVENTS, blocks), _of_kind(SERIES, blocks)) for keyframe, blocks in chapters]

    def close(self) -> None:
        """Let the files go."""
        self._closing.close()

    @property
    def begins_at(self) -> float:
        """The first moment that can be opened."""
        return self.chapters[0].begins_at

    @property
    def ends_at(self) -> float:
        """The time of the last event."""
        return max(c.ends_at for c in self.chapters)

    def chapter_at(self, at: float) -> int:
        """The chapter to open that moment from; the first one for what is before all of them."""
        return max((i for i, c in enumerate(self.chapters) if c.begins_at <= at), default=0)

    def keyframe(self, chapter: Chapter) -> Record:
        """The live state at its begin. Raises RecordingUnreadable."""
        return _object(self._raw_keyframe(chapter.keyframe))

    def records(self, chapter: Chapter, block: Block, having: Sequence[bytes] = ()) -> list[Record]:
        """The events or buckets of one block, none for a damaged one; if given, of lines that have one of these."""
        try:
            raw = read_block(self._files[block.file], block.header, self._dictionary_for(chapter))
        except RecordingUnreadable:
            self.damaged += 1
            return []
        if having and not any(word in raw for word in having):
            return []
        found = []
        for line in raw.splitlines():
            if having and not any(word in line for word in having):
                continue
            try:
                record = _object(line)
            except RecordingUnreadable:
                self.damaged += 1
                continue
            if isinstance(record.get("at"), int | float):
                found.append(record)
        return found

    def all_records(self) -> Iterator[Record]:
        """Every event in order."""
        for chapter in self.chapters:
            for block in chapter.events:
                yield from self.records(chapter, block)

    def troubles(self) -> list[tuple[float, float]]:
        """Begin and end of every block that holds an error or an alert, by time."""
        return [(b.header.first_at, b.header.last_at) for c in self.chapters for b in c.events if b.header.has_trouble]

    @property
    def event_count(self) -> int:
        """How many events and lines there are, by the headers."""
        return sum(b.header.count for c in self.chapters for b in c.events)

    def _raw_keyframe(self, block: Block) -> bytes:
        return read_block(self._files[block.file], block.header)

    def _dictionary_for(self, chapter: Chapter) -> bytes:
        if self._dictionary[0] != chapter.keyframe:
            self._dictionary = (chapter.keyframe, dictionary_of(self._raw_keyframe(chapter.keyframe)))
        return self._dictionary[1]


def open_recording(path: Path) -> Recording:
    """Open a file, or all segments of a directory.

    Raises:
        RecordingUnreadable: there is no such thing, or it is no recording.
        RecordingEmpty: nothing is in it.
    """
    try:
        if path.is_dir():
            nested = path / "recording"
            place = nested if nested.is_dir() and not list(path.glob(f"*{SUFFIX}")) else path
            # A segment that is just being made, or was when the power went, has nothing in it yet.
            paths = [p for p in sorted(place.glob(f"*{SUFFIX}")) if p.stat().st_size >= len(FILE_HEAD)]
            if not paths:
                raise RecordingEmpty(f"nothing is recorded in {place}", hint="[recording] enabled = true, and patience")
        else:
            paths = [path]
        recording = Recording(paths)
    except OSError as error:
        raise RecordingUnreadable(f"{path} cannot be read: {error.strerror or error}") from error
    if not recording.chapters:
        recording.close()
        raise RecordingEmpty(f"{path} holds nothing that can be opened")
    return recording


def _of_kind(kind: int, blocks: list[Block]) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block.header.kind == kind)


def _object(line: bytes) -> Record:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise RecordingUnreadable("a line is not JSON") from None
    if not isinstance(found, dict):
        raise RecordingUnreadable("a line is not a JSON object")
    return found
