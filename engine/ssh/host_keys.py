"""Pinned host keys in an OpenSSH known_hosts file: trust on first use, never again by itself.

The file stays usable with ``ssh -o UserKnownHostsFile=``. Lines that this module did not write (comments,
``@`` markers, hashed names) are kept. An edit from outside, such as ``ssh-keygen -R``, is seen at the next use.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import enum
import functools
import hashlib
import hmac
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import HostKeysUnusable
from engine.ownership import make_private_directory, take_after_directory
from engine.ssh.target import NodeTarget


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A host key as a node showed it."""

    algorithm: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ssh prints it."""
        return fingerprint_of(self.blob)


class Verdict(enum.Enum):
    """What a presented host key means."""

    KNOWN = "known"
    NEW = "new"
    CHANGED = "changed"


def fingerprint_of(blob: bytes) -> str:
    """The SHA256 fingerprint of a public key blob."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def host_name(target: NodeTarget) -> str:
    """The name of a target in known_hosts: the host alone on port 22, else ``[host]:port``."""
    host = target.host.lower()
    return host if target.port == 22 else f"[{host}]:{target.port}"


class HostKeys:
    """The pins. With ``path=None`` they live in memory only, for a validator that meets nodes for the first time.

    ``is_looker`` reads the file and keeps what is met for the first time to itself, for a diagnosis.
    """

    def __init__(self, path: Path | None, *, is_looker: bool = False) -> None:
        self._path = path.expanduser() if path else None
        self._is_looker = is_looker
        self._lines: list[str] = []
        self._plain: dict[str, list[_Entry]] = {}
        self._special: list[_Entry] = []
        self._stamp: tuple[int, int, int] | None = None
        self._presented: dict[str, PresentedKey] = {}
        self._vouched: set[str] = set()
        self._writing = asyncio.Lock()

    def pinned(self, target: NodeTarget) -> str | None:
        """Fingerprint of the pinned key, None when the node was never met. Raises HostKeysUnusable."""
        keys = self._keys_of(target)
        return keys[0].fingerprint if keys else None

    def pinned_key(self, target: NodeTarget) -> PresentedKey | None:
        """The pinned key itself, None when the node was never met. Raises HostKeysUnusable."""
        keys = self._keys_of(target)
        return keys[0] if keys else None

    def pinned_algorithm(self, target: NodeTarget) -> str | None:
        """Type of the pinned key, to be asked for first so that a node with several keys shows the same one."""
        keys = self._keys_of(target)
        return keys[0].algorithm if keys else None

    def judge(self, target: NodeTarget, key: PresentedKey) -> Verdict:
        """Compare with the pin. A changed key is remembered for ``accept``."""
        known = self._keys_of(target)
        if any(hmac.compare_digest(one.blob, key.blob) for one in known):
            return Verdict.CHANGED if self._is_revoked(target, key) else Verdict.KNOWN
        if not known and not self._is_revoked(target, key):
            return Verdict.NEW
        self._presented[host_name(target)] = key
        return Verdict.CHANGED

    def presented(self, target: NodeTarget) -> str | None:
        """Fingerprint of the key that was refused last, None when none was."""
        key = self._presented.get(host_name(target))
        return key.fingerprint if key else None

    async def pin(self, target: NodeTarget, key: PresentedKey) -> None:
        """Trust that key, and only that key, for the target's address from now on."""
        name = host_name(target)
        async with self._writing:
            self._reload()
            line = f"{name} {key.algorithm} {base64.b64encode(key.blob).decode('ascii')}"
            replaces = bool(self._keys_of(target))
            kept = [one for one in self._lines if not _is_plain_pin(one, name)] if replaces else self._lines
            lines = [*kept, line]
            if self._path is not None and not self._is_looker:
                await asyncio.to_thread(_write_atomically, self._path, lines)
                self._stamp = _stamp(self._path)
            if replaces:
                self._keep(lines)
            else:
                self._lines = lines
                self._index(line)
        self._presented.pop(name, None)

    async def vouch(self, target: NodeTarget, key: PresentedKey) -> None:
        """Pin a key on an authority's word, before the node is met; no other one is accepted until ``disclaim``."""
        if [one.blob for one in self._keys_of(target)] != [key.blob]:
            await self.pin(target, key)
        self._vouched.add(host_name(target))

    def disclaim(self, target: NodeTarget) -> None:
        """The authority's word ends; the pin stays as one of first use."""
        self._vouched.discard(host_name(target))

    def is_vouched(self, target: NodeTarget) -> bool:
        """Whether an authority stands for the pinned key."""
        return host_name(target) in self._vouched

    async def accept(self, target: NodeTarget, presented: str) -> None:
        """Replace the pin by the refused key with that fingerprint; ValueError when no such key was presented."""
        key = self._presented.get(host_name(target))
        if key is None or key.fingerprint != presented:
            raise ValueError("that host key was not presented by the node")
        await self.pin(target, key)

    def snapshot(self) -> tuple[str, ...]:
        """All lines as they are, for ``put_back``. Raises HostKeysUnusable."""
        self._reload()
        return tuple(self._lines)

    async def put_back(self, lines: Sequence[str]) -> None:
        """Write the lines of an earlier ``snapshot``. Raises HostKeysUnusable."""
        async with self._writing:
            if self._path is not None and not self._is_looker:
                await asyncio.to_thread(_write_atomically, self._path, list(lines))
                self._stamp = _stamp(self._path)
            self._keep(list(lines))

    def _keys_of(self, target: NodeTarget) -> list[PresentedKey]:
        self._reload()
        name = host_name(target)
        special = [entry for entry in self._special if not entry.marker and entry.names(name)]
        return [entry.key for entry in (*self._plain.get(name, ()), *special)]

    def _is_revoked(self, target: NodeTarget, key: PresentedKey) -> bool:
        name = host_name(target)
        entries = (entry for entry in self._special if entry.marker == "@revoked")
        return any(entry.key.blob == key.blob and entry.names(name) for entry in entries)

    def _reload(self) -> None:
        if self._path is None:
            return
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            text = self._path.read_text("utf-8", "surrogateescape") if stamp else ""
        except OSError as error:
            raise HostKeysUnusable(
                f"cannot read the pinned host keys in {self._path}: {error.strerror or error}",
                hint="no node is contacted until the file is readable",
            ) from error
        self._keep(text.splitlines())
        self._stamp = stamp

    def _keep(self, lines: list[str]) -> None:
        """Index the lines: a fleet of a thousand nodes asks several times per login."""
        self._lines = lines
        self._plain, self._special = {}, []
        for line in lines:
            self._index(line)

    def _index(self, line: str) -> None:
        entry = _parse(line)
        if entry is None:
            return
        if entry.marker or "|1|" in entry.patterns:
            self._special.append(entry)
        else:
            for pattern in entry.patterns.lower().split(","):
                self._plain.setdefault(pattern, []).append(entry)


