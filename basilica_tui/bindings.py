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
MINER_SCREENS = frozenset({"ssh"})
"""Screens that a validator has no counterpart for."""
VALIDATOR_TITLES = {"nodes": "miners", "sessions": "verifications", "scores": "weights"}

ANY = "any"
TABLES = "tables"


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """A command of the console. ``keys`` are Textual's names; ``scope`` is ``any``, ``tables`` or screen names.

    ``label`` is the footer's word, empty for what only the help screen lists; ``command`` is the word of the
    command line, empty for what makes no sense there; ``danger`` is hidden from read-only consoles; ``needs`` names an
    action without which the binding is hidden.
    """

    id: str
    keys: tuple[str, ...]
    help: str
    scope: tuple[str, ...] = (ANY,)
    label: str = ""
    command: str = ""
    danger: bool = False
    group: str = "Everywhere"
    needs: str = ""


def _screen(number: int, name: str, text: str) -> KeyBinding:
    return KeyBinding(f"screen.{name}", (str(number),), text, label=name.capitalize(), command=name, group="Screens")


_NODE_SCOPES = ("dashboard", "nodes", "scores", "node")
_TESTED = (*_NODE_SCOPES, "ssh")
_ITEMS = (
    "dashboard",
    "nodes",
    "sessions",
    "scores",
    "ssh",
    "alerts",
    "config",
    "miners",
    "verifications",
    "weights",
    "engines",
)
"""Tables whose rows are objects, not log lines."""
_DETAILS = ("node", "session", "verification")
_VALIDATOR_SCOPES = ("miners", "verifications", "verification", "weights")
REPLAY = "replay"
"""Among the verbs of what is shown where that is a recording."""
NO_VERBS: frozenset[str] = frozenset()

