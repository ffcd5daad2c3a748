"""What changed on a node since it was last good, and GPUs that two nodes claim. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from engine.probes.gpu import GpuFacts


@dataclass(frozen=True, slots=True)
class KnownGood:
    """The facts of the last passed check that drift is measured against; empty is "not known"."""

    driver: str = ""
    cuda: str = ""
    model: str = ""
    uuids: tuple[str, ...] = ()
    count: int | None = None

    def to_json(self) -> dict[str, object]:
        """For the store."""
        return {**asdict(self), "uuids": list(self.uuids)}

    @classmethod
    def from_json(cls, value: object) -> KnownGood:
        """What ``to_json`` wrote; anything else is "nothing known"."""
        if not isinstance(value, dict):
            return cls()
        uuids, count = value.get("uuids"), value.get("count")
        texts = [value.get(name) for name in ("driver", "cuda", "model")]
        driver, cuda, model = (text if isinstance(text, str) else "" for text in texts)
        return cls(
            driver,
            cuda,
            model,
            tuple(str(uuid) for uuid in uuids) if isinstance(uuids, list) else (),
            count if isinstance(count, int) else None,
        )


@dataclass(frozen=True, slots=True)
class Drift:
    """One fact that is not what it was. ``what``: driver, cuda, gpu_model, gpu_count or gpu_uuids."""

    what: str
    before: str
    after: str


def compare(known: KnownGood, facts: GpuFacts, cuda: str) -> tuple[KnownGood, tuple[Drift, ...]]:
    """The new known good and what drifted. What either side does not know has not changed.

    Replaced cards are one drift: of their count when that changed, else of their UUIDs.
    """
    uuids = tuple(sorted(facts.uuids))
    new = KnownGood(
        facts.driver or known.driver,
        cuda or known.cuda,
        facts.model or known.model,
        uuids or known.uuids,
        facts.count,
    )
    found = [
        Drift(what, before, after)
        for what, before, after in (
            ("driver", known.driver, new.driver),
            ("cuda", known.cuda, new.cuda),
            ("gpu_model", known.model, new.model),
        )
        if before and before != after
    ]
    if known.count is not None and known.count != facts.count:
        found.append(Drift("gpu_count", str(known.count), str(facts.count)))
    elif known.uuids and known.uuids != new.uuids:
        gone, come = sorted(set(known.uuids) - set(new.uuids)), sorted(set(new.uuids) - set(known.uuids))
        found.append(Drift("gpu_uuids", ", ".join(gone) or "none gone", ", ".join(come) or "none new"))
    return new, tuple(found)


class GpuOwners:
    """Which node shows which GPU; a UUID on two nodes means a copied image, a proxy, or one host listed twice."""

    def __init__(self) -> None:
        self._by_node: dict[str, frozenset[str]] = {}
        self._by_uuid: dict[str, set[str]] = {}

    def see(self, node_id: str, uuids: tuple[str, ...]) -> frozenset[str]:
        """Take note of a node's GPUs; returns the UUIDs whose circle of nodes changed while shared or just before."""
        old, new = self._by_node.get(node_id, frozenset()), frozenset(uuids)
        if old == new:
            return frozenset()
        if new:
            self._by_node[node_id] = new
        else:
            self._by_node.pop(node_id, None)
        changed = set()
        for uuid in old ^ new:
            nodes = self._by_uuid.setdefault(uuid, set())
            before = len(nodes)
            (nodes.add if uuid in new else nodes.discard)(node_id)
            if max(before, len(nodes)) > 1:
                changed.add(uuid)
            if not nodes:
                del self._by_uuid[uuid]
        return frozenset(changed)

    def nodes(self, uuid: str) -> tuple[str, ...]:
        """The nodes that show this GPU."""
        return tuple(sorted(self._by_uuid.get(uuid, ())))

    def shared(self, node_id: str) -> Mapping[str, tuple[str, ...]]:
        """The node's GPUs that other nodes show too, with those other nodes."""
        found = {uuid: self.nodes(uuid) for uuid in sorted(self._by_node.get(node_id, ()))}
        return {uuid: tuple(n for n in nodes if n != node_id) for uuid, nodes in found.items() if len(nodes) > 1}
