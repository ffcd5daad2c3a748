"""From what people type to the ids of what they mean. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from basilica_tui.tables import item_name
from basilica_tui.text import clean
from engine.control.models import AlertView, VerificationView, View


def names_of(collection: Callable[[str], Mapping[str, View]]) -> dict[str, dict[str, str]]:
    """Names of nodes, sessions, active alerts and verified nodes by collection, each leading to its id."""
    names = {
        name: {clean(item_name(row)).replace(" ", "-"): key for key, row in collection(name).items()}
        for name in ("nodes", "sessions")
    }
    alerts = collection("alerts").values()
    names["alerts"] = {a.id: a.id for a in alerts if isinstance(a, AlertView) and a.active}
    names["verifications"] = _verified(collection("verifications"))
    return names


def _verified(rows: Mapping[str, View]) -> dict[str, str]:
    """A verified node by its whole name, by its rental, and by its own id where one miner has it."""
    names: dict[str, str] = {}
    owners = Counter(row.node_id for row in rows.values() if isinstance(row, VerificationView))
    for key, row in rows.items():
        if isinstance(row, VerificationView):
            names |= {clean(row.node_id).replace(" ", "-"): key} if owners[row.node_id] == 1 else {}
            names |= {clean(row.rental_id).replace(" ", "-"): key} if row.rental_id else {}
    return names | {key: key for key in rows}