BINDINGS: tuple[KeyBinding, ...] = (
    _screen(1, "dashboard", "First glance: reach, fleet, access, what to fix first"),
    _screen(2, "nodes", "GPU nodes (validator: miners)"),
    _screen(3, "sessions", "Who may enter (validator: verifications)"),
    _screen(4, "scores", "Scores (validator: weights)"),
    _screen(5, "ssh", "SSH check"),
    _screen(6, "logs", "The engine's log"),
    _screen(7, "alerts", "Active and past alerts"),
    _screen(8, "config", "Effective configuration"),
    _screen(9, "setup", "Setup"),
    _screen(0, "engines", "All engines that have a name in console.toml"),
    KeyBinding("screen.tree", (), "What belongs to what: nodes, GPUs, keys (validator: miners, nodes, GPUs)",
               command="tree", group="Screens"),
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
    KeyBinding("open", ("enter",), "Open the selected row; on a node whose the selected key is",
               scope=(TABLES, "node"), label="open", group="Tables"),
    KeyBinding("describe", ("d",), "Every field of the row, times in full", scope=(TABLES, "node"), group="Tables"),
    KeyBinding("item.logs", ("L",), "The log lines of the selected item", scope=(*_ITEMS, *_DETAILS),
               group="Tables"),
    KeyBinding("item.tree", ("u",), "What the item hangs on and what hangs on it, in the tree",
               scope=(*(i for i in _ITEMS if i not in {"config", "engines"}), *_DETAILS), group="Tables"),
    KeyBinding("filter", ("slash",), "Filter: words, field:value, !not, ~fuzzy; in the log: search", scope=(TABLES,),
               label="filter", command="filter", group="Tables"),
    KeyBinding("problems", ("exclamation_mark",), "Only what has a problem, and back", scope=(TABLES,),
               label="problems", group="Tables"),
    KeyBinding("sort.menu", ("s",), "Choose the column to sort by", scope=_ITEMS, command="sort", group="Tables"),
    KeyBinding("sort.left", ("less_than_sign",), "Sort by the column to the left", scope=_ITEMS, group="Tables"),
    KeyBinding("sort.right", ("greater_than_sign",), "Sort by the column to the right", scope=_ITEMS,
               group="Tables"),
    KeyBinding("sort.reverse", ("S",), "Reverse the sorting", scope=_ITEMS, group="Tables"),
    KeyBinding("columns", ("c",), "Choose and order the columns", scope=(TABLES,), command="columns", group="Tables"),
    KeyBinding("wide", ("w",), "All columns, even those that do not fit; in the log the whole line", scope=(TABLES,),
               command="wide", group="Tables"),
    KeyBinding("mark", ("space",), "Mark the row for the next action", scope=(TABLES,), group="Tables"),
    KeyBinding("mark.range", ("V",), "Mark from the last mark to here", scope=(TABLES,), group="Tables"),
    KeyBinding("actions", ("x",), "What can be done with the row or the marked ones",
               scope=(*_ITEMS, "node", "session"), label="actions", command="actions", group="Tables"),
    KeyBinding("copy", ("y",), "Copy the row's name to the terminal's clipboard", scope=(TABLES, *_DETAILS),
               group="Tables"),
    KeyBinding("copy.row", ("Y",), "Copy the whole row (or the marked ones) as JSON", scope=(TABLES, *_DETAILS),
               group="Tables"),
    KeyBinding("export", ("e",), "Write what is shown to a file: :export json PATH, a plot: png, svg, csv",
               scope=(TABLES, "plot"), label="file",
               command="export", group="Tables"),
    KeyBinding("zoom", ("z",), "One panel on the whole screen, and back", scope=(TABLES,), command="zoom",
               group="Tables"),
    KeyBinding("fix.next", ("tab",), "Select what to fix first, then the next problem", scope=("dashboard",),
               label="next fix", group="Tables"),
    KeyBinding("fix.previous", ("shift+tab",), "Select the problem before", scope=("dashboard",), group="Tables"),
    KeyBinding("fix.apply", ("f",), "Repair what is selected: shows the command, then asks", scope=("dashboard",),
               label="fix", command="fix", danger=True, group="Actions"),
    KeyBinding("reach.check", ("o",), "Is this miner reached from outside? A node calls it now", scope=("dashboard",),
               command="reach", danger=True, group="Actions", needs="reach.check"),
    KeyBinding("follow", ("f",), "Follow the end of the log", scope=("logs",), label="follow", group="Log"),
    KeyBinding("log.filter", ("ampersand",), "Only lines that match", scope=("logs",), label="filter", group="Log"),
    KeyBinding("search.next", ("n",), "Next line that matches the search", scope=("logs",), group="Log"),
    KeyBinding("search.previous", ("N",), "The matching line before", scope=("logs",), group="Log"),
    KeyBinding("log.level", ("v",), "Only from this level on: all, info, warning, error", scope=("logs",),
               label="level", command="level", group="Log"),
    KeyBinding("log.earlier", ("left_curly_bracket",), "Ten minutes back", scope=("logs",), group="Log"),
    KeyBinding("log.later", ("right_curly_bracket",), "Ten minutes on", scope=("logs",), group="Log"),
    KeyBinding("log.times", ("T",), "Date and milliseconds, or the time of day", scope=("logs",), group="Log"),
    KeyBinding("log.at", (), "Go to a time: 14:05, 2026-11-20 14:05, -30m", scope=("logs",), command="at", group="Log"),
    KeyBinding("log.marker", ("m",), "Put a marker after the newest line", scope=("logs",), command="marker",
               group="Log"),
    KeyBinding("replay.play", (), "Play, or stop where it is; also p", command="play", group="Replay", needs=REPLAY),
    KeyBinding("replay.on", ("full_stop",), "One event on", group="Replay", needs=REPLAY),
    KeyBinding("replay.back", ("comma",), "One event back", group="Replay", needs=REPLAY),
    KeyBinding("replay.minute_on", ("right_square_bracket",), "A minute on", group="Replay", needs=REPLAY),
    KeyBinding("replay.minute_back", ("left_square_bracket",), "A minute back", group="Replay", needs=REPLAY),
    KeyBinding("replay.hour_on", ("right_parenthesis",), "An hour on", group="Replay", needs=REPLAY),
    KeyBinding("replay.hour_back", ("left_parenthesis",), "An hour back", group="Replay", needs=REPLAY),
    KeyBinding("replay.speed", (), "Play so many times as fast: 1 to 600", command="speed", group="Replay",
               needs=REPLAY),
    KeyBinding("replay.next_error", ("E",), "To the next error or alert", command="next error", group="Replay",
               needs=REPLAY),
    KeyBinding("replay.previous_error", ("ctrl+e",), "To the error or alert before", command="previous error",
               group="Replay", needs=REPLAY),
    KeyBinding("replay.seek", (), "To a time: 14:05, 2026-11-20 14:05, -30m", command="seek", group="Replay",
               needs=REPLAY),
    KeyBinding("plot", ("P",), "Plot over time: the selected node or miner, or all; :plot ramp 14d", label="plot",
               command="plot"),
    KeyBinding("plot.later", ("l", "right"), "A longer span: 1 h, 24 h, 14 d, 90 d", scope=("plot",), label="span",
               group="Plot"),
    KeyBinding("plot.earlier", ("h", "left"), "A shorter span", scope=("plot",), group="Plot"),
    KeyBinding("plot.next", ("j", "down", "tab"), "The next chart", scope=("plot",), label="chart", group="Plot"),
    KeyBinding("plot.previous", ("k", "up", "shift+tab"), "The chart before", scope=("plot",), group="Plot"),
    KeyBinding("plot.node_next", ("n",), "The next node", scope=("plot",), label="node",
               group="Plot"),
    KeyBinding("plot.node_previous", ("N",), "The node before, or the fleet", scope=("plot",),
               group="Plot"),
    KeyBinding("refresh", ("r", "f5"), "Read everything again and redraw; :refresh 5s draws every five seconds",
               command="refresh"),
    KeyBinding("pace.faster", ("plus",), "Draw more often; a replay plays faster, up to 600 times"),
    KeyBinding("pace.slower", ("underscore",), "Draw less often, for a slow link; a replay plays slower"),
    KeyBinding("pause", ("p",), "Freeze this view, and go on", label="pause", command="pause"),
    KeyBinding("command", ("colon",), "Command line: history with up and down, tab completes", label="command"),
    KeyBinding("palette", ("ctrl+p",), "Find a command by a part of its name"),
    KeyBinding("help", ("question_mark", "f1"), "This list", label="help", command="help"),
    KeyBinding("back", ("escape",), "Close the prompt, clear the filter, the marks, then go back; never quits"),
    KeyBinding("leave", ("q",), "Go back; at the root detach, the engine keeps running", label="leave",
               command="quit"),
    KeyBinding("detach", ("ctrl+q",), "Detach at once", command="detach"),
    KeyBinding("suspend", ("ctrl+z",), "Back to the shell; fg brings the console back", command="suspend"),
    KeyBinding("hint", ("ctrl+c",), "Says how to leave"),
    KeyBinding("info", (), "Where the files are: configuration, database, logs, recording, wallet", command="info"),
    KeyBinding("theme", (), "Colours by name; without a name a list", command="theme"),
    KeyBinding("console.reload", (), "Read console.toml again: keys, colours, engines", command="console reload"),
    KeyBinding("node.test", ("t",), "Check the node now (or the marked ones)", scope=_TESTED, label="test",
               danger=True, group="Actions"),
    KeyBinding("ssh.all", ("T",), "Climb the SSH ladder of every node", scope=("ssh",), label="test all",
               danger=True, group="Actions", needs="ssh.check"),
    KeyBinding("ssh.fix", ("F",), "Repair what decided the ladder; shows the plan and asks", scope=("ssh",),
               label="fix", danger=True, group="Actions", needs="ssh.fix"),
    KeyBinding("node.accept", ("H",), "Accept the node's new host key (asks)", scope=_NODE_SCOPES,
               label="host key", danger=True, group="Actions"),
    KeyBinding("node.drain", ("D",), "Drain the node, or take it back (asks)", scope=_NODE_SCOPES, label="drain",
               danger=True, group="Actions", needs="node.drain"),
    KeyBinding("key.next", ("tab",), "Select the next key on the node", scope=("node",), label="keys",
               group="Node"),
    KeyBinding("key.previous", ("shift+tab",), "Select the key before", scope=("node",), group="Node"),
    KeyBinding("key.read", ("i",), "Read every key on the node now", scope=("node",), danger=True, group="Node",
               needs="node.inventory"),
    KeyBinding("key.remove", ("X",), "Take the selected key off the node (asks)", scope=("node",), danger=True,
               group="Node", needs="node.inventory"),
    KeyBinding("session.renew", ("R",), "Renew a validator's access (asks)", scope=("sessions", "session"),
               label="renew", danger=True, group="Actions", needs="session.renew"),
    KeyBinding("session.end", ("K",), "End a validator's access (asks)", scope=("sessions", "session"), label="end",
               danger=True, group="Actions"),
    KeyBinding("verify.now", ("T",), "Start a verification round now", scope=_VALIDATOR_SCOPES, label="verify now",
               command="verify now", danger=True, group="Actions", needs="verify.now"),
    KeyBinding("weights.set", ("W",), "Score and set weights now (asks)", scope=_VALIDATOR_SCOPES, label="set weights",
               command="set weights", danger=True, group="Actions", needs="weights.set"),
    KeyBinding("alert.acknowledge", ("a",), "Acknowledge the alert (or the marked ones)", scope=("alerts",),
               label="acknowledge", danger=True, group="Actions"),
    KeyBinding("alert.silence", ("A",), "Silence the alert for a time", scope=("alerts",), label="silence",
               danger=True, group="Actions"),
    KeyBinding("engine.switch", (), "Attach to another engine by its name: :engine @NAME, or :@NAME",
               command="engine", group="Screens"),
    KeyBinding("config.reload", ("R",), "Read the configuration file again (asks)", scope=("config",), label="reload",
               danger=True, group="Actions"),
    KeyBinding("config.restore", ("B",), "Put an earlier copy of the file in place (asks)", scope=("config",),
               label="backups", danger=True, group="Actions", needs="config.restore"),
    KeyBinding("config.set", (), "Change a setting: :set KEY VALUE; enter does it for the selected one",
               scope=("config",), command="set", danger=True, group="Actions", needs="config.set"),
    KeyBinding("config.edit", ("O",), "Open the file in $EDITOR; shows the difference and asks before it is saved",
               scope=("config",), label="editor", command="config edit", danger=True, group="Actions",
               needs="config.set"),
    KeyBinding("engine.reload", (), "Read the engine's configuration file again (asks)", command="engine reload",
               danger=True, group="Actions"),
    KeyBinding("engine.stop", (), "Stop the engine; asks for its name", command="engine stop", danger=True,
               group="Actions"),
)  # fmt: skip

