"""What to tell and when, pure: repeats are counted, not sent; what comes together goes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

State = Literal["raised", "cleared", "test"]
MAX_HELD = 200


@dataclass(frozen=True, slots=True)
class Note:
    """One alert that began or ended, for people. Texts may come from other machines."""

    alert_id: str
    rule: str
    subject: str
    state: State
    level: str
    message: str
    impact: str
    hint: str
    began_at: float
    ended_at: float | None = None
    times: int = 1
    """How often it began since it was last told."""

    @property
    def key(self) -> tuple[str, str]:
        """What repeats are counted by."""
        return (self.rule, self.subject)


@dataclass(frozen=True, slots=True)
class Message:
    """Several notes as one message."""

    title: str
    body: str
    tone: Literal["failure", "warning", "success", "info"]
    notes: tuple[Note, ...]
    dropped: int = 0


@dataclass(slots=True)
class _Held:
    note: Note
    since: float


@dataclass(frozen=True, slots=True)
class _Told:
    state: State
    raised_at: float


class Digest:
    """Holds notes until they may be told. ``now`` is any clock that does not go back."""

    def __init__(self, *, notify_interval_s: float, group_delay_s: float) -> None:
        self.notify_interval_s = notify_interval_s
        self.group_delay_s = group_delay_s
        self.dropped = 0
        self._held: dict[tuple[str, str], _Held] = {}
        self._told: dict[tuple[str, str], _Told] = {}

    def __len__(self) -> int:
        return len(self._held)

    def remember(self, key: tuple[str, str], now: float) -> None:
        """This alert was told by an earlier run, so its end must be told too."""
        self._told[key] = _Told("raised", now - self.notify_interval_s)

    def offer(self, note: Note, now: float) -> None:
        """Take one note in place of an older one about the same thing."""
        held = self._held.get(note.key)
        if held is None:
            if note.state == "cleared" and note.key not in self._told:
                return  # nobody heard of its beginning: below the level, or silenced
            if len(self._held) >= MAX_HELD:
                del self._held[next(iter(self._held))]
                self.dropped += 1
            times = 1 if note.state == "raised" else 0
            self._held[note.key] = _Held(replace(note, times=times), now)
        else:
            held.note = replace(note, times=held.note.times + (note.state == "raised"))

    def take(self, now: float, *, is_quiet: bool = False) -> tuple[Note, ...]:
        """What is to be told now, oldest first; it counts as told. Nothing while the group may still grow."""
        due = {key: held for key, held in self._held.items() if self._due_at(held, is_quiet=is_quiet) <= now}
        if not any(held.since + self.group_delay_s <= now for held in due.values()):
            return ()
        for key, held in due.items():
            before = self._told.get(key)
            # A flapping alert is told once per interval as well, so what counts is the last telling.
            raised_at = now if held.note.times or before is None else before.raised_at
            self._told[key] = _Told(held.note.state, raised_at)
            del self._held[key]
        self._forget(now)
        return tuple(held.note for held in due.values())

    def next_at(self, *, is_quiet: bool = False) -> float | None:
        """When to look again; None when nothing is waiting, or only for the end of the quiet hours."""
        times = [
            max(self._due_at(held, is_quiet=is_quiet), held.since + self.group_delay_s) for held in self._held.values()
        ]
        times = [at for at in times if at != float("inf")]
        return min(times, default=None)

    def _due_at(self, held: _Held, *, is_quiet: bool) -> float:
        note = held.note
        if is_quiet and note.level != "error":
            return float("inf")
        told = self._told.get(note.key)
        if told is None or note.state == "test":
            return held.since
        if note.state == "cleared" and told.state == "raised":
            return held.since  # the end of what was told: at once
        return max(held.since, told.raised_at + self.notify_interval_s)

    def _forget(self, now: float) -> None:
        for key, told in list(self._told.items()):
            if told.state != "raised" and now - told.raised_at > self.notify_interval_s:
                del self._told[key]


def is_quiet_at(quiet_hours: str | None, local: datetime) -> bool:
    """Whether this local time lies in ``"22:00-07:00"``, which may go over midnight."""
    if quiet_hours is None:
        return False
    begin, end = ((int(text[:2]) * 60 + int(text[3:])) for text in quiet_hours.split("-"))
    minute = local.hour * 60 + local.minute
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


def compose(notes: Sequence[Note], sender: str, *, dropped: int = 0) -> Message:
    """The words of one message."""
    raised = [n for n in notes if n.state == "raised"]
    over = [n for n in notes if n.state == "cleared"]
    parts = []
    if raised:
        parts.append("1 alert" if len(raised) == 1 else f"{len(raised)} alerts")
    if over:
        parts.append(f"{len(over)} over")
    title = f"{sender}: " + (", ".join(parts) or "this is a test")
    body = "\n".join(_lines(note) for note in [*raised, *over, *(n for n in notes if n.state == "test")])
    if dropped:
        body += f"\n{dropped} more were dropped: too many at once."
    tone: Literal["failure", "warning", "success", "info"] = "info"
    if raised:
        tone = "failure" if any(n.level == "error" for n in raised) else "warning"
    elif over:
        tone = "success"
    return Message(title, body, tone, tuple(notes), dropped)


def _lines(note: Note) -> str:
    message = clean(note.message)
    if note.state == "test":
        return message
    if note.state == "cleared":
        ended = note.began_at if note.ended_at is None else note.ended_at
        often = "once" if note.times == 1 else f"{note.times} times"
        came = f" (came and went {often})" if note.times else ""
        return f"OVER {message}{came}, after {_duration(ended - note.began_at)}"
    came = f" ({note.times} times since it was last told)" if note.times > 1 else ""
    since = datetime.fromtimestamp(note.began_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"{note.level.upper()} {message}{came}, since {since}"]
    if note.impact:
        lines.append(f"  impact: {clean(note.impact)}")
    if note.hint:
        lines.append(f"  do: {clean(note.hint)}")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def clean(text: str, limit: int = 500) -> str:
    """Text of other machines on one line, without what a chat service would act on."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    tame = printable.replace("@everyone", "@ everyone").replace("@here", "@ here").replace("<@", "< @")
    return tame if len(tame) <= limit else tame[: limit - 1] + "…"


def note_to_json(note: Note) -> dict[str, object]:
    """A note for programs."""
    return asdict(note)
