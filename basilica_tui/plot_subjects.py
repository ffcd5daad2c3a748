"""What can be plotted by itself: a miner's nodes; a validator's miners and the nodes of each. Pure, no Textual."""

from __future__ import annotations

from collections.abc import Iterable

from basilica_tui.format import short_node
from basilica_tui.node_table import node_name
from basilica_tui.store import ConsoleStore
from basilica_tui.text import clean
from engine.control.models import MinerView, VerificationView


def subjects_of(store: ConsoleStore) -> list[str]:
    """Ids in the order in which keys walk them: nodes by name, or each miner by uid and then its nodes."""
    if store.engine.role != "validator":
        return [node.id for node in sorted(store.nodes.values(), key=lambda n: (node_name(n), n.id))]
    nodes: dict[str, list[VerificationView]] = {}
    for view in store.verifications.values():
        nodes.setdefault(view.miner_hotkey, []).append(view)
    ids: list[str] = []
    for miner in sorted(store.miners.values(), key=_by_uid):
        ids.append(miner.id)
        ids += [view.id for view in sorted(nodes.get(miner.hotkey or miner.id, ()), key=lambda v: v.endpoint)]
    return ids


def _by_uid(miner: MinerView) -> tuple[bool, int, str]:
    return miner.uid is None, miner.uid or 0, miner.id


def subject_name(store: ConsoleStore, subject: str) -> str:
    """What people call it; its id where it is not there any more."""
    node, miner, view = store.nodes.get(subject), store.miners.get(subject), store.verifications.get(subject)
    if miner is not None:
        return f"uid {miner.uid}" if miner.uid is not None else miner.id
    if view is not None:
        return f"{short_node(view.node_id)} of uid {view.miner_uid}"
    return node_name(node) if node is not None else subject


def words_for_subjects(store: ConsoleStore) -> dict[str, str]:
    """Words of ``:plot`` and the id that each leads to; a node's own id only where one miner has it."""
    words = {clean(node_name(node)).replace(" ", "-"): node.id for node in store.nodes.values()}
    words |= {node_id: node_id for node_id in store.nodes}
    owners: dict[str, list[str]] = {}
    for view in store.verifications.values():
        owners.setdefault(view.node_id, []).append(view.id)
    words |= {node_id: ids[0] for node_id, ids in owners.items() if len(ids) == 1}
    words |= _themselves(store.verifications) | _themselves(store.miners)
    for miner in store.miners.values():
        if miner.uid is not None:
            words |= {f"uid-{miner.uid}": miner.id, f"miner_{miner.uid}": miner.id}
    return words


def _themselves(ids: Iterable[str]) -> dict[str, str]:
    return {one: one for one in ids}
