"""The file itself: entries with their sums, a manifest of what is in it and what could not be had."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.config.masking import mask_text
from engine.errors import SupportBundleFailed
from engine.recording.pseudonyms import Pseudonyms, hide_keys
from engine.version import __version__

ENTRY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a bundle."""

    name: str
    what: str
    bytes: int
    sha256: str


@dataclass
class Bundle:
    """Grows entry by entry; every text passes through the masks, and through the stand-ins unless told otherwise."""

    names: Pseudonyms
    redact: bool
    notes: list[str] = field(default_factory=list)
    _files: list[tuple[Entry, bytes]] = field(default_factory=list)

    def add_json(self, name: str, what: str, value: object) -> None:
        """A structure; names in fields that hold names are replaced as such."""
        plain = json.loads(json.dumps(value, default=str))
        self.names.learn(plain)
        shown = self.names.value(plain) if self.redact else plain
        self.add_text(name, what, json.dumps(shown, indent=1, ensure_ascii=False))

    def add_text(self, name: str, what: str, text: str) -> None:
        """A text; one in which a name would be left is left out, and that is noted."""
        text = hide_keys(mask_text(text))
        if self.redact:
            text = "\n".join(self.names.text(line) for line in text.split("\n"))
            if self.names.leaks(text):
                self.notes.append(f"{name} was left out: names would be left in it")
                return
        self.add_bytes(name, what, text.encode("utf-8", "backslashreplace"))

    def add_bytes(self, name: str, what: str, data: bytes) -> None:
        """Something that is fit to be given away as it is."""
        if len(data) > ENTRY_BYTES:
            self.notes.append(f"{name} was left out: {len(data):,} bytes")
            return
        self._files.append((Entry(name, what, len(data), hashlib.sha256(data).hexdigest()), data))

    def note(self, text: str) -> None:
        """Something that could not be had, and why."""
        self.notes.append(self.names.text(mask_text(text)) if self.redact else mask_text(text))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is in it."""
        return tuple(entry for entry, _ in self._files)

    def write(self, target: Path, now: float) -> int:
        """Write ``target`` (mode 0600), whole or not at all; returns its size. Raises SupportBundleFailed."""
        manifest = {
            "created_at": now,
            "build": __version__,
            "redacted": self.redact,
            "entries": [asdict(entry) for entry in self.entries],
            "notes": self.notes,
        }
        head = json.dumps(manifest, indent=1).encode()
        folder = f"basilica-support-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
        try:
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            try:
                with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
                    for path, data in (("manifest.json", head), *((e.name, d) for e, d in self._files)):
                        info = tarfile.TarInfo(f"{folder}/{path}")
                        info.size, info.mtime, info.mode = len(data), int(now), 0o600
                        archive.addfile(info, io.BytesIO(data))
                Path(name).replace(target)
            finally:
                Path(name).unlink(missing_ok=True)
            return target.stat().st_size
        except OSError as error:
            raise SupportBundleFailed(f"{target} cannot be written: {error.strerror or error}") from error
