"""Taking one key off a node: revoking a validator's grant, or removing a line that is no grant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basilica_tui.actions import find_action
from basilica_tui.key_inventory import KINDS, KeyOnNode, key_name
from basilica_tui.node_table import node_name
from basilica_tui.screens.menus import confirm
from basilica_tui.text import clean
from engine.control.models import NodeView

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def remove_key(desk: ConsoleApp, node: NodeView, key: KeyOnNode | None) -> None:
    """Ask, naming node and key; what may not be removed here is said with the reason."""
    if key is None:
        desk.say("tab selects a key first")
        return
    name = key_name(key, desk.look())
    if key.kind == "own":
        desk.say("that is the key that this miner signs in with; :node_key.rotate changes it", "warn")
        return
    if key.kind == "operator":
        desk.say("that line is yours; edit the file on the node", "warn")
        return
    verb, args = "node.remove_key", {"node_id": node.id, "fingerprint": key.fingerprint}
    if key.hotkey and key.kind == "grant":
        verb, args = "grant.revoke", {"node_id": node.id, "hotkey": key.hotkey}
    action = find_action(verb)
    lines = [
        f"node {clean(node_name(node))}, {node.username}@{node.host}:{node.port}",
        f"{KINDS.get(key.kind, (key.kind, ''))[0]}: {clean(key.holder or key.comment) or 'no comment'}",
        f"{key.algorithm} {key.fingerprint}",
        "",
        action.warning if action is not None else "",
    ]
    confirm(desk, f"Take the key of {name} off {node_name(node)}?", lines, "take it off",
            lambda: desk.act(verb, args, f"take the key of {name} off {node_name(node)}"))  # fmt: skip
