"""The keys on a node as lines: whose, since when, until when. Pure, no Textual."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basilica_tui.format import Line, Look, age, remaining, short_hotkey
from basilica_tui.text import clean, fit
from engine.control.models import NodeView

KINDS: Mapping[str, tuple[str, str]] = {
    "own": ("this miner's", "accent"),
    "operator": ("yours", ""),
    "authority": ("certificates of", "accent"),
    "grant": ("validator", "good"),
    "drift": ("nobody knows", "bad"),
    "leftover": ("older miner's", "warn"),
    "orphan": ("ours, no grant", "warn"),
}


@dataclass(frozen=True, slots=True)
class KeyOnNode:
    """One line of a key file. ``kind`` is a key of ``KINDS``, or what a newer engine says."""

    fingerprint: str
    kind: str
    holder: str
    comment: str
    algorithm: str
    file: str
    grant_id: str
    since: float | None
    until: float | None

    @property
    def hotkey(self) -> str:
        """The validator whose key it is, or nothing."""
        return self.holder.removeprefix("validator-") if self.holder.startswith("validator-") else ""


def keys_of(node: NodeView) -> tuple[KeyOnNode, ...]:
    """The node's key lines as the engine last read them; what is no line is left out."""
    found = []
    for text in node.keys:
        try:
            raw = json.loads(text)
        except ValueError:
            continue
        if isinstance(raw, dict):
            names = ("fingerprint", "kind", "holder", "comment", "algorithm", "file", "grant_id")
            words = {name: str(raw.get(name) or "") for name in names}
            found.append(KeyOnNode(**words, since=_time(raw.get("since")), until=_time(raw.get("until"))))
    return tuple(found)


def key_lines(keys: Sequence[KeyOnNode], chosen: int, look: Look) -> list[Line]:
    """One line per key; the chosen one has the cursor."""
    if not keys:
        return [(("not read yet", "dim"),)]
    return [_key_line(key, look, is_chosen=number == chosen) for number, key in enumerate(keys)]


def key_name(key: KeyOnNode, look: Look) -> str:
    """What people call it: the validator, the comment, the fingerprint."""
    return short_hotkey(key.hotkey, look) if key.hotkey else clean(key.comment) or key.fingerprint[:24]


def _key_line(key: KeyOnNode, look: Look, *, is_chosen: bool) -> Line:
    word, tone = KINDS.get(key.kind, (clean(key.kind) or "unknown", "warn"))
    since = f"since {age(key.since, look)}" if key.since is not None else ""
    until = ""
    if key.until is not None:
        until = f"{remaining(key.until, look)} left" if key.until > look.now else "over"
    return (
        (f"{look.symbols.cursor if is_chosen else ' '} ", "accent"),
        (fit(word, 15, ellipsis=look.symbols.ellipsis), tone),
        (fit(key_name(key, look), 20, ellipsis=look.symbols.ellipsis) + " ", "title" if is_chosen else ""),
        (fit(since, 12), "dim"),
        (fit(until, 12), "warn" if until == "over" else ""),
        (f" {clean(key.fingerprint)[:24]}{look.symbols.ellipsis}", "dim"),
    )


def _time(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
