"""What alert rules need to know about the recent past, counted from events; bounded, and pure but for its memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from engine.events import (
    AlertDelivered,
    AlertDeliveryFailed,
    CallRefused,
    Event,
    HostKeyAccepted,
    HostKeyChanged,
    NodeDrained,
    NodeDrifted,
    NodeEnabled,
    ServiceCrashed,
    ValidatorAuthenticated,
    ValidatorKeyChanged,
)
from engine.observe.alerts_facts import KeyChange
from engine.observe.alerts_network import KEY_CHANGE_SHOWN_S

MAX_CALLS = 20_000
MAX_CRASHES = 100
MAX_KEY_CHANGES = 100
NOT_OURS = ("authorized", "intended", "too many requests", "invalid hotkey", "target_miner_hotkey")
"""Refusals of strangers and of calls that were never for us: they say nothing about how validators fare."""
URGENT = (
    *(HostKeyChanged, HostKeyAccepted, ServiceCrashed, ValidatorKeyChanged, AlertDeliveryFailed),
    *(NodeDrifted, NodeDrained, NodeEnabled),
)
"""Worth looking at the rules at once."""


class AlertSense:
    """Counts within windows. ``listen`` is called for every event."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, bool]] = deque(maxlen=MAX_CALLS)
        self._crashes: dict[str, deque[float]] = {}
        self._targets: dict[str, str] = {}
        self.key_changes: dict[str, KeyChange] = {}

    def listen(self, event: Event) -> bool:
        """Take in one event; True when the rules should be looked at soon."""
        match event:
            case ValidatorAuthenticated():
                self._calls.append((event.at, True))
            case CallRefused(call="AuthenticateValidator"):
                if not any(words in event.reason.lower() for words in NOT_OURS):
                    self._calls.append((event.at, False))
            case ServiceCrashed():
                self._crashes.setdefault(event.service, deque(maxlen=MAX_CRASHES)).append(event.at)
            case ValidatorKeyChanged(is_signed=False):
                self._note_change(event)
            case AlertDeliveryFailed():
                self._targets[event.target] = event.error
            case AlertDelivered():
                self._targets[event.target] = ""
            case _:
                pass
        return isinstance(event, URGENT)

    def authentications(self, now: float, window_s: float) -> tuple[int, int]:
        """Accepted and refused within the window."""
        while self._calls and self._calls[0][0] < now - window_s:
            self._calls.popleft()
        accepted = sum(ok for _, ok in self._calls)
        return accepted, len(self._calls) - accepted

    def crashes(self, now: float, window_s: float) -> dict[str, int]:
        """How often each service crashed within the window."""
        return {name: sum(at >= now - window_s for at in times) for name, times in self._crashes.items()}

    def failed_targets(self) -> Mapping[str, str]:
        """Ways of telling that were tried, with the last reason of failure or nothing."""
        return dict(self._targets)

    def recent_key_changes(self, now: float) -> tuple[KeyChange, ...]:
        """Changes that are still worth a word, and a little longer, so that their alert ends by the rule."""
        for hotkey in [h for h, change in self.key_changes.items() if now - change.at > 2 * KEY_CHANGE_SHOWN_S]:
            del self.key_changes[hotkey]
        return tuple(self.key_changes.values())

    def forget_target(self, keep: frozenset[str]) -> None:
        """Drop ways of telling that are no longer configured."""
        self._targets = {name: error for name, error in self._targets.items() if name in keep}

    def _note_change(self, event: ValidatorKeyChanged) -> None:
        self.key_changes.pop(event.validator_hotkey, None)
        self.key_changes[event.validator_hotkey] = KeyChange(
            event.validator_hotkey, event.at, event.old_fingerprint, event.new_fingerprint
        )
        while len(self.key_changes) > MAX_KEY_CHANGES:
            del self.key_changes[next(iter(self.key_changes))]
