"""All nodes of all miners, and the rentals that this validator does not have."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

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
NO_RENTALS = "this validator verifies nodes; it does not rent them out"
RentalState = Literal["Provisioning", "Active", "Stopping", "Stopped", "Failed"]


def node_routes(parts: Parts) -> APIRouter:
    """``/nodes``."""
    router = APIRouter(tags=["nodes"], responses=problems(401, 403))

    @router.get("/nodes")
    async def nodes(
        request: Request,
        response: Response,
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
    ) -> bodies.Nodes:
        """Nodes by miner and id, or by ``sort``: id, gpus, memory, ramp, with ``-`` from the largest.

        Where nodes stand is not known here, so any filter by place finds none.
        """
        snapshot = await parts.views.snapshot()
        kept = []
        is_by_place = any(word is not None for word in (city, region, country))
        for row in snapshot.nodes:
            if is_by_place or not sight.covers(row.miner_hotkey):
                continue
            node = parts.views.node(row, snapshot)
            is_available = row.status in LIVE and bool(node.gpu_specs)
            if (
                (available is None or is_available == available)
                and (min_gpu_count is None or len(node.gpu_specs) >= min_gpu_count)
                and (min_gpu_memory is None or any(gpu.memory_gb >= min_gpu_memory for gpu in node.gpu_specs))
                and (gpu_type is None or any(gpu_type.lower() in gpu.name.lower() for gpu in node.gpu_specs))
            ):
                kept.append(node)
        rows = page_of(in_order(kept, sort, _ORDERS), page, page_size, request, response)
        entries = [bodies.NodeEntry(node=node, availability={"available_until": None}) for node in rows]
        return bodies.Nodes(available_nodes=entries, total_count=len(kept), page=page, page_size=page_size)

    return router


def rental_routes(parts: Parts) -> APIRouter:
    """``/rentals``: there are none, and none can be made."""
    router = APIRouter(tags=["rentals"], responses=problems(401, 403))
    enter = Depends(parts.entry("rentals"))

    @router.get("/rentals")
    async def rentals(_sight: Annotated[Sight, enter], state: RentalState | None = None) -> bodies.Rentals:
        """No rentals."""
        return bodies.Rentals(rentals=[], total_count=0)

    @router.get("/rentals/{rental_id}", status_code=404, responses=problems(404))
    @router.get("/rentals/{rental_id}/logs", status_code=404, responses=problems(404))
    @router.delete("/rentals/{rental_id}", status_code=404, responses=problems(404))
    async def rental(rental_id: str, _sight: Annotated[Sight, enter]) -> None:
        """There is no such rental."""
        raise HTTPException(404, f"no such rental: {NO_RENTALS}")

    return router
