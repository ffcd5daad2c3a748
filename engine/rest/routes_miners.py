"""Miners, their nodes, their health, their GPUs."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from engine.rest import bodies
from engine.rest.access import Sight
from engine.rest.entry import Parts
from engine.rest.paging import MAX_PAGE, Least, Page, PageSize, Word, in_order, page_of
from engine.rest.problems import problems
from engine.scores.categories import deployed_category

MinerOrder = Literal["uid", "score", "gpus", "nodes", "uptime", "-uid", "-score", "-gpus", "-nodes", "-uptime"]
_MINER_ORDERS = {
    "uid": lambda miner: int(miner.miner_id.removeprefix("miner_")) if miner.miner_id[6:].isdecimal() else -1,
    "score": lambda miner: miner.verification_score,
    "gpus": lambda miner: miner.total_gpu_count,
    "nodes": lambda miner: miner.node_count,
    "uptime": lambda miner: miner.uptime_percentage,
}


def miner_routes(parts: Parts) -> APIRouter:
    """``/miners`` and below."""
    router = APIRouter(tags=["miners"], responses=problems(401, 403))
    enter = Depends(parts.entry("miners"))
    views = parts.views

    @router.get("/miners", response_model=bodies.Miners)
    async def miners(
        request: Request,
        sight: Annotated[Sight, enter],
        page: Page = 1,
        page_size: PageSize = 20,
        status: Word = None,
        min_gpu_count: Least = None,
        min_score: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
        sort: MinerOrder | None = None,
    ) -> Response:
        """Miners by uid, or by ``sort``: uid, score, gpus, nodes, uptime, with ``-`` from the largest."""
        snapshot = await views.snapshot()
        kept = [
            miner
            for miner in (views.miner(view, snapshot) for view in parts.miners(sight))
            if (status is None or miner.status.lower() == status.lower())
            and (min_gpu_count is None or miner.total_gpu_count >= min_gpu_count)
            and (min_score is None or miner.verification_score >= min_score)
        ]
        ordered = in_order(kept, sort, _MINER_ORDERS)
        rows, headers = page_of(ordered, page, page_size, request)
        body = bodies.Miners(miners=rows, total_count=len(kept), page=page, page_size=page_size)
        return bodies.json_answer(body, headers)

    @router.get("/miners/{miner_id}", response_model=bodies.Miner, responses=problems(404))
    async def miner(miner_id: str, sight: Annotated[Sight, enter]) -> Response:
        """One miner, by ``miner_UID``, uid or hotkey."""
        return bodies.json_answer(views.miner(parts.miner(miner_id, sight), await views.snapshot()))

    @router.get("/miners/{miner_id}/nodes", response_model=list[bodies.Node], responses=problems(404))
    async def miner_nodes(
        miner_id: str,
        request: Request,
        sight: Annotated[Sight, enter],
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
    ) -> Response:
        """A miner's nodes."""
        view, snapshot = parts.miner(miner_id, sight), await views.snapshot()
        rows, headers = page_of(snapshot.of_miner(view.hotkey), page, page_size, request)
        return bodies.json_list(bodies.Node, [views.node(row, snapshot) for row in rows], headers)

    @router.get("/miners/{miner_id}/health", response_model=bodies.MinerHealth, responses=problems(404))
    async def miner_health(miner_id: str, sight: Annotated[Sight, enter]) -> Response:
        """A miner's health, by that of its nodes."""
        return bodies.json_answer(views.health(parts.miner(miner_id, sight), await views.snapshot()))

    return router


def gpu_routes(parts: Parts) -> APIRouter:
    """``/gpu-profiles`` and ``/gpu-categories``."""
    router = APIRouter(tags=["GPUs"], responses=problems(401, 403))
    enter = Depends(parts.entry("gpus"))

    async def profiles(sight: Sight) -> list[bodies.GpuProfile]:
        snapshot = await parts.views.snapshot()
        views = [view for view in parts.miners(sight) if snapshot.of_miner(view.hotkey)]
        return [parts.views.profile(view, snapshot) for view in views]

    @router.get("/gpu-profiles", response_model=list[bodies.GpuProfile])
    async def gpu_profiles(
        request: Request,
        sight: Annotated[Sight, enter],
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
    ) -> Response:
        """Each miner's GPUs by category."""
        rows, headers = page_of(await profiles(sight), page, page_size, request)
        return bodies.json_list(bodies.GpuProfile, rows, headers)

    @router.get("/gpu-profiles/{category}", response_model=list[bodies.GpuProfile])
    async def gpu_profiles_of(
        category: str,
        request: Request,
        sight: Annotated[Sight, enter],
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
    ) -> Response:
        """The miners with GPUs of a category; the word is read like the name of a GPU."""
        wanted = category.upper() if category.upper() == "H200" else deployed_category(category)
        found = []
        for profile in await profiles(sight):
            if count := profile.gpu_counts.get(wanted):
                found.append(profile.model_copy(update={"gpu_counts": {wanted: count}}))
        rows, headers = page_of(found, page, page_size, request)
        return bodies.json_list(bodies.GpuProfile, rows, headers)

    @router.get("/gpu-categories")
    async def gpu_categories(
        request: Request,
        response: Response,
        sight: Annotated[Sight, enter],
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
    ) -> list[str]:
        """The categories that are there, by name."""
        names = sorted({name for profile in await profiles(sight) for name in profile.gpu_counts})
        rows, headers = page_of(names, page, page_size, request)
        response.headers.update(headers)
        return rows

    return router
