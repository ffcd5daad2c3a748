"""Which nodes are rented, and saying so. Nothing is rented out here: no container is started or stopped."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.exceptions import HTTPException

from engine.errors import ControlRefused, RentalConflict, RentalInvalid, RentalUnknown, StoreStrained, StoreUnusable
from engine.rest import bodies
from engine.rest.access import Caller, Sight
from engine.rest.entry import Parts
from engine.rest.paging import MAX_PAGE, Page, PageSize, page_of
from engine.rest.problems import Hinted, problems
from engine.rest.views import Snapshot
from engine.store.records import Rental, ValidatedNode

RentalState = Literal["Provisioning", "Active", "Stopping", "Stopped", "Failed"]
OnceKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="The same key again gets the first answer; the last 256 are known, until a restart.",
    ),
]
_STATUS = {RentalUnknown.code: 404, RentalConflict.code: 409, "key_reused": 409, StoreUnusable.code: 503,
           StoreStrained.code: 503, "unavailable": 503, RentalInvalid.code: 404}  # fmt: skip
"""By how the action ended. The last one: the body has been judged before, so it is a name that nothing can have."""


def rental_routes(parts: Parts) -> APIRouter:
    """``/rentals``."""
    router = APIRouter(tags=["rentals"], responses=problems(401, 403))
    enter = Depends(parts.entry("rentals"))

    @router.get("/rentals")
    async def rentals(
        request: Request,
        response: Response,
        _sight: Annotated[Sight, enter],
        state: RentalState | None = None,
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
    ) -> bodies.Rentals:
        """The rentals on record, newest first."""
        snapshot = await parts.views.snapshot()
        found = (
            []
            if state not in (None, "Active", "Stopped")
            else await parts.store.rentals.all(is_active=None if state is None else state == "Active")
        )
        rows, headers = page_of(found, page, page_size, request)
        response.headers.update(headers)
        items = [_item_of(parts, one, snapshot) for one in rows]
        return bodies.Rentals(rentals=items, total_count=len(found), page=page, page_size=page_size)

    @router.get("/rentals/{rental_id}", responses=problems(404))
    async def rental(rental_id: str, _sight: Annotated[Sight, enter]) -> bodies.RentalStatus:
        """One rental and its node as it is now."""
        found = await parts.store.rentals.get(rental_id)
        if found is None:
            raise HTTPException(404, "no such rental")
        return _status_of(parts, found, await parts.views.snapshot())

    @router.get("/rentals/{rental_id}/logs", status_code=404, responses=problems(404))
    async def rental_logs(rental_id: str, _sight: Annotated[Sight, enter]) -> None:
        """There are none: the container is not this validator's."""
        if await parts.store.rentals.get(rental_id) is None:
            raise HTTPException(404, "no such rental")
        raise Hinted(
            404,
            "this validator runs no containers, so it has no logs of them",
            hint="ask whoever rented the node out, or run docker logs on the node itself",
        )

    _add_changes(router, parts)
    return router


def _add_changes(router: APIRouter, parts: Parts) -> None:
    enter = Depends(parts.entry_to_change("rentals"))

    @router.post("/rentals", status_code=201, response_model=bodies.RentalStatus, responses=problems(404, 409))
    async def begin(
        wanted: bodies.RentalWanted, request: Request, caller: Annotated[Caller, enter], once: OnceKey = None
    ) -> Response:
        """A node is rented from now on: it gets lightweight checks only, and clean-up spares it."""
        args = {"node_id": wanted.node_id, "miner": wanted.miner_hotkey, "id": wanted.rental_id}
        entered = await _act(parts, caller, "rental.begin", args, once)
        found = await parts.store.rentals.get(str(entered["id"]))
        if found is None:
            raise HTTPException(404, "no such rental")
        body = _status_of(parts, found, await parts.views.snapshot())
        return bodies.json_answer(body, {"location": f"/rentals/{quote(found.id, safe='')}"}, status=201)

    @router.delete("/rentals/{rental_id}", status_code=204, responses=problems(404, 409))
    async def end(
        rental_id: str,
        caller: Annotated[Caller, enter],
        over: bodies.RentalOver | None = None,
        once: OnceKey = None,
    ) -> None:
        """The rental is over: the node is verified fully in the next round."""
        reason = "".join(c for c in over.reason if c.isprintable()) if over is not None else ""
        await _act(parts, caller, "rental.end", {"id": rental_id, "reason": reason}, once)


async def _act(
    parts: Parts, caller: Caller, verb: str, args: Mapping[str, object], once: str | None
) -> dict[str, object]:
    """As an operator does it, with the same record of who did."""
    key = f"rest:{caller.id}:{once}" if once else None
    try:
        done = await parts.actions.run(verb, args, role="operator", actor=caller.id, key=key)
    except ControlRefused as error:
        status = _STATUS.get(error.reason)
        if status is None:
            raise
        if status == 503:  # in the caller's words: the engine's name its database
            silent = "the engine" if error.reason == "unavailable" else "the database"
            raise HTTPException(503, f"{silent} does not answer", {"retry-after": "5"}) from error
        raise HTTPException(status, error.message) from error
    parts.views.forget()
    return dict(done)


def _node_of(rental: Rental, snapshot: Snapshot) -> ValidatedNode | None:
    return next((n for n in snapshot.of_miner(rental.miner_hotkey) if n.node_id == rental.node_id), None)


def _item_of(parts: Parts, rental: Rental, snapshot: Snapshot) -> bodies.RentalItem:
    row = _node_of(rental, snapshot)
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


def _status_of(parts: Parts, rental: Rental, snapshot: Snapshot) -> bodies.RentalStatus:
    row = _node_of(rental, snapshot)
    return bodies.RentalStatus(
        rental_id=rental.id,
        status="active" if rental.ended_at is None else "terminated",
        node=None if row is None else parts.views.node(row, snapshot),
        miner_uid=None if row is None else row.miner_uid,
        miner_hotkey=rental.miner_hotkey,
        created_at=bodies.stamp(rental.started_at) or "",
        updated_at=bodies.stamp(rental.ended_at or rental.started_at) or "",
    )
