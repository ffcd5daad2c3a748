"""The last line: the screens, then the keys that matter on this one, or a notice for a few seconds."""

from __future__ import annotations

from collections.abc import Sequence

from basilica_tui.bindings import MINER_SCREENS, SCREEN_IDS, VALIDATOR_TITLES, KeyBinding, applies, key_face, shown
from basilica_tui.format import Line, Look
from basilica_tui.lines import join, join_fitting, line_width, spread

HELP_ROOM = 10
"""Help is offered before the last of the screens."""
SHORT_NAMES = {"dashboard": "Dash", "sessions": "Access", "ssh": "SSH", "verifications": "Verified"}
_ORDER = (
    "help",
    "leave",
    "filter",
    "command",
    "open",
    "problems",
    "node.test",
    "fix.next",
    "fix.apply",
    "session.end",
    "config.reload",
    "config.restore",
    "alert.acknowledge",
    "node.accept",
    "follow",
    "log.filter",
    "actions",
    "plot.later",
    "plot.next",
    "plot.node_next",
    "plot",
    "pause",
    "export",
)
_SHOW_ORDER = (
    "fix.next",
    "fix.apply",
    "open",
    "filter",
    "problems",
    "log.filter",
    "follow",
    "plot.later",
    "plot.next",
    "plot.node_next",
    "actions",
    "node.test",
    "node.accept",
    "config.reload",
    "config.restore",
    "session.end",
    "alert.acknowledge",
    "plot",
    "export",
    "pause",
    "command",
    "help",
    "leave",
)


def footer_line(
    bindings: Sequence[KeyBinding], screen: str, look: Look, width: int, *, read_only: bool, is_validator: bool
) -> Line:
    """As many keys as fit; help and leave are the last to go."""
    screens = _screens(bindings, screen, width, is_validator=is_validator)
    usable = {
        b.id: b
        for b in shown(bindings, read_only=read_only)
        if b.label
        and applies(b, screen)
        and b.keys
        and not (is_validator and b.id.startswith(("node.", "session.", "key.", "fix.")))
    }
    room = width - line_width(screens) - 3
    chosen: list[str] = []
    for binding_id in _ORDER:
        if binding_id in usable and line_width(_keys([*chosen, binding_id], usable)) <= room:
            chosen.append(binding_id)
    return spread(((" ", ""), *screens), (*_keys(chosen, usable), (" ", "")), width, look.symbols.ellipsis)


def _keys(ids: Sequence[str], usable: dict[str, KeyBinding]) -> Line:
    ordered = [i for i in _SHOW_ORDER if i in ids]
    return join([((key_face(usable[i].keys[0]), "key"), (f" {usable[i].label}", "dim")) for i in ordered], ("  ", ""))


def _screens(bindings: Sequence[KeyBinding], screen: str, width: int, *, is_validator: bool) -> Line:
    by_id = {b.id: b for b in bindings}
    parts: list[Line] = []
    for name in SCREEN_IDS:
        binding = by_id[f"screen.{name}"]
        if not binding.keys or (is_validator and name in MINER_SCREENS):
            continue
        shown_name = VALIDATOR_TITLES.get(name, name) if is_validator else name
        word = SHORT_NAMES.get(shown_name, shown_name.capitalize())
        here = screen in {name, shown_name}
        parts.append(((key_face(binding.keys[0]), "key"), (f" {word}", "title" if here else "dim")))
    return join_fitting(parts, width - HELP_ROOM, (" ", "") if width < 100 else ("  ", ""))


def notice_line(text: str, tone: str, look: Look, width: int) -> Line:
    """What just happened, in the footer's place."""
    return spread(((f" {text}", tone),), (), width, look.symbols.ellipsis)
