"""What belongs to what: miner, node, GPU and the keys on it; for a validator miner, node and GPU. Pure, no Textual."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from basilica_tui import format as f
from basilica_tui.columns import Column, Table
from basilica_tui.format import Look, Span
from basilica_tui.key_inventory import KINDS, keys_of
from basilica_tui.node_table import node_name, node_state_span
from basilica_tui.states import MINER_STATES, VERIFICATION_STATES, state_span
from engine.control.models import MinerView, NodeView, VerificationView, gpus_of

FEW = 30
"""So many nodes are shown unfolded."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One line. ``target`` is the (collection, id) that it leads to; ``parent`` the id of the line that it hangs on."""

    id: str
    level: int
    name: str
    target: tuple[str, str]
    parent: str = ""
    detail: str = ""
    state: str = ""
    look: Callable[[Look], Span] | None = None
    is_problem: bool = False
    has_more: bool = False
    is_open: bool = False
    order: int = 0


def miner_branches(nodes: Iterable[NodeView]) -> list[Branch]:
    """Each node, its GPUs and the keys on it."""
    return [branch for node in sorted(nodes, key=node_name) for branch in node_branches(node)]


def node_branches(node: NodeView) -> list[Branch]:
    """One node with what hangs on it."""
    target, gpus, keys = ("nodes", node.id), gpus_of(node), keys_of(node)
    below = [
        Branch(
            f"{node.id}/gpu/{gpu.index}", 1, f"GPU {gpu.index}", target, node.id,
            " ".join(filter(None, [gpu.model or node.gpu_model, gpu.uuid, _load(gpu.utilisation_percent)])),
        )
        for gpu in gpus
    ] or [Branch(f"{node.id}/gpu/{uuid}", 1, "GPU", target, node.id, uuid) for uuid in node.gpu_uuids]  # fmt: skip
    for key in keys:
        words, tone = KINDS.get(key.kind, (key.kind, ""))
        leads = ("sessions", key.hotkey) if key.hotkey else target
        below.append(
            Branch(
                f"{node.id}/key/{key.fingerprint}", 1, f"key: {words}", leads, node.id,
                " ".join(filter(None, [key.holder or key.comment, key.fingerprint])), key.kind,
                is_problem=tone == "bad",
            )
        )  # fmt: skip
    detail = f.gpus(node.gpu_count, node.gpu_model, node.gpu_memory_mib, Look())
    head = Branch(
        node.id, 0, node_name(node), target, "", f"{detail}  {node.username}@{node.host}:{node.port}", node.state,
        lambda look: node_state_span(node, look), node.state != "healthy", bool(below),
    )  # fmt: skip
    return [head, *below]


def validator_branches(miners: Iterable[MinerView], verifications: Iterable[VerificationView]) -> list[Branch]:
    """Each miner, its nodes as they were verified last, and their GPUs."""
    nodes: dict[str, list[VerificationView]] = {}
    for view in verifications:
        nodes.setdefault(view.miner_hotkey, []).append(view)
    out: list[Branch] = []
    for miner in sorted(miners, key=lambda m: (m.uid is None, m.uid or 0, m.id)):
        own = sorted(nodes.get(miner.hotkey or miner.id, []), key=lambda v: v.endpoint)
        out.append(_miner(miner, has_more=bool(own)))
        for view in own:
            out.append(_verified(view, miner.id))
            out += [
                Branch(f"{view.id}/gpu/{uuid}", 2, "GPU", ("verifications", view.id), view.id, uuid)
                for uuid in view.gpu_uuids
            ]
    return out


def unfolded(branches: Sequence[Branch], is_open: Callable[[str], bool]) -> dict[str, Branch]:
    """The lines that are to be seen, in order; a fold hides all below it."""
    seen: dict[str, Branch] = {}
    for branch in branches:
        above = seen.get(branch.parent)
        if branch.parent and (above is None or not above.is_open):
            continue
        seen[branch.id] = dataclasses.replace(branch, is_open=branch.has_more and is_open(branch.id), order=len(seen))
    return seen


def related(found: Iterable[str], branches: Mapping[str, Branch], *, with_below: bool) -> list[str]:
    """Those lines in the tree's order with all that they hang on, and (``with_below``) all that hangs on them."""
    wanted: set[str] = set(found)
    hits = frozenset(wanted)
    for branch_id in hits:
        above = branches[branch_id].parent
        while above and above not in wanted:
            wanted.add(above)
            above = branches[above].parent
    kept, below = [], set[str]()
    for branch_id, branch in branches.items():
        if with_below and (branch_id in hits or branch.parent in below):
            below.add(branch_id)
        if branch_id in wanted or branch_id in below:
            kept.append(branch_id)
    return kept


def _miner(miner: MinerView, *, has_more: bool) -> Branch:
    name = f"uid {miner.uid}" if miner.uid is not None else f.short_hotkey(miner.hotkey or miner.id, Look())
    is_bad = miner.state not in {"answered", "discovered"}
    detail = " ".join(filter(None, [miner.hotkey or miner.id, miner.endpoint]))
    return Branch(miner.id, 0, name, ("miners", miner.id), "", detail, miner.state,
                  lambda look: state_span(MINER_STATES, miner.state, look.symbols), is_bad, has_more)  # fmt: skip


def _verified(view: VerificationView, parent: str) -> Branch:
    detail = " ".join(filter(None, [f.gpus(len(view.gpu_uuids) or None, view.gpu_model, None, Look()), view.message]))
    return Branch(view.id, 1, view.endpoint or f.short_node(view.node_id), ("verifications", view.id), parent, detail,
                  view.state, lambda look: state_span(VERIFICATION_STATES, view.state, look.symbols),
                  view.state in {"failed", "access_lost"}, bool(view.gpu_uuids))  # fmt: skip


def _load(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.0f}%"


def _name(branch: Branch, look: Look) -> Span:
    mark = " " if not branch.has_more else "-" if branch.is_open else "+"
    return f"{'  ' * branch.level}{mark} {branch.name}", "title" if branch.level == 0 else ""


def _state(branch: Branch, look: Look) -> Span:
    if branch.look is not None:
        return branch.look(look)
    return branch.state, "bad" if branch.is_problem else "dim"


def _json(branch: Branch) -> str:
    values: Mapping[str, object] = {
        "id": branch.id, "name": branch.name, "state": branch.state, "detail": branch.detail, "parent": branch.parent,
    }  # fmt: skip
    return json.dumps(values, ensure_ascii=False)


TREE: Table[Branch] = Table(
    collection="tree",
    noun="branch",
    first_sort="name",
    is_problem=lambda b: b.is_problem,
    copy_text=_json,
    columns=(
        Column("name", "what belongs to what", 30, _name, lambda b: float(b.order), 1, value=lambda b: b.name),
        Column("state", "state", 12, _state, lambda b: float(b.order), 1, value=lambda b: b.state),
        Column("detail", "", 24, lambda b, k: (b.detail or k.symbols.dash, "dim"), lambda b: float(b.order), 1, grow=1),
    ),
    watched=frozenset({"state"}),
)
