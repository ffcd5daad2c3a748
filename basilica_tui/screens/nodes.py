"""Nodes: one row per GPU node."""

from __future__ import annotations

from basilica_tui.node_table import NODES
from basilica_tui.screens.node_actions import NodeTableScreen


class NodesScreen(NodeTableScreen):
    """The fleet."""

    SCREEN_ID = "nodes"
    TABLE = NODES
