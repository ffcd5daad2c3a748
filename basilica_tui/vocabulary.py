"""From what people type to the ids of what they mean. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from basilica_tui.tables import item_name
from basilica_tui.text import clean
from engine.control.models import AlertView, View


def names_of(collection: Callable[[str], Mapping[str, View]]) -> dict[str, dict[str, str]]:
    """Names of nodes, sessions and active alerts by collection, each leading to its id."""
    names = {
        name: {clean(item_name(row)).replace(" ", "-"): key for key, row in collection(name).items()}
        for name in ("nodes", "sessions")
    }
    alerts = collection("alerts").values()
    names["alerts"] = {a.id: a.id for a in alerts if isinstance(a, AlertView) and a.active}
    return names
