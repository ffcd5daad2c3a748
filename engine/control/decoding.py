"""Reading what an engine sent: another version may be on the other side, so nothing is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.control.models import COLLECTIONS, LogRecord, View, view_from_json


def to_mapping(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def to_number(value: object, default: float) -> float:
    """The value if it is a number."""
    return value if isinstance(value, (int, float)) else default


def to_pairs(value: object) -> list[list[object]]:
    """Those items of a list that are lists of two."""
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, list) and len(item) == 2]


def to_counters(item: Mapping[str, Any]) -> dict[str, int] | None:
    """Counters of an item, None when it brings none."""
    found = item.get("counters")
    return {str(k): v for k, v in found.items() if isinstance(v, int)} if isinstance(found, dict) else None


def to_views(value: object) -> dict[str, list[View]]:
    """Views by collection; collections that only a newer engine has are left out."""
    found: dict[str, list[View]] = {}
    for name, items in to_mapping(value).items():
        cls = COLLECTIONS.get(name)
        if cls is not None and isinstance(items, list):
            found[name] = [
                view_from_json(cls, it) for it in items if isinstance(it, dict) and isinstance(it.get("id"), str)
            ]
    return found


def to_removed(value: object) -> dict[str, list[str]]:
    """Removed ids by collection."""
    return {name: [str(it) for it in ids] for name, ids in to_mapping(value).items() if isinstance(ids, list)}


def to_log_records(item: Mapping[str, Any]) -> list[LogRecord]:
    """Log lines of an item."""
    records = []
    for raw in item.get("logs") or ():
        if isinstance(raw, dict):
            fields = {str(name): str(text) for name, text in to_mapping(raw.get("fields")).items()}
            records.append(
                LogRecord(
                    int(to_number(raw.get("seq"), 0)),
                    to_number(raw.get("at"), 0.0),
                    str(raw.get("level", "")),
                    str(raw.get("event", "")),
                    fields,
                )
            )
    return records
