"""Small HTTP faces of the engine: ``/health`` and ``/metrics``, each on its own address, inside the engine's loop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.control.state import LiveState
from engine.errors import PortTaken
from engine.observe.http_protocol import BoundedProtocol

Application: TypeAlias = Callable[..., Awaitable[None]]
"""What ASGI calls an application."""

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class _QuietServer(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to the engine."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def health_app(state: LiveState) -> Starlette:
    """``GET /health``: ``status``, ``timestamp``, ``nodes``, ``active_sessions``, ``checks``; 503 when degraded."""

    async def health(_request: Request) -> JSONResponse:
        return health_answer(state)

    return Starlette(routes=[Route("/health", health)])


def health_answer(state: LiveState) -> JSONResponse:
    """The health document of this moment."""
    checks = health_checks(state)
    is_healthy = all(verdict == "ok" for verdict in checks.values())
    return JSONResponse(
        {
            "status": "healthy" if is_healthy else "degraded",
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "nodes": len(state.nodes),
            "active_sessions": sum(1 for s in state.sessions.values() if s.state == "active"),
            "checks": checks,
        },
        status_code=200 if is_healthy else 503,
    )


def health_checks(state: LiveState) -> dict[str, str]:
    """Each check's verdict: ``ok``, or in a few words what is wrong."""
    services = [s.id for s in state.services.values() if s.state == "restarting"]
    # A node that its operator works on is no trouble of the engine's.
    troubled = [n for n in state.nodes.values() if n.state in ("unhealthy", "stopped") and n.drained_since is None]
    return {
        "services": "ok" if not services else "restarting: " + ", ".join(sorted(services)),
        "chain": "ok" if not state.engine.chain_error else "unavailable",
        "nodes": "ok" if not troubled else f"{len(troubled)} of {len(state.nodes)} not healthy",
    }


def metrics_app(render: Callable[[], bytes], path: str) -> Starlette:
    """The exposition text at ``path``."""

    async def metrics(_request: Request) -> Response:
        return Response(render(), media_type=PROMETHEUS_TEXT)

    return Starlette(routes=[Route(path, metrics)])


@dataclass(frozen=True, slots=True)
class HttpService:
    """One app on one address."""

    name: str
    app: Application
    host: str
    port: int

    async def run(self) -> None:
        """Serve until cancelled. Raises PortTaken, so that the supervisor can say so and try again."""
        listener = listen(self.name, self.host, self.port)
        try:
            await serve(self.app, listener)
        finally:
            listener.close()


async def serve(app: Application, listener: socket.socket, *, proxies: Collection[str] = ()) -> None:
    """Answer what comes to this socket until cancelled.

    ``proxies``: addresses and networks whose ``X-Forwarded-For`` says who the client is. Nobody else's is read.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http=BoundedProtocol,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    await _QuietServer(config).serve(sockets=[listener])


def listen(name: str, host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken, with the section ``name`` of the configuration in its hint."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise PortTaken(
            f"{name}: cannot listen on {host}:{port}: {error.strerror}",
            hint=f"see who has port {port} with 'ss -ltnp', or change [{name}] in the configuration",
        ) from error
