"""The rules by which an event changes the live state: one small function per event, no clock, no I/O."""

from engine.control.folds import alerts, diagnosis, engine, estimates, fleet, keys, sessions, verification
from engine.control.folds.common import FOLDS, Memory

__all__ = ["FOLDS", "Memory", "alerts", "diagnosis", "engine", "estimates", "fleet", "keys", "sessions", "verification"]
