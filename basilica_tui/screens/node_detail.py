"""Node detail: identity, checks, GPUs, keys, sshd."""

from __future__ import annotations

from textual.app import ComposeResult

from basilica_tui.format import Line, Look
from basilica_tui.panels.node_card import node_lines
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.screens.menus import choose_action
from basilica_tui.screens.node_actions import act_on_nodes
from basilica_tui.screens.record import RecordScreen
from basilica_tui.screens.scrolling import ScrollingLines
from basilica_tui.store import Dirty
from basilica_tui.tables import NODES, item_words, node_name
from basilica_tui.text import clean


class NodeScreen(ConsoleScreen):
    """One node, kept up to date."""

    SCREEN_ID = "node"

    def __init__(self, node_id: str) -> None:
        super().__init__()
        self._node_id = node_id

    def body(self) -> ComposeResult:
        """Lines that may be longer than the screen."""
        yield ScrollingLines(id="node")

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """All of it again; only what differs is painted."""
        node = self.desk.store.nodes.get(self._node_id)
        gone: list[Line] = [(), ((" This node is not in the configuration any more.", "warn"),)]
        lines = gone if node is None else node_lines(node, look, self.size.width)
        self.query_one(ScrollingLines).show(lines, faded=self.is_faded)

    def perform(self, binding_id: str) -> bool:
        """Test, accept a host key, copy, scroll."""
        node = self.desk.store.nodes.get(self._node_id)
        if binding_id == "describe":
            self.desk.push_screen(RecordScreen("nodes", self._node_id))
        elif binding_id == "actions":
            choose_action(self.desk, "nodes", [self._node_id])
        elif binding_id == "item.logs" and node is not None:
            self.desk.show_logs_of(item_words(node))
        elif binding_id == "copy" and node is not None:
            command = f"ssh -p {node.port} {node.username}@{node.host}"
            self.desk.copy_text(clean(command), clean(command))
        elif binding_id == "copy.row" and node is not None:
            self.desk.copy_text(NODES.copy_text(node), node_name(node))
        elif not act_on_nodes(self.desk, binding_id, [self._node_id]):
            return self.query_one(ScrollingLines).perform(binding_id) or super().perform(binding_id)
        return True
