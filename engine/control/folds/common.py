"""What the folding rules share: their registry, their memory, and bounds on what others can multiply."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from engine.control.models import NodeView
from engine.events import Event

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

ENGINE = ("engine", "engine")

Fold = Callable[["LiveState", Any], "Touched"]
FOLDS: dict[type[Event], Fold] = {}
E = TypeVar("E", bound=Event)
T = TypeVar("T")


@dataclass(slots=True)
class Memory:
    """What lies behind the keys of each node, and nodes that left and must not come back by a late event."""

    wanted: dict[str, set[str]] = field(default_factory=dict)
    in_place: dict[str, set[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    grant_times: dict[str, tuple[float | None, float]] = field(default_factory=dict)
    """By grant: since when and until when, as far as known."""
    key_lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By node: what was last read there."""


def on(cls: type[E]) -> Callable[[Callable[[LiveState, E], Touched]], Callable[[LiveState, E], Touched]]:
    """Make the decorated function the one rule for this class of events."""

    def register(rule: Callable[[LiveState, E], Touched]) -> Callable[[LiveState, E], Touched]:
        if cls in FOLDS:
            raise ValueError(f"{cls.__name__} has two folding rules")
        FOLDS[cls] = rule
        return rule

    return register


def bounded(items: MutableMapping[str, T], limit: int, collection: str, *, keep: Callable[[T], bool]) -> Touched:
    """Forget the oldest entries that may be forgotten while there are too many."""
    touched: Touched = set()
    while len(items) > limit:
        victim = next((key for key, value in items.items() if not keep(value)), None) or next(iter(items))
        del items[victim]
        touched.add((collection, victim))
    return touched


def node_of(state: LiveState, node_id: str) -> NodeView | None:
    """The node's view, made up when a recording starts in the middle; None when the node has left.

    A validator has no nodes of its own: what its connections tell of miners' nodes stands in their verifications.
    """
    if state.engine.role == "validator":
        return None
    view = state.nodes.get(node_id)
    if view is None and node_id not in state.memory.gone:
        view = state.nodes[node_id] = NodeView(id=node_id)
    return view


def is_assigned(state: LiveState, hotkey: str) -> bool:
    """Whether the assignment, or open access, lets this validator use the nodes."""
    engine = state.engine
    return engine.assigned_hotkey == hotkey if engine.assigned_hotkey else engine.strategy == "open"
