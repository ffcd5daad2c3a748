"""The base of all events and the type of a place to put them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

Severity = Literal["debug", "info", "warning", "error"]
Scalar = str | int | float | bool | None
Value = Scalar | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. ``at`` is Unix seconds by the engine's wall clock."""

    kind: ClassVar[str] = "event"
    version: ClassVar[int] = 1
    severity: ClassVar[Severity] = "info"
    passing: ClassVar[bool] = False
    """Told to those who look on now; nobody stores, records, logs or counts it."""
    at: float


EventSink = Callable[[Event], None]
"""Where a service puts what happened. Never blocks, never raises."""
