"""Nodes: one row per GPU node."""

from __future__ import annotations

from basilica_tui.screens.node_actions import accept_host_key, test_nodes
from basilica_tui.screens.table_screen import TableScreen
from basilica_tui.tables import NODES
from engine.control.models import NodeView


class NodesScreen(TableScreen[NodeView]):
    """The fleet."""

    SCREEN_ID = "nodes"
    TABLE = NODES

    def perform(self, binding_id: str) -> bool:
        """Open, test, accept a host key."""
        if binding_id == "open":
            if self.table.cursor_id is not None:
                self.desk.open_node(self.table.cursor_id)
        elif binding_id == "node.test":
            test_nodes(self.desk, self.table.targets())
        elif binding_id == "node.accept":
            accept_host_key(self.desk, self.table.cursor_id)
        else:
            return super().perform(binding_id)
        return True
