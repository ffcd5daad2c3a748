"""Health, configuration, and the interactive documentation, which needs nothing from the internet."""

# No postponed annotations here: FastAPI reads the dependencies in them, which are local names.
import asyncio
from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from engine.config.masking import mask_config
from engine.errors import StoreUnusable
from engine.observe.http import health_checks
from engine.rest import bodies
from engine.rest.access import Sight
from engine.rest.entry import Parts
from engine.rest.problems import problems
from engine.rest.views import Views
from engine.version import __version__

LOOK_S = 5.0
SILENT_S = 20.0
"""The engine tells something twice a second."""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'"
)


async def _database(views: Views) -> str:
    """``ok``, or that it does not answer: asked at most every few seconds, however many want to know."""
    try:
        async with asyncio.timeout(LOOK_S):
            await views.snapshot()
    except (StoreUnusable, TimeoutError):
        return "does not answer"
    return "does not answer" if views.is_failing else "ok"


def engine_routes(parts: Parts) -> APIRouter:
    """``/health`` and ``/config``."""
    router = APIRouter(tags=["engine"])
    config = mask_config(parts.config.model_dump(mode="json"))
    enter = Depends(parts.entry("config"))

    well: dict[int | str, dict[str, object]] = {200: {"model": bodies.Health}, 503: {"model": bodies.Health}}

    @router.get("/health", responses=well | problems(401, 403))
    async def health(_sight: Annotated[Sight, Depends(parts.entry("health"))]) -> JSONResponse:
        """Whether this engine is well; 503 when it is not."""
        checks = health_checks(parts.state)
        if (silent_s := parts.silent_s()) > SILENT_S:
            checks["engine"] = f"silent for {silent_s:.0f} s"
        checks["database"] = await _database(parts.views)
        is_well = all(verdict == "ok" for verdict in checks.values())
        body = bodies.Health(
            status="healthy" if is_well else "degraded",
            timestamp=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            version=__version__,
            checks=checks,
        )
        return JSONResponse(body.model_dump(), 200 if is_well else 503)

    @router.get("/config", responses=problems(401, 403))
    async def whole_config(_sight: Annotated[Sight, enter]) -> dict[str, object]:
        """The configuration, its secrets masked."""
        return config

    @router.get("/config/{section}", responses=problems(401, 403, 404))
    async def config_section(section: str, _sight: Annotated[Sight, enter]) -> dict[str, object]:
        """One section, such as verification or emission."""
        found = config.get(section)
        if not isinstance(found, dict):
            raise HTTPException(404, "the configuration has no such section")
        return found

    return router


def add_documentation(app: FastAPI, parts: Parts) -> None:
    """``/docs`` and ``/openapi.json``; the scripts come with a Python package, not from another host."""
    enter = Depends(parts.entry("docs"))

    @app.get("/openapi.json", include_in_schema=False, dependencies=[enter])
    async def schema() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False, dependencies=[enter])
    async def page() -> HTMLResponse:
        answer = get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url="docs/assets/swagger-ui-bundle.js",
            swagger_css_url="docs/assets/swagger-ui.css",
            swagger_favicon_url="docs/assets/favicon.png",
        )
        answer.headers["content-security-policy"] = _POLICY
        return answer

    assets = str(files("fastapi_offline").joinpath("static"))
    app.mount("/docs/assets", StaticFiles(directory=assets), name="assets")