TABLE_SCREENS = frozenset({*_ITEMS, "logs", "tree"})
OTHER_SCREENS = frozenset({"node", "session", "verification", "plot", "record", "help"})
"""Screens that are reached from others and are no table."""

KEY_FACES: Mapping[str, str] = {
    "slash": "/", "exclamation_mark": "!", "less_than_sign": "<", "greater_than_sign": ">", "question_mark": "?",
    "colon": ":", "minus": "-", "ampersand": "&", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "escape": "esc", "pagedown": "pgdn", "pageup": "pgup", "down": "down", "up": "up",
    "f1": "F1", "f5": "F5", "full_stop": ".", "comma": ",", "plus": "+", "underscore": "_",
    "left_square_bracket": "[", "right_square_bracket": "]", "left_parenthesis": "(", "right_parenthesis": ")",
}  # fmt: skip


def key_face(key: str) -> str:
    """How a key is written for people."""
    return KEY_FACES.get(key, key)


def applies(binding: KeyBinding, screen: str) -> bool:
    """Whether a binding means something on that screen."""
    return ANY in binding.scope or screen in binding.scope or (TABLES in binding.scope and screen in TABLE_SCREENS)


def binding_of(key: str, screen: str, bindings: Sequence[KeyBinding]) -> KeyBinding | None:
    """What a key means on a screen; one that means nothing there keeps its meaning elsewhere, to be told so."""
    candidates = [b for b in bindings if key in b.keys]
    return next((b for b in candidates if applies(b, screen)), candidates[0] if candidates else None)


