"""The REST API, put together: routes, errors, the gate in front of them, and its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from engine.clock import Clock
from engine.config.validator import ValidatorConfig
from engine.control.state import LiveState
from engine.rest import bodies
from engine.rest.access import group_of
from engine.rest.entry import Acts, Parts
from engine.rest.gate import Gate, GateRules, Observe, per_minute
from engine.rest.keys import ApiKeys
from engine.rest.problems import add_error_handlers, problems
from engine.rest.routes_engine import add_documentation, engine_routes
from engine.rest.routes_miners import gpu_routes, miner_routes
from engine.rest.routes_nodes import node_routes
from engine.rest.routes_rentals import rental_routes
from engine.rest.routes_verification import verification_routes
from engine.rest.views import Views, views_of
from engine.store import Store
from engine.version import __version__

_ANYWHERE = problems(400, 408, 413, 414, 422, 429, 431, 500, 503)
_SECURITY = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "basilica-tui api-keys create; X-API-Key works too"},
    "hotkey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Bittensor-Signature",
        "description": "btauth/1 of the bittensor SDK, with X-Bittensor-Version, -Hotkey, -Receiver and -Nonce",
    },
}


@dataclass(frozen=True, slots=True)
class RestParts:
    """What the API needs; ``hotkey`` is the validator's own."""

    config: ValidatorConfig
    store: Store
    state: LiveState
    clock: Clock
    keys: ApiKeys
    hotkey: str
    actions: Acts
    silent_s: Callable[[], float] = lambda: 0.0
    """How long the engine, where it is another process, has told nothing."""


def rest_app(parts: RestParts, views: Views | None = None, *, observe: Observe | None = None) -> Gate:
    """The whole app, with OpenAPI at ``/openapi.json`` and Swagger UI at ``/docs``.

    ``observe`` gets each answer's status, seconds and bytes.
    """
    config = parts.config
    views = views or views_of(config, parts.store, parts.state, parts.clock)
    app = routes(Parts(config, parts.store, parts.state, parts.clock, views, parts.actions, parts.silent_s))
    rules = GateRules(
        own_hotkey=parts.hotkey,
        max_body_bytes=config.api.max_body_size,
        per_address=per_minute(config.api.requests_per_minute),
        per_caller=per_minute(config.api.requests_per_minute_with_key),
        registered=lambda hotkey: hotkey in parts.state.miners,
        opened=frozenset(config.api.open),
    )
    return Gate(app, parts.keys, rules, parts.clock, observe=observe)


def routes(parts: Parts) -> FastAPI:
    """The app behind the gate."""
    app = FastAPI(
        title="Basilica validator",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=_ANYWHERE,
    )
    add_error_handlers(app)
    for router in (
        miner_routes(parts),
        node_routes(parts),
        gpu_routes(parts),
        verification_routes(parts),
        rental_routes(parts),
        engine_routes(parts),
    ):
        app.include_router(router)
    add_documentation(app, parts)
    opened: set[str] = set(parts.config.api.open)
    app.openapi = lambda: _document(app, opened)  # type: ignore[method-assign]  # FastAPI's own way of changing it
    return app


def _document(app: FastAPI, opened: set[str]) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = schema.setdefault("components", {})
        components["securitySchemes"] = _SECURITY
        components.setdefault("schemas", {})["Problem"] = bodies.Problem.model_json_schema()
        for path, operations in schema["paths"].items():
            group = group_of(path)
            for method, operation in operations.items():
                operation["security"] = [] if group in opened and method == "get" else [{"apiKey": []}, {"hotkey": []}]
        app.openapi_schema = schema
    return app.openapi_schema
