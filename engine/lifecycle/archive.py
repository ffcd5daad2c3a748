"""What a backup holds, as a stream: a manifest in JSON, then the files one after the other.

Names are short paths with ``/``, relative to wherever the backup is restored.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Literal

from engine.errors import BackupDamaged

What = Literal["config", "state", "events", "known_hosts", "node_key", "public_key", "spare_key", "authority", "hotkey"]
LAYOUT = 1
READ_BYTES = 1024 * 1024
_LENGTH = struct.Struct(">I")
_LARGEST_MANIFEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. ``source`` is where it lay, for people."""

    name: str
    what: What
    size: int
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The table of contents. ``created_at`` is Unix seconds."""

    created_at: float
    build: str
    role: str
    hotkey: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    layout: int = LAYOUT

    def entry(self, what: What) -> Entry | None:
        """The entry of this kind, if there is one."""
        return next((entry for entry in self.entries if entry.what == what), None)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def entry_of(name: str, what: What, path: Path, source: Path) -> Entry:
    """Measure a file that will not change any more."""
    digest = hashlib.sha256()
    size = 0
    for part in _read(path):
        digest.update(part)
        size += len(part)
    return Entry(name, what, size, digest.hexdigest(), str(source))


def pack(manifest: Manifest, files: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of a backup; ``files`` in the order of the manifest's entries."""
    head = json.dumps(manifest.to_json(), ensure_ascii=False).encode()
    yield _LENGTH.pack(len(head)) + head
    for path in files:
        yield from _read(path)


class Unpacker:
    """Reads what ``pack`` wrote, checking every length and sum. Raises BackupDamaged."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = iter(stream)
        self._waiting = b""
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        if length > _LARGEST_MANIFEST:
            raise _damaged("its table of contents is too long")
        self.manifest = _manifest(self._take(length))

    def files(self) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Each file with its content; a content must be read to its end before the next file."""
        for entry in self.manifest.entries:
            yield entry, self._content(entry)

    def finish(self) -> None:
        """Read to the very end, where the seal proves that nothing is missing."""
        if self._waiting or any(self._stream):
            raise _damaged("it holds more than its table of contents says")

    def _content(self, entry: Entry) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), entry.size
        while left:
            part = self._some(left)
            digest.update(part)
            left -= len(part)
            yield part
        if digest.hexdigest() != entry.sha256:
            raise _damaged(f"{entry.name} is not what the table of contents says")

    def _some(self, most: int) -> bytes:
        while not self._waiting:
            part = next(self._stream, None)
            if part is None:
                raise _damaged("it holds less than its table of contents says")
            self._waiting = part
        part, self._waiting = self._waiting[:most], self._waiting[most:]
        return part

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            taken += self._some(size - len(taken))
        return taken


def _manifest(raw: bytes) -> Manifest:
    try:
        data = json.loads(raw)
        entries = tuple(Entry(**{f.name: item[f.name] for f in fields(Entry)}) for item in data["entries"])
        known = {f.name: data[f.name] for f in fields(Manifest) if f.name not in ("entries", "notes")}
        manifest = Manifest(**known, entries=entries, notes=tuple(data["notes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged("its table of contents cannot be read") from error
    if manifest.layout != LAYOUT:
        raise _damaged(f"its layout {manifest.layout} is newer than this program")
    for entry in entries:
        if not _is_safe(entry.name):
            raise _damaged(f"it holds a file of the name {entry.name!r}")
    return manifest


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            yield part


def _damaged(why: str) -> BackupDamaged:
    return BackupDamaged(f"the backup cannot be used: {why}", hint="nothing was written; take another copy of it")
