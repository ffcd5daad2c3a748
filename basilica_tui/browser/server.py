"""textual-serve behind our own door: loopback only, one link that opens once, nothing loaded from elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp_jinja2
from aiohttp import web
from textual_serve.server import Server

from basilica_tui.browser.door import Asked, Door, Verdict
from engine.errors import PortTaken

MAX_CONSOLES = 8
"""Each is a process of its own, about 60 MB."""
COOKIE = "basilica_console"
_POLICY = (
    # xterm.js writes style elements; textual.js's shim for old browsers wants 'unsafe-eval' and lives without it.
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data:; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REASONS = {
    Verdict.WRONG_HOST: "This page answers to 127.0.0.1 and localhost only. From elsewhere: ssh -L PORT:127.0.0.1:PORT",
    Verdict.WRONG_ORIGIN: "That request came from another page.",
    Verdict.NO_SESSION: "This link was used, or is another run's. Start basilica-tui serve again for a new one.",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listen_on(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one. Raises PortTaken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise PortTaken(
            f"127.0.0.1:{port} cannot be listened on: {error.strerror}",
            hint="choose another: --port 0 takes a free one",
        ) from None
    return listening


class BrowserServer(Server):
    """Serves one command's console to whoever opens the link first."""

    def __init__(self, command: str, listening: socket.socket, *, announce: Callable[[str], None]) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__(command, host=host, port=port, title="basilica-tui", templates_path=Path(__file__).parent)
        self.door = Door()
        self._listening = listening
        self._announce = announce
        self._consoles = 0
        self._cookie = f"{COOKIE}_{port}"

    @property
    def link(self) -> str:
        """The address that opens the console once."""
        return f"{self.public_url}/?token={self.door.token}"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM; every console ends with it."""
        web.run_app(
            self._make_app(), sock=self._listening, print=lambda *_: None, access_log=None, shutdown_timeout=5.0
        )

    async def _make_app(self) -> web.Application:
        app: web.Application = await super()._make_app()
        app.router.add_get("/page.js", self._script)
        app.middlewares.append(self._guard)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Say where the console is, once it can be opened."""
        self._announce(self.link)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = self.door.judge(
            Asked(
                path=request.path,
                host=request.host,
                origin=request.headers.get("Origin", ""),
                token=request.query.get("token", ""),
                cookie=request.cookies.get(self._cookie, ""),
                is_websocket=request.path == "/ws",
            )
        )
        if verdict is Verdict.EXCHANGE:
            answer: web.StreamResponse = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
            answer.set_cookie(self._cookie, self.door.session, httponly=True, samesite="Strict", path="/")
        elif verdict is not Verdict.SERVE:
            answer = web.Response(status=HTTPStatus.FORBIDDEN, text=_REASONS[verdict] + "\n")
        else:
            answer = await handler(request)
        if not answer.prepared:
            answer.headers["Content-Security-Policy"] = _POLICY.format(host=request.host)
            answer.headers["Referrer-Policy"] = "no-referrer"
            answer.headers["X-Content-Type-Options"] = "nosniff"
            answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _script(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(Path(__file__).parent / "page.js")

    @aiohttp_jinja2.template("page.html")
    async def handle_index(self, request: web.Request) -> dict[str, Any]:
        """The page, with addresses under the name that it was asked by: a tunnel may have another port."""
        return {
            "font_size": 16,
            "app_websocket_url": f"ws://{request.host}/ws",
            "config": {"static": {"url": "/static/"}},
            "application": {"name": self.title},
        }

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One console for one page; a ninth is refused."""
        if self._consoles >= MAX_CONSOLES:
            raise web.HTTPServiceUnavailable(text="too many consoles are open here\n")
        self._consoles += 1
        try:
            return await super().handle_websocket(request)
        finally:
            self._consoles -= 1
