"""A systemd unit as far as it matters to an engine: who runs it, what it may see, how it is restarted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_SPECIFIER = re.compile(r"%(.)")
_LISTS = {
    "BindPaths",
    "BindReadOnlyPaths",
    "ExecStart",
    "InaccessiblePaths",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "TemporaryFileSystem",
}


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """Settings of ``[Service]`` after all drop-ins, with paths unquoted."""

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, key: str, default: str = "") -> str:
        """The last value of a key that has one value."""
        return self.values.get(key, default)

    def paths(self, *keys: str) -> tuple[Path, ...]:
        """Where the listed paths appear in the service's own view (the destination of a bind)."""
        found: list[Path] = []
        for key in keys:
            for text in self.lists.get(key, ()):
                parts = text.removeprefix("-").removeprefix("+").replace(r"\:", "\0").split(":")
                is_bind = key.startswith("Bind") and len(parts) > 1 and parts[1]
                found.append(Path((parts[1] if is_bind else parts[0]).replace("\0", ":")))
        return tuple(found)

    @property
    def restarts_always(self) -> bool:
        """Whether every end of the engine, also a clean one, is followed by a start."""
        return self.get("Restart") == "always"


def parse_unit(*texts: str, instance: str = "") -> UnitSettings:
    """A unit and its drop-ins, in the order in which systemd reads them. Specifiers but ``%i`` and ``%%`` stay."""
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for text in texts:
        section = ""
        for line in _logical_lines(text):
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
                continue
            key, equals, value = line.partition("=")
            key, value = key.strip(), value.strip()
            if section != "Service" or not equals:
                continue
            if key not in _LISTS:
                values[key] = value
            elif not value:
                lists[key] = []  # an empty assignment forgets what came before
            elif key == "ExecStart":
                lists.setdefault(key, []).append(value)
            else:
                lists.setdefault(key, []).extend(_words(value, instance))
    return UnitSettings(values, {key: tuple(entries) for key, entries in lists.items()})


def quote(text: str) -> str:
    """A value as systemd reads it back: specifiers, variables, blanks and quotes are taken literally."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(c in text for c in " \t'\"\\;") else escaped


def quote_path(path: Path) -> str:
    """The same for a path in a list of paths, where a dollar sign means nothing."""
    return quote(str(path)).replace("$$", "$")


def _logical_lines(text: str) -> Iterable[str]:
    pending = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not pending):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        yield pending + line
        pending = ""
    if pending:
        yield pending


def _words(value: str, instance: str) -> list[str]:
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    known = {"i": instance, "%": "%"}
    return [_SPECIFIER.sub(lambda found: known.get(found[1], found[0]), word) for word in words]
