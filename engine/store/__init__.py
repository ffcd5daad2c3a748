"""What the engine remembers across restarts: grants, nodes, sessions, nonces, verifications and its event log."""

from engine.store.eventlog import EventLog, EventWriter, StoredEvent
from engine.store.records import Grant, KnownNode, Session, SpentNonce, Verification
from engine.store.store import Store, open_store

__all__ = [
    "EventLog",
    "EventWriter",
    "Grant",
    "KnownNode",
    "Session",
    "SpentNonce",
    "Store",
    "StoredEvent",
    "Verification",
    "open_store",
]
