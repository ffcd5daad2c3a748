"""What is being verified, and what was found."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.exceptions import HTTPException

from engine.rest import bodies
from engine.rest.access import Sight
from engine.rest.entry import Parts
from engine.rest.paging import MAX_PAGE, Page, PageSize, page_of
from engine.rest.problems import problems

RECENT = 10


def verification_routes(parts: Parts) -> APIRouter:
    """``/verification/active`` and ``/verification/results/{id}``."""
    router = APIRouter(tags=["verification"], responses=problems(401, 403))
    enter = Depends(parts.entry("verification"))

    @router.get("/verification/active", response_model=bodies.Active)
    async def active(
        request: Request, sight: Annotated[Sight, enter], page: Page = 1, page_size: PageSize = MAX_PAGE
    ) -> Response:
        """What runs now, page by page, and the last failures."""
        running = [
            bodies.Verifying(
                node_id=view.node_id,
                miner_hotkey=view.miner_hotkey,
                tier=view.phase_tier,
                phase=view.phase,
                since=bodies.stamp(view.phase_since),
                reason=view.phase_reason,
                progress=round(view.progress, 3),
            )
            for view in parts.state.verifications.values()
            if view.phase and sight.covers(view.miner_hotkey)
        ]
        only = None if sight.only is None else [sight.only]
        failed = await parts.store.verifications.recent(RECENT, failed_only=True, miners=only)
        rows, headers = page_of(running, page, page_size, request)
        body = bodies.Active(
            in_progress=rows,
            recent_failures=parts.views.logs(failed),
            total_count=len(running),
            page=page,
            page_size=page_size,
        )
        return bodies.json_answer(body, headers)

    @router.get("/verification/results/{subject}", response_model=list[bodies.VerificationLog], responses=problems(404))
    async def results(
        subject: str,
        request: Request,
        sight: Annotated[Sight, enter],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = RECENT,
        before: Annotated[str | None, Query(max_length=64, description="The last id of the page before.")] = None,
    ) -> Response:
        """The newest results of a miner (``miner_UID`` or hotkey) or, as deployed, of a node id."""
        view = parts.find(subject) if not subject.isdecimal() else None
        if view is not None:
            if not sight.covers(view.hotkey):
                raise HTTPException(403, "a hotkey may read its own miner only")
            miners, node_id = [view.hotkey], None
        else:
            owners = await parts.store.verifications.miners_of(subject)
            miners, node_id = [hotkey for hotkey in owners if sight.covers(hotkey)], subject
        rows = await parts.store.verifications.recent(limit, miners=miners, node_id=node_id, before=before)
        if not rows and view is None and before is None:
            raise HTTPException(404, "no verification of such a miner or node")
        headers = {}
        if len(rows) == limit:
            query = urlencode({"limit": limit, "before": rows[-1].id})
            headers["link"] = f'<{quote(request.url.path)}?{query}>; rel="next"'
        return bodies.json_list(bodies.VerificationLog, parts.views.logs(rows), headers)

    return router
