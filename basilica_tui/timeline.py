"""What happened to a node or to a validator's access, told from the engine's events. Pure, no Textual.

The records come from the engine's store, so their text may be anybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from basilica_tui.format import Line, Look, age, day, duration, short_hotkey
from basilica_tui.text import clean, fit

Record = Mapping[str, object]
Teller = Callable[[Record, Look], tuple[str, str]]
"""Words and their tone."""


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    return clean(str(value)) if value not in (None, "") else ""


def _number(record: Record, name: str) -> float:
    value = record.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _state(record: Record, look: Look) -> tuple[str, str]:
    new, reason = _text(record, "new"), _text(record, "reason")
    tone = {"healthy": "good", "suspect": "warn", "unhealthy": "bad", "stopped": "bad"}.get(new, "")
    return (f"{new}: {reason}" if reason else new or "state changed"), tone


def _reset(record: Record, look: Look) -> tuple[str, str]:
    return f"ramp starts anew, {duration(_number(record, 'minutes_lost') * 60)} lost: {_text(record, 'cause')}", "bad"


def _key(words: str, tone: str) -> Teller:
    def tell(record: Record, look: Look) -> tuple[str, str]:
        who = short_hotkey(_text(record, "validator_hotkey"), look)
        reason = _text(record, "reason")
        return f"{words} {who}{f': {reason}' if reason else ''}", tone

    return tell


def _plain(words: str, *names: str, tone: str = "") -> Teller:
    def tell(record: Record, look: Look) -> tuple[str, str]:
        said = " ".join(part for name in names if (part := _text(record, name)))
        return f"{words} {said}".strip(), tone

    return tell


NODE_EVENTS: Mapping[str, Teller] = {
    "node.state_changed": _state,
    "node.ramp_reset": _reset,
    "node.host_key_changed": _plain("host key changed to", "presented", tone="bad"),
    "node.host_key_accepted": _plain("host key accepted", "fingerprint", tone="warn"),
    "node.host_key_pinned": _plain("host key pinned", "fingerprint", tone="dim"),
    "node.drifted": _plain("changed:", "what", "before", "after", tone="warn"),
    "node.drained": _plain("drained by the operator", tone="warn"),
    "node.enabled": _plain("back in service", tone="good"),
    "key.failed": _plain("keys:", "message", tone="bad"),
    "key.drift": _plain("key lines that nobody knows:", "count", tone="warn"),
    "key.foreign_removed": _plain("key removed by the operator", "fingerprint", "description", tone="warn"),
    "key.baseline_accepted": _plain("keys accepted as the operator's:", "keys"),
    "key.grants_file": _plain("validators' keys, kept in a file:", "step", "path", "message", tone="warn"),
    "key.deployed": _key("key placed for", "dim"),
    "key.removed": _key("key removed of", "dim"),
}
SESSION_EVENTS: Mapping[str, Teller] = {
    "door.authenticated": _plain("signed in from", "peer"),
    "door.discovery_answered": _plain("asked for nodes; ready:", "nodes_ready", tone="dim"),
    "door.validator_key_changed": _plain("came with another key", "new_fingerprint", tone="warn"),
    "access.renewed": _plain("renewed by the operator", tone="warn"),
    "session.ended": _plain("access ended:", "reason", tone="warn"),
    "session.processes_ended": _plain("processes ended on nodes:", "processes", tone="warn"),
    "grant.ended": _plain("grant ended:", "reason", tone="dim"),
    "key.removed": _plain("key removed:", "reason", tone="dim"),
}
"""What is told about each kind; kinds that are not here are not asked for."""


def timeline_lines(
    records: Sequence[Record], tellers: Mapping[str, Teller], look: Look, width: int, *, limit: int
) -> list[Line]:
    """One line per event, newest first; the same event again and again is one line with its number."""
    told: list[tuple[float, str, str, int]] = []
    for record in records:
        teller = tellers.get(str(record.get("kind", "")))
        if teller is None or (record.get("kind") == "key.deployed" and record.get("renewed")):
            continue
        words, tone = teller(record, look)
        if told and told[-1][1] == words:
            told[-1] = (told[-1][0], words, tone, told[-1][3] + 1)
        else:
            told.append((_number(record, "at"), words, tone, 1))
    lines: list[Line] = []
    for at, words, tone, times in told[:limit]:
        when = f"{day(at, look)} {age(at, look)}" if look.now - at > 86_400 else age(at, look)
        again = f"  ({times} times)" if times > 1 else ""
        lines.append(((fit(when, 12), "dim"), (words, tone), (again, "dim")))
    return lines
