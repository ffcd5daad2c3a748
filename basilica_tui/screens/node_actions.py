"""Actions on nodes that several screens offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from basilica_tui.screens.confirm import Confirm
from basilica_tui.tables import node_name

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp


def test_nodes(desk: ConsoleApp, node_ids: Sequence[str]) -> None:
    """Ask the engine to check these nodes now."""
    for node_id in node_ids:
        node = desk.store.nodes.get(node_id)
        if node is not None:
            desk.act("node.check", {"node_id": node_id}, f"check {node_name(node)}")


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
