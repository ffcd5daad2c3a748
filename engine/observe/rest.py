"""The validator's REST face in its first form: what the live state knows, read-only."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from engine.control.models import view_to_json
from engine.control.state import LiveState
from engine.observe.http import health_answer
from engine.version import __version__


def rest_app(state: LiveState) -> FastAPI:
    """``/health``, ``/miners``, ``/miners/{hotkey}``, ``/nodes`` (the latest verification of each)."""
    app = FastAPI(title="Basilica validator", version=__version__)

    @app.get("/health")
    async def health() -> JSONResponse:
        return health_answer(state)

    @app.get("/miners")
    async def miners() -> JSONResponse:
        return JSONResponse({"miners": [view_to_json(m) for m in state.miners.values()]})

    @app.get("/miners/{hotkey}")
    async def miner(hotkey: str) -> JSONResponse:
        found = state.miners.get(hotkey)
        if found is None:
            return JSONResponse({"title": "no such miner", "status": 404}, 404, media_type="application/problem+json")
        return JSONResponse(view_to_json(found))

    @app.get("/nodes")
    async def nodes() -> JSONResponse:
        return JSONResponse({"nodes": [view_to_json(v) for v in state.verifications.values()]})

    return app
