"""Replacing an array of tables in a TOML document while the entries that stay keep their comments and their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT

_IDENTITY = ("host", "port", "username")


def plain(value: object) -> Any:
    """Paths as text, tuples as lists, and tables without empty entries: what TOML can hold."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def replace_tables(parent: Any, key: str, wanted: Sequence[Mapping[str, object]]) -> None:
    """Make ``parent[key]`` hold these tables; new ones come last.

    Entries are recognised by host, port and user name: kept ones are changed in place and keep the keys that are not
    mentioned (None removes a key), missing ones go. ``[[section.key]]`` and inline arrays keep their form.
    """
    items = parent[key]
    left = list(wanted)
    for index in range(len(items) - 1, -1, -1):
        match = next((entry for entry in left if _identity(entry) == _identity(items[index])), None)
        if match is None:
            del items[index]
        else:
            left.remove(match)
            _update(items[index], match)
    for entry in left:
        _append(items, plain(entry))


def _identity(entry: Any) -> tuple[object, ...]:
    return tuple(entry.get(name) for name in _IDENTITY) if isinstance(entry, Mapping) else (entry,)


def _update(item: Any, wanted: Mapping[str, object]) -> None:
    for name, value in wanted.items():
        if value is None:
            if name in item:
                del item[name]
        elif item.get(name) != plain(value):
            item[name] = plain(value)


def _append(items: Any, entry: Mapping[str, Any]) -> None:
    table: Any = tomlkit.table() if isinstance(items, AoT) else tomlkit.inline_table()
    table.update(entry)
    if isinstance(items, AoT):
        items.append(table)
    else:
        is_multiline = "\n" in items.as_string() or len(items) == 0
        items.add_line(table) if is_multiline else items.append(table)
