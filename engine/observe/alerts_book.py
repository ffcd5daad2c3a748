"""The memory behind alerts, pure: when a reading becomes an alert, when it is over, what is silenced.

A rule says what is wrong now; the book waits until it was wrong for long enough, and fine for long enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from engine.store.records import AlertRecord

Level = Literal["info", "warning", "error"]
LEVELS: tuple[str, ...] = ("info", "warning", "error")
KNOWN_FOR_S = 2 * 86_400.0
"""Longer than any rule that an acknowledgement ends."""
Key = tuple[str, str]
"""Rule and subject."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, what it costs, and what to do."""

    level: Level
    message: str
    impact: str
    hint: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One rule's judgement of one subject; ``is_known`` is False while there is nothing to judge by."""

    rule: str
    subject: str
    trouble: Trouble | None = None
    is_known: bool = True

    @property
    def key(self) -> Key:
        """What the book files it under."""
        return (self.rule, self.subject)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a rule must read wrong before the alert, and fine before its end."""

    raise_after_s: float = 0.0
    clear_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began or ended with this step."""

    record: AlertRecord

    @property
    def is_raised(self) -> bool:
        """Whether it began."""
        return self.record.ended_at is None


@dataclass
class AlertBook:
    """Active alerts by key, and what may become or end one."""

    active: dict[Key, AlertRecord] = field(default_factory=dict)
    wrong_since: dict[Key, float] = field(default_factory=dict)
    fine_since: dict[Key, float] = field(default_factory=dict)
    silences: dict[Key, float] = field(default_factory=dict)
    """Until when; an empty subject silences the whole rule."""
    acknowledged: dict[Key, float] = field(default_factory=dict)
    """When; kept after the alert's end, which for some rules the acknowledgement itself is."""

    def step(self, readings: Iterable[Reading], patience: Mapping[str, Patience], now: float) -> list[Change]:
        """Take in one round of readings; a subject that no rule mentions any more is gone, and its alert with it."""
        changes: list[Change] = []
        seen: set[Key] = set()
        for reading in readings:
            seen.add(reading.key)
            if not reading.is_known:
                self.fine_since.pop(reading.key, None)
                continue
            limits = patience.get(reading.rule, Patience())
            if reading.trouble is not None:
                changes += self._wrong(reading.key, reading.trouble, limits, now)
            else:
                changes += self._fine(reading.key, limits, now)
        for key in [key for key in self.wrong_since if key not in seen]:
            del self.wrong_since[key]
        for key in [key for key in self.active if key not in seen]:
            changes.append(self._end(key, now))
        for key in [key for key, until in self.silences.items() if until <= now]:
            del self.silences[key]
        for key in [key for key, at in self.acknowledged.items() if now - at > KNOWN_FOR_S and key not in self.active]:
            del self.acknowledged[key]
        return changes

    def is_silenced(self, key: Key, now: float) -> bool:
        """Whether nobody wants to be told about this now."""
        return any(self.silences.get(k, 0.0) > now for k in (key, (key[0], "")))

    def find(self, alert_id: str) -> AlertRecord | None:
        """An active alert by its id."""
        return next((record for record in self.active.values() if record.id == alert_id), None)

    def acknowledge(self, alert_id: str, now: float) -> AlertRecord | None:
        """Note that a person knows; None when no such alert is active."""
        record = self.find(alert_id)
        if record is None:
            return None
        if record.acknowledged_at is None:
            record = replace(record, acknowledged_at=now)
            self.active[(record.rule, record.subject)] = record
            self.acknowledged[(record.rule, record.subject)] = now
        return record

    def _wrong(self, key: Key, trouble: Trouble, limits: Patience, now: float) -> list[Change]:
        self.fine_since.pop(key, None)
        # A wall clock that was put back must not make the wait longer than it is.
        since = min(self.wrong_since.setdefault(key, now), now)
        self.wrong_since[key] = since
        told = self.active.get(key)
        if told is not None and LEVELS.index(trouble.level) <= LEVELS.index(told.level):
            return []
        if told is None and now - since < limits.raise_after_s:
            return []
        # What became worse is another alert: who asked for errors alone was not told of the warning.
        changes = [] if told is None else [self._end(key, now)]
        self.wrong_since[key] = since
        rule, subject = key
        record = AlertRecord(
            id=episode_id(rule, subject, now),
            rule=rule,
            subject=subject,
            level=trouble.level,
            message=trouble.message,
            impact=trouble.impact,
            hint=trouble.hint,
            began_at=now,
        )
        self.active[key] = record
        return [*changes, Change(record)]

    def _fine(self, key: Key, limits: Patience, now: float) -> list[Change]:
        self.wrong_since.pop(key, None)
        if key not in self.active:
            return []
        since = min(self.fine_since.setdefault(key, now), now)
        self.fine_since[key] = since
        return [self._end(key, now)] if now - since >= limits.clear_after_s else []

    def _end(self, key: Key, now: float) -> Change:
        self.fine_since.pop(key, None)
        self.wrong_since.pop(key, None)
        return Change(replace(self.active.pop(key), ended_at=now))


def episode_id(rule: str, subject: str, began_at: float) -> str:
    """An id that is the same nowhere else: rule, a few letters for the subject, the millisecond of its beginning."""
    return f"{rule}.{hashlib.sha256(subject.encode()).hexdigest()[:6]}.{int(began_at * 1000)}"
