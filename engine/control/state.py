"""The engine's live state: a fold over its events, the same for a running engine and for a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from engine.control.folds import FOLDS, Memory
from engine.control.models import (
    AlertView,
    DiagnosisView,
    EngineView,
    MinerView,
    NodeView,
    ServiceView,
    SessionView,
    VerificationView,
    View,
    WeightView,
)
from engine.events import Event

COUNTERS = (
    "authentications",
    "refusals",
    "sessions_opened",
    "sessions_ended",
    "keys_deployed",
    "keys_removed",
    "verifications",
    "verifications_failed",
    "access_lost",
)

Touched = set[tuple[str, str]]
"""Pairs of collection and id. An id that its collection no longer holds was removed."""


class LiveState:
    """What is true now, by collection and id, and how often things happened since the fold began."""

    def __init__(self) -> None:
        self.engine = EngineView()
        self.nodes: dict[str, NodeView] = {}
        self.sessions: dict[str, SessionView] = {}
        self.services: dict[str, ServiceView] = {}
        self.alerts: dict[str, AlertView] = {}
        self.miners: dict[str, MinerView] = {}
        self.verifications: dict[str, VerificationView] = {}
        self.weights: dict[str, WeightView] = {}
        self.diagnoses: dict[str, DiagnosisView] = {}
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self.memory = Memory()
        """What the fold must remember but nobody outside needs to see."""
        self._collections: dict[str, Mapping[str, View]] = {
            "engine": {self.engine.id: self.engine},
            "nodes": self.nodes,
            "sessions": self.sessions,
            "services": self.services,
            "alerts": self.alerts,
            "miners": self.miners,
            "verifications": self.verifications,
            "weights": self.weights,
            "diagnoses": self.diagnoses,
        }

    def apply(self, event: Event) -> Touched:
        """Fold one event in; returns what it touched. Unknown ids and kinds are tolerated.

        A recording may start in the middle, so every rule must work on an object it never saw before.
        """
        fold = FOLDS.get(type(event))
        return fold(self, event) if fold is not None else set()

    def collection(self, name: str) -> Mapping[str, View]:
        """All views of one collection by id; empty for a name that does not exist."""
        return self._collections.get(name, {})

    def collections(self) -> Mapping[str, Mapping[str, View]]:
        """Every collection by name."""
        return cast("Mapping[str, Mapping[str, View]]", self._collections)

    def view(self, collection: str, view_id: str) -> View | None:
        """One view, None when it is not there (any more)."""
        return self.collection(collection).get(view_id)
