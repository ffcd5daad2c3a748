"""Events as plain records, for the database, recordings and the control socket, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from engine.events import access, alerts, chain, door, engine, fleet, validator
from engine.events.base import Event, Value

AREAS = (engine, chain, door, access, fleet, alerts, validator)
"""The modules that define events: a class exists for ``KINDS`` once its module is imported."""


def _leaves(cls: type[Event]) -> list[type[Event]]:
    found = []
    for sub in cls.__subclasses__():
        found += [sub, *_leaves(sub)]
    return found


KINDS: Mapping[str, type[Event]] = {cls.kind: cls for cls in _leaves(Event)}
"""Every event class by its ``kind``."""


def event_to_record(event: Event) -> dict[str, Value]:
    """The event as plain JSON values, with ``kind``, ``version`` and ``severity`` beside its own fields."""
    record: dict[str, Value] = {"kind": event.kind, "version": event.version, "severity": event.severity}
    cls: Any = type(event)
    for name in _names_of(cls):
        record[name] = getattr(event, name)
    return record


@lru_cache(maxsize=512)
def _names_of(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def event_from_record(record: Mapping[str, object]) -> Event | None:
    """The event that ``event_to_record`` wrote; None for a kind that this version does not know.

    Fields that this version does not know are dropped, so that an older program reads a newer recording.
    """
    cls = KINDS.get(str(record.get("kind")))
    if cls is None:
        return None
    values: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        if field.name in record:
            value = record[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)  # type: ignore[arg-type]  # values come from JSON; a wrong shape is a TypeError below
    except TypeError:
        return None
