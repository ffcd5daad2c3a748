"""Which events go on record, and as what: who did what to whom, and how it ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine import events as ev
from engine.events import Event
from engine.observe.audit_chain import Entry

Text = str | Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class _Form:
    """Fields of the event, by name or as a function, that become the columns; the others become the details."""

    actor: Text
    subject: Text
    outcome: Text
    when: Callable[[Any], bool] = lambda _: True


ENGINE = "engine"
"""The actor where nobody outside asked for it."""


def entry_of(event: Event) -> Entry | None:
    """The event as an audit entry, None when it is no matter of record."""
    form = _FORMS.get(type(event))
    if form is None or not form.when(event):
        return None
    return Entry(
        at=event.at,
        kind=event.kind,
        actor=_text(form.actor, event),
        subject=_text(form.subject, event),
        outcome=_text(form.outcome, event),
        details=_details(event),
    )


def _text(source: Text, event: Event) -> str:
    return source if isinstance(source, str) else str(source(event))


def _details(event: Event) -> Mapping[str, object]:
    kind: Any = type(event)
    return {name: value for name in _names_of(kind) if (value := getattr(event, name)) not in (None, "", ())}


@lru_cache(maxsize=512)
def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if field.name != "at")


def _validator(event: Any) -> str:
    return str(event.validator_hotkey)


def _node(event: Any) -> str:
    return str(event.node_id)


_FORMS: dict[type[Event], _Form] = {
    ev.EngineStarted: _Form(ENGINE, lambda e: e.hotkey, lambda e: f"started as {e.role}"),
    ev.EngineStopping: _Form(ENGINE, "", lambda e: e.reason),
    ev.OperatorActed: _Form(lambda e: e.actor, lambda e: e.target, lambda e: f"{e.verb}: {e.outcome}"),
    ev.ConfigReloaded: _Form(lambda e: e.actor, "", lambda e: f"{len(e.applied)} changes applied"),
    ev.ConfigRefused: _Form(lambda e: e.actor, "", "refused"),
    ev.AssignmentChanged: _Form(ENGINE, _validator, lambda e: e.reason),
    ev.ValidatorAuthenticated: _Form(_validator, lambda e: e.peer, "accepted"),
    ev.CallRefused: _Form(_validator, lambda e: e.peer, lambda e: f"refused: {e.reason}"),
    ev.DiscoveryAnswered: _Form(
        _validator, lambda e: e.peer, lambda e: f"{e.nodes_ready} nodes offered" if e.assigned else "not assigned"
    ),
    ev.ValidatorKeyChanged: _Form(
        _validator, _validator, lambda e: "another SSH key, signed by its hotkey" if e.is_signed else "another SSH key"
    ),
    ev.SessionEnded: _Form(ENGINE, _validator, lambda e: e.reason),
    ev.GrantWritten: _Form(_validator, _node, lambda e: "renewed" if e.renewed else "granted"),
    ev.GrantEnded: _Form(_validator, _node, lambda e: f"ended: {e.reason}"),
    ev.KeyDeployed: _Form(_validator, _node, lambda e: "renewed" if e.renewed else "deployed"),
    ev.CertificateIssued: _Form(_validator, _node, lambda e: f"certificate {e.serial}"),
    ev.KeyRemoved: _Form(_validator, _node, lambda e: f"removed: {e.reason}"),
    ev.KeyFailed: _Form(ENGINE, _node, lambda e: f"{e.operation} failed: {e.error_code}"),
    ev.NodeEnrolled: _Form(ENGINE, _node, lambda e: f"canary: {e.expiry_enforced}", when=lambda e: e.canary),
    ev.DriftSeen: _Form(ENGINE, _node, lambda e: f"{e.count} lines are nobody's we know"),
    ev.BaselineAccepted: _Form(ENGINE, _node, lambda e: f"{e.keys} keys are the operator's"),
    ev.ForeignKeyRemoved: _Form(ENGINE, _node, lambda e: f"removed: {e.description}"),
    ev.LeftoversAdopted: _Form(ENGINE, _node, lambda e: f"{e.count} lines of another miner removed"),
    ev.GrantsFileMoved: _Form(
        ENGINE, _node, lambda e: f"grants' file, {e.step}: {e.path}" + (f" ({e.message})" if e.message else "")
    ),
    ev.SessionProcessesEnded: _Form(_validator, _node, lambda e: f"{e.processes} processes ended, {e.left} left"),
    ev.NodeKeyRotated: _Form(ENGINE, lambda e: e.node_id or e.new_fingerprint, lambda e: e.step),
    ev.WeightsSet: _Form(ENGINE, "", lambda e: f"set for {e.uids} uids"),
    ev.WeightsFailed: _Form(ENGINE, "", lambda e: f"failed: {e.error_code}"),
    ev.HostKeyPinned: _Form(ENGINE, _node, "pinned on first use"),
    ev.HostKeyChanged: _Form(_node, _node, "refused: another host key"),
    ev.HostKeyAccepted: _Form(lambda e: e.actor, _node, "accepted"),
}


class RefusalGate:
    """Bounds what strangers can write: beyond so many refusals a minute they are counted, and the count recorded."""

    def __init__(self, per_window: int = 60, window_s: float = 60.0) -> None:
        self._per_window = per_window
        self._window_s = window_s
        self._began_at = float("-inf")
        self._seen = 0
        self._more = 0
        self._reasons: dict[str, int] = {}
        self._peers: set[str] = set()

    def admit(self, event: ev.CallRefused, now: float) -> list[Entry]:
        """What to record for this refusal, with the summary of the window before if there is one."""
        entries = self.flush(now)
        if not self._began_at <= now < self._began_at + self._window_s:
            self._began_at, self._seen = now, 0
        self._seen += 1
        if self._seen <= self._per_window:
            entry = entry_of(event)
            return [*entries, entry] if entry is not None else entries
        self._more += 1
        if len(self._reasons) < 20 or event.reason in self._reasons:
            self._reasons[event.reason] = self._reasons.get(event.reason, 0) + 1
        if len(self._peers) < 1_000:
            self._peers.add(event.peer.rpartition(":")[0])
        return entries

    def flush(self, now: float, *, is_last: bool = False) -> list[Entry]:
        """The summary of a window that is over, or of the one that is open at the end."""
        if not self._more or not (is_last or not self._began_at <= now < self._began_at + self._window_s):
            return []
        entry = Entry(
            at=now,
            kind="door.refused_many",
            actor="",
            subject="",
            outcome=f"{self._more} more calls were refused",
            details={
                "since": self._began_at,
                "count": self._more,
                "peers": len(self._peers),
                "reasons": dict(sorted(self._reasons.items(), key=lambda item: -item[1])),
            },
        )
        self._more, self._reasons, self._peers = 0, {}, set()
        return [entry]
