"""Folding rules: what the doctor found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import on
from engine.control.models import HOST_ID, DiagnosisView

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

MAX_DIAGNOSES = 2_000


@on(ev.ExaminationStarted)
def _started(state: LiveState, event: ev.ExaminationStarted) -> Touched:
    view = _view(state, event.node_id)
    if view is None:
        return set()
    view.running = True
    return {("diagnoses", view.id)}


@on(ev.SubjectExamined)
def _examined(state: LiveState, event: ev.SubjectExamined) -> Touched:
    view = _view(state, event.node_id)
    if view is None:
        return set()
    view.running, view.at, view.rungs = False, event.at, event.rungs
    view.ok, view.warnings, view.failed, view.skipped = event.ok, event.warnings, event.failed, event.skipped
    return {("diagnoses", view.id)}


@on(ev.FixEnded)
def _fixed(state: LiveState, event: ev.FixEnded) -> Touched:
    view = _view(state, event.node_id)
    if view is None:
        return set()
    view.last_fix = f"{event.fix}: {event.ending}, {event.message}"
    view.last_fix_at = event.at
    return {("diagnoses", view.id)}


def _view(state: LiveState, node_id: str) -> DiagnosisView | None:
    """The subject's view, made when it is new; None when there are too many already."""
    key = node_id or HOST_ID
    view = state.diagnoses.get(key)
    if view is None and len(state.diagnoses) < MAX_DIAGNOSES:
        view = state.diagnoses[key] = DiagnosisView(id=key)
    return view
