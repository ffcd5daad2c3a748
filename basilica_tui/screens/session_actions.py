"""Actions on validators' access, in the list and in its detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from basilica_tui.actions import find_action
from basilica_tui.format import plural, short_hotkey, tao
from basilica_tui.screens.menus import act_on_rows, confirm

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def act_on_session(desk: ConsoleApp, binding_id: str, hotkeys: Sequence[str]) -> bool:
    """Do what a session's key means; False for other keys."""
    if binding_id == "session.end":
        _end(desk, hotkeys)
    elif binding_id == "session.renew":
        action = find_action("session.renew")
        alive = [h for h in hotkeys if _is_open(desk, h)]
        if not alive:
            desk.say("there is no access to renew; it comes with the validator's next discovery")
        elif action is not None:
            act_on_rows(desk, action, "sessions", alive)
    else:
        return False
    return True


def _is_open(desk: ConsoleApp, hotkey: str) -> bool:
    session = desk.store.sessions.get(hotkey)
    return session is not None and session.state != "ended"


def _end(desk: ConsoleApp, hotkeys: Sequence[str]) -> None:
    action = find_action("session.end")
    alive = [h for h in hotkeys if _is_open(desk, h)]
    look = desk.look()
    if not alive:
        if hotkeys:
            desk.say(f"the access of {short_hotkey(hotkeys[0], look)} is over already")
        return
    if len(alive) > 1 and action is not None:
        act_on_rows(desk, action, "sessions", alive)
        return
    session = desk.store.sessions[alive[0]]
    short = short_hotkey(session.id, look)
    lines = [
        f"validator {session.id}",
        f"stake {tao(session.stake_tao, look)}, keys in place on {plural(session.nodes_ready, 'node')}",
        "",
        "Its keys are removed from every node at once. It may sign in again if it is still assigned.",
    ]
    words = f"end the access of {short}"
    confirm(desk, f"End the access of {short}?", lines, "end it",
            lambda: desk.act("session.end", {"hotkey": session.id}, words))  # fmt: skip