def shown(bindings: Iterable[KeyBinding], *, read_only: bool, verbs: frozenset[str] = NO_VERBS) -> list[KeyBinding]:
    """What help and command line list: nothing a visitor may not do or the engine does not know."""
    return [b for b in bindings if not (read_only and b.danger) and (not b.needs or b.needs in verbs)]


def remap(
    bindings: Sequence[KeyBinding], keymap: Mapping[str, Sequence[str]]
) -> tuple[tuple[KeyBinding, ...], tuple[str, ...]]:
    """The table with a user's keys by binding id, and one sentence for each mistake in them.

    Unknown ids and clashes are reported. Of two that want a key the one that the user gave it to has it; of two that
    the user gave it to, the one that this table names first.
    """
    known = {b.id for b in bindings}
    problems = [f"keys: there is no command called {name}" for name in keymap if name not in known]
    changed = tuple(replace(b, keys=tuple(keymap[b.id])) if b.id in keymap else b for b in bindings)
    lost: dict[str, set[str]] = defaultdict(set)
    for key, first, second in clashes(changed):
        winner, loser = (second, first) if second in keymap and first not in keymap else (first, second)
        problems.append(f"keys: {key_face(key)} is both {first} and {second}; {winner} has it")
        lost[loser].add(key)
    kept = tuple(replace(b, keys=tuple(k for k in b.keys if k not in lost[b.id])) for b in changed)
    return kept, tuple(problems)


def clashes(bindings: Sequence[KeyBinding]) -> list[tuple[str, str, str]]:
    """Keys that two bindings want on the same screen: (key, first id, second id)."""
    screens = {*TABLE_SCREENS, *OTHER_SCREENS}
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
    for b in shown(bindings, read_only=False, verbs=frozenset(b.needs for b in bindings)):
        keys = " ".join(f"`{key_face(k)}`" for k in b.keys) or "–"
        command = f"`:{b.command}`" if b.command else ""
        rows.append(f"| {keys} | {command} | {b.help}{' **(danger)**' if b.danger else ''} | `{b.id}` |")
    return "\n".join(rows) + "\n"
