"""Views, removals and log lines as item frames that stay well below the frame limit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.control.frames import wrap
from engine.control.models import LogRecord, view_to_json
from engine.control.state import LiveState

CHUNK_BYTES = 256 * 1024
PART_BYTES = 512 * 1024
"""One view or line beyond this is left out: something is wrong with it, and the rest must still arrive."""

Part = tuple[str, str, bytes]
"""Where it belongs in the item (two keys, the second may be empty) and its JSON."""


class ViewEncoder:
    """JSON of views, each made once however many clients want it; for one moment of the state."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._made: dict[tuple[str, str], bytes | None] = {}

    def view(self, collection: str, view_id: str) -> bytes | None:
        """The view's JSON, None when it does not exist (any more)."""
        key = collection, view_id
        if key not in self._made:
            view = self._state.view(collection, view_id)
            self._made[key] = None if view is None else to_json(view_to_json(view))
        return self._made[key]

    def changes(self, touched: Iterable[tuple[str, str]]) -> Iterator[Part]:
        """Parts of a batch: the newest views, and ids that are gone."""
        for collection, view_id in touched:
            body = self.view(collection, view_id)
            if body is None:
                yield "removed", collection, to_json(view_id)
            else:
                yield "changed", collection, body


def to_json(value: object) -> bytes:
    """Compact ASCII JSON."""
    return json.dumps(value, separators=(",", ":"), default=str).encode("ascii")


def log_part(record: LogRecord) -> Part:
    """A log line as a part of an item."""
    return "logs", "", to_json(dataclasses.asdict(record))


def item_frames(request_id: int, parts: Iterable[Part], extra: Mapping[str, Any]) -> Iterator[bytes]:
    """Frames that carry all parts in order; ``extra`` fields go into the first one. None for nothing at all."""
    chunk: list[Part] = []
    size = 0
    first = dict(extra)
    for part in parts:
        length = len(part[2])
        if length > PART_BYTES:
            continue
        if chunk and size + length > CHUNK_BYTES:
            yield _item_frame(request_id, chunk, first)
            chunk, size, first = [], 0, {}
        chunk.append(part)
        size += length + 1
    if chunk or first:
        yield _item_frame(request_id, chunk, first)


def _item_frame(request_id: int, parts: list[Part], extra: Mapping[str, Any]) -> bytes:
    fields: dict[str, bytes] = {name: to_json(value) for name, value in extra.items()}
    grouped: dict[str, dict[str, list[bytes]]] = {}
    for group, name, body in parts:
        grouped.setdefault(group, {}).setdefault(name, []).append(body)
    for group, members in grouped.items():
        lists = {name: b"[" + b",".join(bodies) + b"]" for name, bodies in members.items()}
        fields[group] = lists[""] if "" in lists else _object(lists)
    head = b'{"t":"item","id":%d,"item":' % request_id
    return wrap(head + _object(fields) + b"}")


def _object(fields: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(to_json(name) + b":" + body for name, body in fields.items()) + b"}"
