"""What the console knows: plain dictionaries by collection and id, with a version and the ids that changed.

The link writes it, the visible screen reads it once per flush. No Textual, no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, cast

from engine.control.models import (
    AlertView,
    EngineView,
    LogRecord,
    MinerView,
    NodeView,
    ServiceView,
    SessionView,
    VerificationView,
    View,
)

LOG_LIMIT = 5000

Phase = Literal["connecting", "live", "waiting"]
V = TypeVar("V", bound=View)


class SnapshotLike(Protocol):
    """What the store reads of a snapshot."""

    @property
    def views(self) -> dict[str, dict[str, View]]: ...
    @property
    def counters(self) -> dict[str, int]: ...


class BatchLike(Protocol):
    """What the store reads of a batch of changes."""

    @property
    def changed(self) -> dict[str, list[View]]: ...
    @property
    def removed(self) -> dict[str, list[str]]: ...
    @property
    def counters(self) -> dict[str, int] | None: ...
    @property
    def logs(self) -> list[LogRecord]: ...


@dataclass(slots=True)
class LinkState:
    """The connection to the engine as the header shows it. ``since`` is when this phase began."""

    phase: Phase = "connecting"
    since: float = 0.0
    retry_at: float | None = None
    error: str = ""
    hint: str = ""
    role: str = ""
    attempts: int = 0
    was_live: bool = False
    build: str = ""
    """The version of the engine that answered last."""
    latency_s: float = 0.0
    """The last round trip to the engine, coarse; 0 where it is too short to be worth a word."""
    unanswered_since: float | None = None
    """Since when a question waits for its answer, if for longer than it should."""
    is_mismatch: bool = False
    """Somebody answers, but in a protocol that this console does not speak."""


@dataclass(slots=True)
class Dirty:
    """What changed since the last flush."""

    ids: dict[str, set[str]] = field(default_factory=dict)
    counters: bool = False
    logs: bool = False
    link: bool = False

    def __bool__(self) -> bool:
        return bool(self.ids) or self.counters or self.logs or self.link


@dataclass(frozen=True, slots=True)
class ReplayPosition:
    """Where in a recording the console stands; what is shown happened up to ``at``."""

    at: float
    begins_at: float
    ends_at: float
    speed: float = 1.0
    is_playing: bool = False
    silent_s: float = 0.0
    """How long nothing was recorded before."""
    down_s: float = 0.0
    """How long no engine ran, where the moment is between two lives."""
    marks: tuple[float, ...] = ()
    """Times of errors and alerts."""
    source: str = ""
    is_busy: bool = False


class ConsoleStore:
    """The client's copy of the engine's live state."""

    def __init__(self) -> None:
        self._views: dict[str, dict[str, View]] = {}
        self.counters: dict[str, int] = {}
        self.logs: deque[LogRecord] = deque(maxlen=LOG_LIMIT)
        self.link = LinkState()
        self.version = 0
        self.has_data = False
        self.lost_log_lines = 0
        self.verbs: frozenset[str] | None = None
        """The actions that the engine knows; None while it has not said."""
        self.replay: ReplayPosition | None = None
        """Set where a recording is shown instead of an engine."""
        self.profile = ""
        """The name by which the operator knows this engine; empty without one."""
        self._dirty = Dirty()

    # --- reading ----------------------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineView:
        """The engine's own view; an empty one before the first snapshot."""
        return cast("EngineView", self._views.get("engine", {}).get("engine") or EngineView())

    @property
    def nodes(self) -> Mapping[str, NodeView]:
        """Nodes by id."""
        return cast("Mapping[str, NodeView]", self.collection("nodes"))

    @property
    def sessions(self) -> Mapping[str, SessionView]:
        """Sessions by hotkey."""
        return cast("Mapping[str, SessionView]", self.collection("sessions"))

    @property
    def services(self) -> Mapping[str, ServiceView]:
        """Services by name."""
        return cast("Mapping[str, ServiceView]", self.collection("services"))

    @property
    def alerts(self) -> Mapping[str, AlertView]:
        """Alerts by id."""
        return cast("Mapping[str, AlertView]", self.collection("alerts"))

    @property
    def miners(self) -> Mapping[str, MinerView]:
        """Miners by hotkey; validator role only."""
        return cast("Mapping[str, MinerView]", self.collection("miners"))

    @property
    def verifications(self) -> Mapping[str, VerificationView]:
        """Latest verification by miner and node; validator role only."""
        return cast("Mapping[str, VerificationView]", self.collection("verifications"))

    @property
    def is_stale(self) -> bool:
        """Whether what is shown may be out of date because the engine does not answer."""
        return self.link.phase != "live"

    @property
    def is_validator(self) -> bool:
        """Whether the engine plays the validator."""
        return self.engine.role == "validator"

    def collection(self, name: str) -> Mapping[str, View]:
        """All views of one collection."""
        return self._views.get(name, {})

    # --- writing ----------------------------------------------------------------------------------------------

    def apply_snapshot(self, snapshot: SnapshotLike) -> None:
        """Replace everything; only what differs becomes dirty."""
        for name in self._views.keys() | snapshot.views.keys():
            old, new = self._views.get(name, {}), snapshot.views.get(name, {})
            touched = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
            self._views[name] = dict(new)
            self._touch(name, touched)
        self._set_counters(snapshot.counters)
        self.has_data = True

    def apply_batch(self, batch: BatchLike) -> None:
        """Fold in one batch of changes."""
        for name, views in batch.changed.items():
            rows = self._views.setdefault(name, {})
            touched = {view.id for view in views if rows.get(view.id) != view}
            rows.update((view.id, view) for view in views)
            self._touch(name, touched)
        for name, ids in batch.removed.items():
            rows = self._views.get(name, {})
            self._touch(name, {key for key in ids if rows.pop(key, None) is not None})
        if batch.counters is not None:
            self._set_counters(batch.counters)
        self.add_logs(batch.logs)

    def add_logs(self, records: Iterable[LogRecord]) -> None:
        """Append log lines that are newer than the last one."""
        last = self.logs[-1].seq if self.logs else -1
        fresh = [r for r in records if r.seq > last]
        if fresh:
            self.logs.extend(fresh)
            self._dirty.logs = True
            self.version += 1

    def clear_logs(self) -> None:
        """Forget the log: another engine counts its lines from the start."""
        self.logs.clear()
        self._dirty.logs = True

    def set_link(self, link: LinkState) -> None:
        """The connection changed."""
        if link != self.link:
            self.link = link
            self._dirty.link = True
            self.version += 1

    def set_replay(self, position: ReplayPosition) -> None:
        """Another moment of a recording."""
        if position != self.replay:
            self.replay = position
            self._dirty.link = True
            self.version += 1

    def take_dirty(self) -> Dirty:
        """What changed since the last call."""
        dirty, self._dirty = self._dirty, Dirty()
        return dirty

    @property
    def is_dirty(self) -> bool:
        """Whether a flush would find anything."""
        return bool(self._dirty)

    @property
    def is_link_dirty(self) -> bool:
        """Whether the connection changed since the last flush; that is shown at once."""
        return self._dirty.link

    def _touch(self, name: str, ids: set[str]) -> None:
        if ids:
            self._dirty.ids.setdefault(name, set()).update(ids)
            self.version += 1

    def _set_counters(self, counters: Mapping[str, int]) -> None:
        if counters != self.counters:
            self.counters = dict(counters)
            self._dirty.counters = True
            self.version += 1
