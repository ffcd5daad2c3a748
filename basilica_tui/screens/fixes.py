"""Applying a fix: the command is shown first, then the engine is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basilica_tui.actions import EngineAction, find_action
from basilica_tui.fix_first import DOCTOR, Fix
from basilica_tui.screens.menus import confirm
from basilica_tui.screens.node_actions import accept_host_key
from basilica_tui.screens.repair import repair

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def apply_fix(desk: ConsoleApp, fix: Fix) -> None:
    """Show what would be done about a problem and, on a yes, have the engine do it."""
    action = find_action(fix.command[0]) if fix.command else None
    if fix.command[:1] == (DOCTOR,):
        _ask_doctor(desk, fix)
    elif action is None:
        desk.say(f"{fix.subject}: nothing here repairs it; {fix.key} leads to it", "warn")
    elif desk.read_only:
        desk.say(desk.refusal, "warn")
    elif desk.store.verbs is not None and action.verb not in desk.store.verbs:
        desk.say(f"this engine knows no {action.verb}", "warn")
    elif action.verb == "node.accept_host_key":
        accept_host_key(desk, fix.command[1])
    else:
        _ask(desk, fix, action)


def _ask_doctor(desk: ConsoleApp, fix: Fix) -> None:
    _, check, node_id = fix.command
    if desk.read_only:
        desk.say(desk.refusal, "warn")
    elif DOCTOR not in (desk.store.verbs or ()):
        desk.say(f"this engine has no doctor inside; on a terminal: basilica-tui doctor --fix ({check})", "warn")
    else:
        desk.start(repair(desk, check, node_id, fix.subject))


def _ask(desk: ConsoleApp, fix: Fix, action: EngineAction) -> None:
    given = dict(zip((arg.name for arg in action.args), fix.command[1:], strict=False))
    words = f"{action.words} {fix.subject}" if given else action.words
    shown = " ".join([action.verb, *(fix.subject if arg.kind == "node" else given[arg.name]
                                     for arg in action.args if arg.name in given)])  # fmt: skip
    lines = [fix.message, "", f":{shown}", *([action.warning] if action.warning else [])]
    confirm(desk, f"{words[0].upper()}{words[1:]}?", lines, "do it", lambda: desk.act(action.verb, given, words))
