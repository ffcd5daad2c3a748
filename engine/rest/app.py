"""The routes. Read-only, paged, with entity tags; errors are ``application/problem+json``."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine.clock import Clock
from engine.config.masking import mask_config
from engine.config.validator import ValidatorConfig
from engine.control.models import MinerView
from engine.control.state import LiveState
from engine.errors import StoreUnusable
from engine.observe.http import health_checks
from engine.rest import bodies
from engine.rest.views import Views
from engine.scores.categories import deployed_category
from engine.store import Store
from engine.validator.miner_facts import emission_of
from engine.validator.schedule import LIVE
from engine.version import __version__

RECENT = 10
MAX_PAGE = 100
PROBLEM = "application/problem+json"
T = TypeVar("T")

Page = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Least = Annotated[int | None, Query(ge=0, le=1_000_000)]
Word = Annotated[str | None, Query(max_length=100)]
_ERRORS: dict[int | str, dict[str, object]] = {
    code: {"model": bodies.Problem, "content": {PROBLEM: {}}} for code in (404, 422, 503)
}


@dataclass(frozen=True, slots=True)
class RestParts:
    """What the routes read."""

    config: ValidatorConfig
    store: Store
    state: LiveState
    clock: Clock


def rest_app(parts: RestParts) -> FastAPI:
    """The whole app, with OpenAPI at ``/openapi.json`` and Swagger UI at ``/docs``."""
    app = FastAPI(title="Basilica validator", version=__version__, responses=_ERRORS)
    views = Views(
        parts.store, parts.state, parts.clock, parts.config.scoring.profile, emission_of(parts.config.emission)
    )
    _add_errors(app)
    app.middleware("http")(_tagged)
    _add_miners(app, parts, views)
    _add_nodes(app, parts, views)
    _add_verification(app, parts, views)
    _add_engine(app, parts)
    return app


def _add_engine(app: FastAPI, parts: RestParts) -> None:
    config = mask_config(parts.config.model_dump(mode="json"))

    @app.get("/health", responses={503: {"model": bodies.Health}})
    async def health() -> Response:
        checks = health_checks(parts.state)
        is_well = all(verdict == "ok" for verdict in checks.values())
        body = bodies.Health(
            status="healthy" if is_well else "degraded",
            timestamp=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            version=__version__,
            checks=checks,
        )
        return JSONResponse(body.model_dump(), 200 if is_well else 503)

    @app.get("/config")
    async def whole_config() -> dict[str, object]:
        return config

    @app.get("/config/{section}")
    async def config_section(section: str) -> dict[str, object]:
        found = config.get(section)
        if not isinstance(found, dict):
            raise HTTPException(404, f"the configuration has no section {section[:40]!r}")
        return found


def _add_miners(app: FastAPI, parts: RestParts, views: Views) -> None:
    def find(miner_id: str) -> MinerView:
        text = miner_id.removeprefix("miner_")
        for view in parts.state.miners.values():
            if view.hotkey == miner_id or str(view.uid) == text:
                return view
        raise HTTPException(404, "no such miner; ask by miner_UID, UID or hotkey")

    @app.get("/miners")
    async def miners(
        page: Page = 1,
        page_size: PageSize = 20,
        status: Word = None,
        min_gpu_count: Least = None,
        min_score: Annotated[float | None, Query(ge=0, le=1)] = None,
    ) -> bodies.Miners:
        snapshot = await views.snapshot()
        found = [views.miner(view, snapshot) for view in _by_uid(parts.state)]
        kept = [
            miner
            for miner in found
            if (status is None or miner.status.lower() == status.lower())
            and (min_gpu_count is None or miner.total_gpu_count >= min_gpu_count)
            and (min_score is None or miner.verification_score >= min_score)
        ]
        return bodies.Miners(miners=_page(kept, page, page_size), total_count=len(kept), page=page, page_size=page_size)

    @app.get("/miners/{miner_id}")
    async def miner(miner_id: str) -> bodies.Miner:
        return views.miner(find(miner_id), await views.snapshot())

    @app.get("/miners/{miner_id}/nodes")
    async def miner_nodes(miner_id: str) -> list[bodies.Node]:
        view, snapshot = find(miner_id), await views.snapshot()
        return [views.node(node, snapshot) for node in snapshot.of_miner(view.hotkey)]

    @app.get("/miners/{miner_id}/health")
    async def miner_health(miner_id: str) -> bodies.MinerHealth:
        return views.health(find(miner_id), await views.snapshot())

    @app.get("/gpu-profiles")
    async def gpu_profiles() -> list[bodies.GpuProfile]:
        snapshot = await views.snapshot()
        return [views.profile(view, snapshot) for view in _by_uid(parts.state) if snapshot.of_miner(view.hotkey)]

    @app.get("/gpu-profiles/{category}")
    async def gpu_profiles_of(category: str) -> list[bodies.GpuProfile]:
        wanted = category.upper() if category.upper() == "H200" else deployed_category(category)
        found = []
        for profile in await gpu_profiles():
            if count := profile.gpu_counts.get(wanted):
                found.append(profile.model_copy(update={"gpu_counts": {wanted: count}}))
        return found

    @app.get("/gpu-categories")
    async def gpu_categories() -> list[str]:
        return sorted({name for profile in await gpu_profiles() for name in profile.gpu_counts})


def _add_nodes(app: FastAPI, parts: RestParts, views: Views) -> None:
    @app.get("/nodes")
    async def nodes(
        page: Page = 1,
        page_size: PageSize = MAX_PAGE,
        available: bool | None = None,
        min_gpu_memory: Least = None,
        gpu_type: Word = None,
        min_gpu_count: Least = None,
    ) -> bodies.Nodes:
        snapshot = await views.snapshot()
        kept = []
        for row in snapshot.nodes:
            node = views.node(row, snapshot)
            is_available = row.status in LIVE and bool(node.gpu_specs)
            if (
                (available is None or is_available == available)
                and (min_gpu_count is None or len(node.gpu_specs) >= min_gpu_count)
                and (min_gpu_memory is None or any(gpu.memory_gb >= min_gpu_memory for gpu in node.gpu_specs))
                and (gpu_type is None or any(gpu_type.lower() in gpu.name.lower() for gpu in node.gpu_specs))
            ):
                kept.append(bodies.NodeEntry(node=node, availability={"available_until": None}))
        return bodies.Nodes(
            available_nodes=_page(kept, page, page_size), total_count=len(kept), page=page, page_size=page_size
        )


def _add_verification(app: FastAPI, parts: RestParts, views: Views) -> None:
    @app.get("/verification/active")
    async def active() -> bodies.Active:
        running = [
            bodies.Verifying(
                node_id=view.id,
                miner_hotkey=view.miner_hotkey,
                tier=view.phase_tier,
                phase=view.phase,
                since=bodies.stamp(view.phase_since),
                reason=view.phase_reason,
                progress=round(view.progress, 3),
            )
            for view in parts.state.verifications.values()
            if view.phase
        ]
        failed = await parts.store.verifications.recent(RECENT, failed_only=True)
        return bodies.Active(
            in_progress=running[:MAX_PAGE],
            recent_failures=[await views.log(row, with_steps=False) for row in failed],
        )

    @app.get("/verification/results/{subject}")
    async def results(
        subject: str, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = RECENT
    ) -> list[bodies.VerificationLog]:
        """The newest results of a miner (``miner_UID`` or hotkey) or, as deployed, of a node id."""
        hotkey = next((m.hotkey for m in parts.state.miners.values() if subject in (m.hotkey, f"miner_{m.uid}")), None)
        rows = await parts.store.verifications.recent(
            limit, miner_hotkey=hotkey, node_id=None if hotkey is not None else subject
        )
        if not rows and hotkey is None:
            raise HTTPException(404, "no verification of such a miner or node")
        return [await views.log(row, with_steps=True) for row in rows]


def _by_uid(state: LiveState) -> list[MinerView]:
    return sorted(state.miners.values(), key=lambda view: (view.uid is None, view.uid or 0, view.hotkey))


def _page(items: Sequence[T], page: int, size: int) -> list[T]:
    return list(items[(page - 1) * size : page * size])


# --- errors and entity tags -----------------------------------------------------------------------------------


def _problem(status: int, title: str, detail: str = "") -> JSONResponse:
    body = bodies.Problem(title=title, status=status, detail=detail)
    return JSONResponse(body.model_dump(), status, media_type=PROBLEM)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        answer = _problem(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:10]]
        return _problem(422, "the request is not valid", "; ".join(found))

    @app.exception_handler(StoreUnusable)
    async def unusable(_request: Request, _error: StoreUnusable) -> JSONResponse:
        return _problem(503, "the database does not answer")


async def _tagged(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """A weak tag over the body of each good answer; 304 when the caller has it already."""
    response = await call_next(request)
    if request.method != "GET" or response.status_code != 200 or not hasattr(response, "body_iterator"):
        return response
    body = b"".join([part async for part in response.body_iterator])
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**dict(response.headers), "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return Response(body, 200, headers, media_type=response.media_type)
