"""Actions on nodes that several screens offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from basilica_tui.actions import find_action
from basilica_tui.node_table import node_name
from basilica_tui.screens.confirm import Confirm
from basilica_tui.screens.menus import act_on_rows
from basilica_tui.screens.table_screen import TableScreen
from engine.control.models import NodeView

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


class NodeTableScreen(TableScreen[NodeView]):
    """A table whose rows are nodes: open, check, accept a host key, drain."""

    @property
    def plot_subject(self) -> str:
        """What a plot opened from here is about."""
        return self.table.cursor_id or ""

    def perform(self, binding_id: str) -> bool:
        """What can be done with a node, wherever it is listed."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.open_node(self.table.cursor_id)
        elif not act_on_nodes(self.desk, binding_id, self.table.targets()):
            return super().perform(binding_id)
        return True


def act_on_nodes(desk: ConsoleApp, binding_id: str, node_ids: Sequence[str]) -> bool:
    """Do what a node's key means; False for other keys."""
    if binding_id == "node.test":
        test_nodes(desk, node_ids)
    elif binding_id == "node.accept":
        accept_host_key(desk, node_ids[0] if node_ids else None)
    elif binding_id == "node.drain":
        drain(desk, node_ids)
    else:
        return False
    return True


def test_nodes(desk: ConsoleApp, node_ids: Sequence[str]) -> None:
    """Ask the engine to check these nodes now."""
    nodes = [node for node_id in node_ids if (node := desk.store.nodes.get(node_id)) is not None]
    desk.act_each("node.check", [({"node_id": node.id}, f"check {node_name(node)}") for node in nodes])


def drain(desk: ConsoleApp, node_ids: Sequence[str]) -> None:
    """Take nodes out of service after a dialog, or back into it."""
    nodes = [desk.store.nodes[i] for i in node_ids if i in desk.store.nodes]
    is_out = bool(nodes) and all(n.drained_since is not None for n in nodes)
    action = find_action("node.enable" if is_out else "node.drain")
    if nodes and action is not None:
        act_on_rows(desk, action, "nodes", [n.id for n in nodes])


def accept_host_key(desk: ConsoleApp, node_id: str | None) -> None:
    """Show both fingerprints and, on a yes, pin the one that the node presents now."""
    node = desk.store.nodes.get(node_id or "")
    if node is None:
        return
    name, presented = node_name(node), node.host_key_presented
    if not presented:
        desk.say(f"{name} presents the host key that is pinned; there is nothing to accept")
        return
    lines = [
        f"{node.username}@{node.host}:{node.port} shows another host key than before.",
        "Accept it only if you know why: a reinstalled node, a new disk, a new container.",
        "",
        f"pinned     {node.host_key_fingerprint or 'none'}",
        f"presented  {presented}",
    ]

    def decided(is_sure: bool | None) -> None:
        if is_sure:
            args = {"node_id": node.id, "fingerprint": presented}
            desk.act("node.accept_host_key", args, f"accept the host key of {name}")

    desk.push_screen(Confirm(f"Accept the new host key of {name}?", lines, "accept"), decided)
