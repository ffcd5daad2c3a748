"""What writing a configuration anew would take away from the one that is there. Names of keys only, never values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_NAMES = 12


def losses(path: Path, text: str) -> tuple[str, ...]:
    """Sentences about a file that differs from ``text``; none where there is no file, or the same. Raises OSError."""
    try:
        before = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ()
    if before == text:
        return ()
    try:
        old, new = dict(_keys(tomllib.loads(before))), dict(_keys(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return (f"{path} is there, is no valid TOML, and would be replaced whole (a copy stays beside it)",)
    lost = sorted(old.keys() - new.keys())
    changed = sorted(key for key in old.keys() & new.keys() if old[key] != new[key])
    told = [f"{path} is there and differs; a copy stays beside it"]
    told += [f"lost from it: {_names(lost)}"] if lost else []
    told += [f"changed in it: {_names(changed)}"] if changed else []
    told += ["only its comments and order"] if not lost and not changed and old == new else []
    return tuple(told)


def _keys(table: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