@dataclass(frozen=True, slots=True)
class _Entry:
    marker: str
    patterns: str
    key: PresentedKey

    def names(self, name: str) -> bool:
        return any(_matches(pattern, name) for pattern in self.patterns.split(","))


@functools.lru_cache(maxsize=1 << 14)
def _parse(line: str) -> _Entry | None:
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0) if words[0].startswith("@") else ""
    if len(words) < 3:
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return _Entry(marker, words[0], PresentedKey(words[1], blob))


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("|1|"):
        return pattern.lower() == name
    try:
        salt, digest = (base64.b64decode(part) for part in pattern[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def _is_plain_pin(line: str, name: str) -> bool:
    entry = _parse(line)
    return entry is not None and not entry.marker and entry.names(name)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _write_atomically(path: Path, lines: list[str]) -> None:
    """Temporary file (created 0600), fsync, rename: a crash leaves the old or the new pins."""
    temporary = ""
    try:
        make_private_directory(path.parent)
        descriptor, temporary = tempfile.mkstemp(prefix=".known_hosts.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(line + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        take_after_directory(Path(temporary))
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise HostKeysUnusable(
            f"cannot save a host key in {path}: {error.strerror or error}",
            hint="free space or fix the directory's owner; nodes are not trusted without a saved pin",
        ) from error
