"""All nodes of all miners."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response

from engine.rest import bodies
from engine.rest.access import Sight
from engine.rest.entry import Parts
from engine.rest.paging import MAX_PAGE, Least, Page, PageSize, Word, in_order, page_of
from engine.rest.problems import problems
from engine.validator.schedule import LIVE

NodeOrder = Literal["id", "gpus", "memory", "ramp", "-id", "-gpus", "-memory", "-ramp"]
_ORDERS = {
    "id": lambda node: node.id,
    "gpus": lambda node: len(node.gpu_specs),
    "memory": lambda node: max((gpu.memory_gb for gpu in node.gpu_specs), default=0),
    "ramp": lambda node: node.ramp_minutes,
}


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
        snapshot = await parts.views.snapshot()
        kept = []
        is_by_place = any(word is not None for word in (city, region, country))
        for row, node in [] if is_by_place else await parts.views.all_nodes(snapshot):
            if not sight.covers(row.miner_hotkey):
                continue
            is_available = row.status in LIVE and bool(node.gpu_specs) and not node.rented
            if (
                (available is None or is_available == available)
                and (min_gpu_count is None or len(node.gpu_specs) >= min_gpu_count)
                and (min_gpu_memory is None or any(gpu.memory_gb >= min_gpu_memory for gpu in node.gpu_specs))
                and (gpu_type is None or any(gpu_type.lower() in gpu.name.lower() for gpu in node.gpu_specs))
            ):
                kept.append(node)
        rows, headers = page_of(in_order(kept, sort, _ORDERS), page, page_size, request)
        entries = [bodies.NodeEntry(node=node, availability={"available_until": None}) for node in rows]
        body = bodies.Nodes(available_nodes=entries, total_count=len(kept), page=page, page_size=page_size)
        return bodies.json_answer(body, headers)

    return router
