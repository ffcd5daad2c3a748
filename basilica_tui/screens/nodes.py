"""Nodes: one row per GPU node."""

from __future__ import annotations

from basilica_tui.format import Line, Look, ago
from basilica_tui.node_table import NODES
from basilica_tui.screens.node_actions import NodeTableScreen
from basilica_tui.screens.selected_words import SelectedWords
from engine.control.models import NodeView


class NodesScreen(SelectedWords[NodeView], NodeTableScreen):
    """The fleet; the last line says the selected node's trouble in full."""

    SCREEN_ID = "nodes"
    TABLE = NODES

    def words(self, row: NodeView, look: Look) -> Line:
        """What is wrong with it now and what to do, else what was wrong last."""
        if row.reason:
            hint = f"; {row.hint}" if row.hint else ""
            return ((f" {row.reason}", "warn"), (hint, "dim"))
        if row.last_trouble:
            return ((f" {ago(row.last_trouble_at, look)}: {row.last_trouble}", "dim"),)
        return ()
