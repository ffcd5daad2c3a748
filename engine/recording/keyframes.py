"""The whole live state as one JSON object, and back: where a recording can be opened without what came before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping

from engine.control.folds.common import Memory
from engine.control.models import COLLECTIONS, EngineView, LogRecord, VerificationView, View, place_id, view_to_json
from engine.control.state import LiveState
from engine.events import KINDS, Event, event_to_record
from engine.recording.shapes import fitting
from engine.version import __version__

LOG_LINE = "log.line"
"""The kind of a line of the log that no event stands behind."""

FREQUENT: frozenset[str] = frozenset(
    {LOG_LINE, "node.checked", "node.inspected", "node.live_sessions", "node.ramp_estimated", "observed.node",
     "key.lines_seen", "axon.checked", "chain.metagraph_read", "chain.own_weights_read", "recording.measured",
     "verification.queued", "verification.started", "verification.step_finished"}
)  # fmt: skip
"""Kinds that come all the time and that no timeline tells: blocks with nothing else are marked, and leafed over."""

Record = Mapping[str, object]
_LINE = json.JSONEncoder(separators=(",", ":"), default=str)


def keyframe_of(state: LiveState, at: float) -> dict[str, object]:
    """Everything that the fold knows at this moment."""
    views = {name: [_kept(view) for view in rows.values()] for name, rows in state.collections().items()}
    memory = {f.name: getattr(state.memory, f.name) for f in dataclasses.fields(Memory)}
    return {
        "at": at,
        "build": __version__,
        "counters": dict(state.counters),
        "memory": json.loads(json.dumps(memory, default=sorted)),
        "views": views,
    }


def _kept(view: View) -> dict[str, object]:
    """A view without what passing events said: nothing in a recording would end it."""
    values = view_to_json(view)
    if isinstance(view, VerificationView):
        values |= {"light_steps": (), "light_total": 0}
        if view.phase_tier == "lightweight":
            values |= {"phase": "", "phase_tier": "", "phase_since": None, "progress": 1.0}
    return values


def state_from(keyframe: Record) -> LiveState:
    """A live state that goes on where the keyframe was taken; what has not the shape of a view is left out."""
    state = LiveState()
    views = keyframe.get("views")
    for name, rows in (views if isinstance(views, dict) else {}).items():
        cls = COLLECTIONS.get(str(name))
        if cls is None or not isinstance(rows, list):
            continue
        for row in rows:
            values = fitting(cls, row) if isinstance(row, dict) else None
            if values is None:
                continue
            if cls is EngineView:
                for field, value in values.items():
                    setattr(state.engine, field, value)
            else:
                view = cls(**values)  # type: ignore[arg-type]  # every value was checked against its field
                if isinstance(view, VerificationView) and "node_id" not in values:
                    view.id = place_id(view.miner_hotkey, view.node_id)  # once these rows were named after the node
                state.collection(name)[view.id] = view  # type: ignore[index]  # a dict behind a reading interface
    counters = keyframe.get("counters")
    if isinstance(counters, dict):
        state.counters.update({str(k): v for k, v in counters.items() if type(v) is int})
    _restore_memory(state.memory, keyframe.get("memory"))
    return state


def _restore_memory(memory: Memory, kept: object) -> None:
    if not isinstance(kept, dict):
        return
    for place, name in ((memory.wanted, "wanted"), (memory.in_place, "in_place")):
        place.update({key: {str(item) for item in row} for key, row in _lists(kept.get(name))})
    gone = kept.get("gone")
    memory.gone.update(str(item) for item in (gone if isinstance(gone, list) else ()))
    memory.key_lines.update({key: tuple(map(str, row)) for key, row in _lists(kept.get("key_lines"))})
    for key, row in _lists(kept.get("grant_times")):
        match row:
            case [None | float() | int() as since, float() | int() as until]:
                memory.grant_times[key] = (since, until)


def _lists(value: object) -> Iterator[tuple[str, list[object]]]:
    """The entries of a mapping whose values are lists."""
    for key, row in (value if isinstance(value, dict) else {}).items():
        if isinstance(row, list):
            yield str(key), row


def event_line(event: Event) -> bytes:
    """An event as a line of a block."""
    return _LINE.encode(event_to_record(event)).encode("ascii")


def log_line(record: LogRecord) -> bytes:
    """A line of the log as a line of a block."""
    values = {"kind": LOG_LINE, "at": record.at, "severity": record.level, "event": record.event}
    return _LINE.encode(values | {"fields": record.fields}).encode("ascii")


def event_of(record: Record) -> Event | None:
    """The event of a record; None for a kind that this version does not know and for what is none."""
    cls = KINDS.get(str(record.get("kind")))
    values = fitting(cls, record) if cls is not None else None
    return cls(**values) if cls is not None and values is not None else None  # type: ignore[arg-type]  # checked


def is_trouble(severity: str, kind: str) -> bool:
    """Whether somebody who looks for what went wrong wants to stop here."""
    return severity in {"error", "critical"} or kind == "alert.raised"
