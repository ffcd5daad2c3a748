"""One table of bindings; keys, footer, help, command line and the README's table are renderings of it.

Lower case looks, a capital is the stronger form, danger is a capital and a dialog, ctrl is only an alias.
Pure, no Textual.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

SCREEN_IDS = ("dashboard", "nodes", "sessions", "scores", "ssh", "logs", "alerts", "config", "setup")
"""Screens by their digit, 1 first."""
BUILT_SCREENS = frozenset({"dashboard", "nodes", "sessions", "logs", "alerts"})
VALIDATOR_TITLES = {"nodes": "miners", "sessions": "verifications"}

ANY = "any"
TABLES = "tables"


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """A command of the console. ``keys`` are Textual's names; ``scope`` is ``any``, ``tables`` or screen names.

    ``label`` is the footer's word, empty for what only the help screen lists; ``command`` is the word of the
    command line, empty for what makes no sense there; ``danger`` is hidden from read-only consoles.
    """

    id: str
    keys: tuple[str, ...]
    help: str
    scope: tuple[str, ...] = (ANY,)
    label: str = ""
    command: str = ""
    danger: bool = False
    group: str = "Everywhere"


def _screen(number: int, name: str, text: str) -> KeyBinding:
    return KeyBinding(f"screen.{name}", (str(number),), text, label=name.capitalize(), command=name, group="Screens")


_NODE_SCOPES = ("dashboard", "nodes", "node")

BINDINGS: tuple[KeyBinding, ...] = (
    _screen(1, "dashboard", "First glance: reach, fleet, access, what to fix first"),
    _screen(2, "nodes", "GPU nodes (validator: miners)"),
    _screen(3, "sessions", "Who may enter (validator: verifications)"),
    _screen(4, "scores", "Scores"),
    _screen(5, "ssh", "SSH check"),
    _screen(6, "logs", "The engine's log"),
    _screen(7, "alerts", "Active and past alerts"),
    _screen(8, "config", "Effective configuration"),
    _screen(9, "setup", "Setup"),
    KeyBinding("screen.last", ("minus",), "Back to the view before this one", group="Screens"),
    KeyBinding("nav.down", ("j", "down"), "Next row", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.up", ("k", "up"), "Previous row", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.top", ("g", "home"), "First row", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.bottom", ("G", "end"), "Last row; in the log also follow", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.page_down", ("pagedown",), "One page down", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.page_up", ("pageup",), "One page up", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.half_down", ("ctrl+d",), "Half a page down", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.half_up", ("ctrl+u",), "Half a page up", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.left", ("h", "left"), "Columns to the left", scope=(TABLES,), group="Moving"),
    KeyBinding("nav.right", ("l", "right"), "Columns to the right", scope=(TABLES,), group="Moving"),
    KeyBinding("open", ("enter",), "Open the selected row", scope=(TABLES,), label="open", group="Tables"),
    KeyBinding("filter", ("slash",), "Filter: words, field:value, !not", scope=(TABLES,), label="filter",
               group="Tables"),
    KeyBinding("problems", ("exclamation_mark",), "Only what has a problem, and back", scope=(TABLES,),
               label="problems", group="Tables"),
    KeyBinding("sort.left", ("less_than_sign",), "Sort by the column to the left", scope=(TABLES,), group="Tables"),
    KeyBinding("sort.right", ("greater_than_sign",), "Sort by the column to the right", scope=(TABLES,),
               group="Tables"),
    KeyBinding("sort.reverse", ("S",), "Reverse the sorting", scope=(TABLES,), group="Tables"),
    KeyBinding("mark", ("space",), "Mark the row for the next action", scope=(TABLES,), group="Tables"),
    KeyBinding("wide", ("w",), "All columns, even those that do not fit", scope=(TABLES,), group="Tables"),
    KeyBinding("copy", ("y",), "Copy the selected row to the terminal's clipboard", scope=(TABLES, "node"),
               group="Tables"),
    KeyBinding("fix.next", ("tab",), "Select what to fix first, then the next problem", scope=("dashboard",),
               label="next fix", group="Tables"),
    KeyBinding("fix.previous", ("shift+tab",), "Select the problem before", scope=("dashboard",), group="Tables"),
    KeyBinding("follow", ("f",), "Follow the end of the log", scope=("logs",), label="follow", group="Tables"),
    KeyBinding("refresh", ("r", "f5"), "Read everything from the engine again", command="refresh"),
    KeyBinding("pause", ("p",), "Freeze this view, and go on", label="pause"),
    KeyBinding("command", ("colon",), "Command line", label="command"),
    KeyBinding("help", ("question_mark", "f1"), "This list", label="help", command="help"),
    KeyBinding("back", ("escape",), "Close the prompt, clear the filter, the marks, then go back; never quits"),
    KeyBinding("leave", ("q",), "Go back; at the root detach, the engine keeps running", label="leave",
               command="quit"),
    KeyBinding("detach", ("ctrl+q",), "Detach at once"),
    KeyBinding("node.test", ("t",), "Check the node now (or the marked ones)", scope=_NODE_SCOPES, label="test",
               danger=True, group="Actions"),
    KeyBinding("node.accept", ("H",), "Accept the node's new host key (asks)", scope=_NODE_SCOPES,
               label="host key", danger=True, group="Actions"),
    KeyBinding("session.end", ("K",), "End a validator's access (asks)", scope=("sessions",), label="end",
               danger=True, group="Actions"),
    KeyBinding("hint", ("ctrl+c",), "Says how to leave"),
    KeyBinding("theme", (), "Colours: dark, light, ansi, high-contrast", command="theme"),
    KeyBinding("engine.reload", (), "Read the engine's configuration file again", command="reload", danger=True,
               group="Actions"),
    KeyBinding("engine.stop", (), "Stop the engine; asks for its name", command="engine stop", danger=True,
               group="Actions"),
)  # fmt: skip

TABLE_SCREENS = frozenset({"dashboard", "nodes", "sessions", "logs", "alerts", "miners", "verifications"})

KEY_FACES: Mapping[str, str] = {
    "slash": "/", "exclamation_mark": "!", "less_than_sign": "<", "greater_than_sign": ">", "question_mark": "?",
    "colon": ":", "minus": "-", "escape": "esc", "pagedown": "pgdn", "pageup": "pgup", "down": "down", "up": "up",
    "f1": "F1", "f5": "F5",
}  # fmt: skip


def key_face(key: str) -> str:
    """How a key is written for people."""
    return KEY_FACES.get(key, key)


def applies(binding: KeyBinding, screen: str) -> bool:
    """Whether a binding means something on that screen."""
    return ANY in binding.scope or screen in binding.scope or (TABLES in binding.scope and screen in TABLE_SCREENS)


def is_built(binding: KeyBinding) -> bool:
    """Whether a screen binding leads to a screen of this version."""
    kind, _, name = binding.id.partition(".")
    return kind != "screen" or name == "last" or name in BUILT_SCREENS


def shown(bindings: Iterable[KeyBinding], *, read_only: bool) -> list[KeyBinding]:
    """What help and command line list: built screens only, and nothing that a visitor may not do."""
    return [b for b in bindings if is_built(b) and not (read_only and b.danger)]


def remap(
    bindings: Sequence[KeyBinding], keymap: Mapping[str, Sequence[str]]
) -> tuple[tuple[KeyBinding, ...], tuple[str, ...]]:
    """The table with a user's keys by binding id, and one sentence for each mistake in them.

    Unknown ids and clashes are reported; the binding named first keeps a key that two want.
    """
    known = {b.id for b in bindings}
    problems = [f"keys: there is no command called {name}" for name in keymap if name not in known]
    changed = tuple(replace(b, keys=tuple(keymap[b.id])) if b.id in keymap else b for b in bindings)
    clashing = clashes(changed)
    problems += [f"keys: {key_face(key)} is both {first} and {second}" for key, first, second in clashing]
    lost: dict[str, set[str]] = defaultdict(set)
    for key, _, second in clashing:
        lost[second].add(key)
    kept = tuple(replace(b, keys=tuple(k for k in b.keys if k not in lost[b.id])) for b in changed)
    return kept, tuple(problems)


def clashes(bindings: Sequence[KeyBinding]) -> list[tuple[str, str, str]]:
    """Keys that two bindings want on the same screen: (key, first id, second id)."""
    screens = {*TABLE_SCREENS, "node", "help"}
    found = []
    for index, first in enumerate(bindings):
        for second in bindings[index + 1 :]:
            shared = set(first.keys) & set(second.keys)
            if shared and any(applies(first, s) and applies(second, s) for s in screens):
                found += [(key, first.id, second.id) for key in sorted(shared)]
    return found


def bindings_markdown(bindings: Sequence[KeyBinding] = BINDINGS) -> str:
    """The README's table of keys."""
    rows = ["| key | command | what it does | id |", "|---|---|---|---|"]
    for b in shown(bindings, read_only=False):
        keys = " ".join(f"`{key_face(k)}`" for k in b.keys) or "–"
        command = f"`:{b.command}`" if b.command else ""
        rows.append(f"| {keys} | {command} | {b.help}{' **(danger)**' if b.danger else ''} | `{b.id}` |")
    return "\n".join(rows) + "\n"
