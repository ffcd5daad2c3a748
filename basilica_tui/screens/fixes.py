"""Applying a fix: the command is shown first, then the engine is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basilica_tui.actions import EngineAction, find_action
from basilica_tui.fix_first import Fix
from basilica_tui.screens.menus import confirm
from basilica_tui.screens.node_actions import accept_host_key

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def apply_fix(desk: ConsoleApp, fix: Fix) -> None:
    """Show what would be done about a problem and, on a yes, have the engine do it."""
    action = find_action(fix.command[0]) if fix.command else None
    if action is None:
        desk.say(f"{fix.subject}: nothing here repairs it; {fix.key} leads to it", "warn")
    elif desk.read_only:
        desk.say("this console is read-only", "warn")
    elif desk.store.verbs is not None and action.verb not in desk.store.verbs:
        desk.say(f"this engine knows no {action.verb}", "warn")
    elif action.verb == "node.accept_host_key":
        accept_host_key(desk, fix.command[1])
    else:
        _ask(desk, fix, action)


def _ask(desk: ConsoleApp, fix: Fix, action: EngineAction) -> None:
    given = dict(zip((arg.name for arg in action.args), fix.command[1:], strict=False))
    words = f"{action.words} {fix.subject}" if given else action.words
    shown = " ".join([action.verb, *(fix.subject if arg.kind == "node" else given[arg.name]
                                     for arg in action.args if arg.name in given)])  # fmt: skip
    lines = [fix.message, "", f":{shown}", *([action.warning] if action.warning else [])]
    confirm(desk, f"{words[0].upper()}{words[1:]}?", lines, "do it", lambda: desk.act(action.verb, given, words))
