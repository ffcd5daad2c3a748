"""The last line: the screens, then the keys that matter on this one, or a notice for a few seconds."""

from __future__ import annotations

from collections.abc import Sequence

from basilica_tui.bindings import (
    ANY,
    MINER_SCREENS,
    NO_VERBS,
    SCREEN_IDS,
    TABLES,
    VALIDATOR_TITLES,
    KeyBinding,
    applies,
    key_face,
    shown,
)
from basilica_tui.format import Line, Look
from basilica_tui.lines import join, join_fitting, line_width, spread

HELP_ROOM = 10
"""Help is offered before the last of the screens."""
NAMES_WIDTH = 100
"""From this width on every screen names all the others; below it the first one alone does, and leaves help room."""
FIRST = "dashboard"
SHORT_NAMES = {"dashboard": "Dash", "sessions": "Access", "ssh": "SSH", "verifications": "Verified"}
_COMMON = ("leave", "filter", "open", "problems", "command", "actions", "node.accept", "plot", "pause", "export")
"""What works on most screens, in the order in which it gets room once help and the screen's own keys have theirs."""
_LAST = ("command", "help", "leave")
"""What stands at the right end."""


def footer_line(
    bindings: Sequence[KeyBinding],
    screen: str,
    look: Look,
    width: int,
    *,
    read_only: bool,
    is_validator: bool,
    verbs: frozenset[str] = NO_VERBS,
) -> Line:
    """As many keys as fit: help before all, then what only this screen knows, then what works everywhere."""
    screens = _screens(bindings, screen, width, is_validator=is_validator)
    usable = {
        b.id: b
        for b in shown(bindings, read_only=read_only, verbs=verbs)
        if b.label
        and applies(b, screen)
        and b.keys
        and not b.id.startswith("screen.")
        and not (is_validator and b.id.startswith(("node.", "session.", "key.", "fix.")))
    }
    own = [i for i, b in usable.items() if i not in _COMMON and not {ANY, TABLES} & set(b.scope)]
    room = width - line_width(screens) - 4
    chosen: list[str] = []
    for binding_id in ("help", *own, *_COMMON):
        if binding_id in usable and line_width(_keys([*chosen, binding_id], usable)) <= room:
            chosen.append(binding_id)
    return spread(((" ", ""), *screens), (*_keys(chosen, usable), (" ", "")), width, look.symbols.ellipsis)


def _keys(ids: Sequence[str], usable: dict[str, KeyBinding]) -> Line:
    ordered = [*(i for i in ids if i not in _LAST), *(i for i in _LAST if i in ids)]
    return join([((key_face(usable[i].keys[0]), "key"), (f" {usable[i].label}", "dim")) for i in ordered], ("  ", ""))


def _screens(bindings: Sequence[KeyBinding], screen: str, width: int, *, is_validator: bool) -> Line:
    by_id = {b.id: b for b in bindings}
    parts: list[Line] = []
    faces: list[str] = []
    for name in SCREEN_IDS:
        binding = by_id[f"screen.{name}"]
        if not binding.keys or (is_validator and name in MINER_SCREENS):
            continue
        shown_name = VALIDATOR_TITLES.get(name, name) if is_validator else name
        word = SHORT_NAMES.get(shown_name, shown_name.capitalize())
        here = screen in {name, shown_name}
        faces.append(key_face(binding.keys[0]))
        parts.append(((faces[-1], "key"), (f" {word}", "title" if here else "dim")))
    if width < NAMES_WIDTH and screen != FIRST:
        row = "".join(faces)
        is_row = row.isdigit() and list(row) == sorted(row) and len(row) > 2
        return ((f"{row[0]}-{row[-1]}" if is_row else " ".join(faces), "key"), (" screens", "dim")) if row else ()
    return join_fitting(parts, width - HELP_ROOM, (" ", ""))


def notice_line(text: str, tone: str, look: Look, width: int) -> Line:
    """What just happened, in the footer's place."""
    return spread(((f" {text}", tone),), (), width, look.symbols.ellipsis)
