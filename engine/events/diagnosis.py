"""Examinations by the doctor, and repairs."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminationStarted(Event):
    """The doctor looks at a node, or with an empty id at this host."""

    kind = "doctor.started"
    severity = "debug"
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectExamined(Event):
    """What the doctor found. ``rungs`` are JSON objects, one per check in the order of the ladder."""

    kind = "doctor.examined"
    severity = "debug"
    node_id: str
    ok: int
    warnings: int
    failed: int
    skipped: int
    rungs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixEnded(Event):
    """A repair that an operator agreed to. ``ending``: repaired, changed, not_helped or failed."""

    kind = "doctor.fixed"
    fix: str
    check: str
    node_id: str
    ending: str
    message: str
    actor: str
