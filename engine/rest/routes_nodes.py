"""All nodes of all miners."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response

from engine.rest import bodies
from engine.rest.access import Sight
from engine.rest.entry import Parts
from engine.rest.paging import MAX_PAGE, Least, Page, PageSize, Word, in_order, page_of
from engine.rest.problems import problems
from engine.rest.views import Snapshot, memory_gb
from engine.store.records import ValidatedNode
from engine.validator.schedule import LIVE

NodeOrder = Literal["id", "gpus", "memory", "ramp", "-id", "-gpus", "-memory", "-ramp"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Filters; None asks for nothing."""

    available: bool | None
    min_gpu_memory: int | None
    gpu_type: str | None
    min_gpu_count: int | None

    @property
    def is_all(self) -> bool:
        """Whether every node passes."""
        return self == _Wanted(None, None, None, None)

    def takes(self, node: ValidatedNode, snapshot: Snapshot) -> bool:
        """Whether the node passes all of them."""
        gpus = snapshot.gpus_of(node)
        if self.available is not None:
            is_available = node.status in LIVE and bool(gpus) and not snapshot.is_rented(node)
            if is_available != self.available:
                return False
        least, word = self.min_gpu_memory, self.gpu_type
        return (
            (self.min_gpu_count is None or len(gpus) >= self.min_gpu_count)
            and (least is None or any(memory_gb(gpu) >= least for gpu in gpus))
            and (word is None or any(word.lower() in gpu.model.lower() for gpu in gpus))
        )


def node_routes(parts: Parts) -> APIRouter:
    """``/nodes``."""
    router = APIRouter(tags=["nodes"], responses=problems(401, 403))

    @router.get("/nodes", response_model=bodies.Nodes)
    async def nodes(
        request: Request,
        sight: Annotated[Sight, Depends(parts.entry("nodes"))],
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
        available: bool | None = None,
        min_gpu_memory: Least = None,
        gpu_type: Word = None,
        min_gpu_count: Least = None,
        city: Word = None,
        region: Word = None,
        country: Word = None,
        sort: NodeOrder | None = None,
    ) -> Response:
        """Nodes by miner and id, or by ``sort``: id, gpus, memory, ramp, with ``-`` from the largest.

        Where nodes stand is not known here, so any filter by place finds none.
        """
        views, snapshot = parts.views, await parts.views.snapshot()
        is_by_place = any(word is not None for word in (city, region, country))
        wanted = _Wanted(available, min_gpu_memory, gpu_type, min_gpu_count)
        # Judged by the rows: making bodies of two thousand nodes for a page of twenty takes a tenth of a second.
        seen = snapshot.nodes if sight.only is None else snapshot.of_miner(sight.only)
        kept = [] if is_by_place else list(seen) if wanted.is_all else [n for n in seen if wanted.takes(n, snapshot)]
        orders: dict[str, Callable[[ValidatedNode], Any]] = {
            "id": lambda node: node.node_id,
            "gpus": lambda node: len(snapshot.gpus_of(node)),
            "memory": lambda node: max(map(memory_gb, snapshot.gpus_of(node)), default=0),
            "ramp": lambda node: views.ramp(node, snapshot).minutes,
        }
        rows, headers = page_of(in_order(kept, sort, orders), page, page_size, request)
        entries = [
            bodies.NodeEntry(node=views.node(node, snapshot), availability={"available_until": None}) for node in rows
        ]
        body = bodies.Nodes(available_nodes=entries, total_count=len(kept), page=page, page_size=page_size)
        return bodies.json_answer(body, headers)

    return router
