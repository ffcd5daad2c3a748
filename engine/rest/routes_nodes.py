"""All nodes of all miners, and which of them are rented."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from engine.rest import bodies
from engine.rest.access import Sight
from engine.rest.entry import Parts
from engine.rest.paging import MAX_PAGE, Least, Page, PageSize, Word, in_order, page_of
from engine.rest.problems import problems
from engine.rest.views import Snapshot
from engine.store.records import Rental, ValidatedNode
from engine.validator.schedule import LIVE

NodeOrder = Literal["id", "gpus", "memory", "ramp", "-id", "-gpus", "-memory", "-ramp"]
_ORDERS = {
    "id": lambda node: node.id,
    "gpus": lambda node: len(node.gpu_specs),
    "memory": lambda node: max((gpu.memory_gb for gpu in node.gpu_specs), default=0),
    "ramp": lambda node: node.ramp_minutes,
}
RentalState = Literal["Provisioning", "Active", "Stopping", "Stopped", "Failed"]


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
        for row in snapshot.nodes:
            if is_by_place or not sight.covers(row.miner_hotkey):
                continue
            node = parts.views.node(row, snapshot)
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


def rental_routes(parts: Parts) -> APIRouter:
    """``/rentals``: what the operator's registry says. Nothing is rented out here."""
    router = APIRouter(tags=["rentals"], responses=problems(401, 403))
    enter = Depends(parts.entry("rentals"))

    def node_of(rental: Rental, snapshot: Snapshot) -> ValidatedNode | None:
        return next((n for n in snapshot.of_miner(rental.miner_hotkey) if n.node_id == rental.node_id), None)

    def item_of(rental: Rental, snapshot: Snapshot) -> bodies.RentalItem:
        row = node_of(rental, snapshot)
        return bodies.RentalItem(
            rental_id=rental.id,
            node_id=rental.node_id,
            state="Active" if rental.ended_at is None else "Stopped",
            created_at=bodies.stamp(rental.started_at) or "",
            ended_at=bodies.stamp(rental.ended_at),
            miner_id=None if row is None else f"miner_{row.miner_uid}",
            miner_hotkey=rental.miner_hotkey,
            gpu_specs=[] if row is None else parts.views.node(row, snapshot).gpu_specs,
        )

    @router.get("/rentals")
    async def rentals(_sight: Annotated[Sight, enter], state: RentalState | None = None) -> bodies.Rentals:
        """The rentals on record, newest first, at most a hundred."""
        snapshot = await parts.views.snapshot()
        found = (
            []
            if state not in (None, "Active", "Stopped")
            else await parts.store.rentals.all(is_active=None if state is None else state == "Active")
        )
        return bodies.Rentals(rentals=[item_of(one, snapshot) for one in found[:MAX_PAGE]], total_count=len(found))

    @router.get("/rentals/{rental_id}", responses=problems(404))
    async def rental(rental_id: str, _sight: Annotated[Sight, enter]) -> bodies.RentalStatus:
        """One rental and its node as it is now."""
        found = await parts.store.rentals.get(rental_id)
        if found is None:
            raise HTTPException(404, "no such rental")
        snapshot = await parts.views.snapshot()
        row = node_of(found, snapshot)
        return bodies.RentalStatus(
            rental_id=found.id,
            status="active" if found.ended_at is None else "terminated",
            node=None if row is None else parts.views.node(row, snapshot),
            miner_uid=None if row is None else row.miner_uid,
            miner_hotkey=found.miner_hotkey,
            created_at=bodies.stamp(found.started_at) or "",
            updated_at=bodies.stamp(found.ended_at or found.started_at) or "",
        )

    @router.get("/rentals/{rental_id}/logs", status_code=404, responses=problems(404))
    async def rental_logs(rental_id: str, _sight: Annotated[Sight, enter]) -> None:
        """There are none: the container is not this validator's."""
        raise HTTPException(404, "this validator runs no containers, so it has no logs of them")

    return router
