"""The dashboard's count of nodes: each node once, as its row shows it."""

from __future__ import annotations

import pytest

from basilica_tui.format import Look
from basilica_tui.panels.boxes import _miner_boxes
from basilica_tui.store import ConsoleStore
from engine.control.client import Snapshot
from engine.control.models import NodeView, View


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ((("healthy", None), ("healthy", None)), "● 2 healthy"),
        ((("healthy", None), ("healthy", 1.0)), "● 1 healthy  ◐ 1 drained"),
        ((("healthy", 1.0), ("unknown", 1.0)), "◐ 2 drained"),
        ((("unhealthy", 1.0), ("healthy", None)), "● 1 healthy  ✖ 1 unhealthy"),
    ],
)
def test_a_node_counts_once(nodes: tuple[tuple[str, float | None], ...], told: str) -> None:
    """A good node that is out of service is drained, not healthy as well; a bad one is bad first."""
    store = ConsoleStore()
    seen: dict[str, View] = {
        f"n{i}": NodeView(f"n{i}", state=state, drained_since=since) for i, (state, since) in enumerate(nodes)
    }
    store.apply_snapshot(Snapshot({"nodes": seen}, {}, 100.0))
    title, _, short = _miner_boxes(store, Look())[0]
    assert title == f"NODES {len(nodes)}"
    assert " ".join("".join(text for text, _ in short).split()) == " ".join(told.split())
