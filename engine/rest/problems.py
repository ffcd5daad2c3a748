"""Errors as ``application/problem+json`` (RFC 9457), whatever raised them."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from engine.errors import StoreUnusable
from engine.rest.bodies import Problem

log = structlog.get_logger()

PROBLEM = "application/problem+json"
_TITLES = {
    400: "the request is not valid",
    401: "who are you?",
    403: "not allowed",
    404: "not found",
    405: "method not allowed",
    408: "the request did not come",
    409: "in the way of something else",
    413: "the body is too large",
    414: "the address is too long",
    422: "the request is not valid",
    429: "too many requests",
    431: "the headers are too large",
    500: "an error in this program",
    503: "not available now",
}


class Hinted(HTTPException):
    """A refusal that knows what to do instead."""

    def __init__(self, status: int, detail: str, *, hint: str) -> None:
        super().__init__(status, detail)
        self.hint = hint


def problem(
    status: int, detail: str = "", *, headers: Mapping[str, str] | None = None, hint: str | None = None
) -> JSONResponse:
    """One problem document."""
    body = Problem(title=_TITLES.get(status, "error"), status=status, detail=detail, hint=hint)
    return JSONResponse(body.model_dump(exclude_none=True), status, dict(headers or {}), media_type=PROBLEM)


def problems(*codes: int) -> dict[int | str, dict[str, object]]:
    """The codes as OpenAPI responses."""
    described: dict[int | str, dict[str, object]] = {}
    for code in codes:
        described[code] = {
            "description": _TITLES[code].capitalize(),
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return described


def add_error_handlers(app: FastAPI) -> None:
    """Have every error answered as a problem."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:
            allowed = ", ".join(sorted(_methods(app, request.url.path)))
            return problem(405, headers={"allow": allowed} if allowed else error.headers)
        detail = str(error.detail) if error.detail != "Not Found" else ""
        hint = error.hint if isinstance(error, Hinted) else None
        return problem(error.status_code, detail, headers=error.headers, hint=hint)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:10]]
        return problem(422, "; ".join(found))

    @app.exception_handler(StoreUnusable)
    async def unusable(_request: Request, _error: StoreUnusable) -> JSONResponse:
        return problem(503, "the database does not answer", headers={"retry-after": "5"})

    @app.exception_handler(Exception)
    async def crashed(request: Request, error: Exception) -> JSONResponse:
        incident = secrets.token_hex(4)
        # As text, without the values of variables: they hold the configuration.
        trace = "".join(traceback.format_exception(error, limit=-8))
        log.error("rest.crashed", incident=incident, path=request.url.path[:200], trace=trace[-4000:])
        return problem(500, f"incident {incident}; the engine's log has the details")


def _methods(app: FastAPI, path: str) -> set[str]:
    """All that a path of the document knows: several routes may share it."""
    found: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].match(path):
            found |= {method.upper() for method in operations}
    return found | {"HEAD"} if "GET" in found else found
