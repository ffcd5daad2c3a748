"""In front of the gRPC server on its port: plain HTTP for ``/health``, and limits on connections.

grpcio takes no accepted sockets and has no limit per address, so bytes are passed on: through a Unix socket in Linux's
abstract space, at half of what loopback costs and without a file. Each of the front's connections has a name of its own
there, which the server sees; ``address_of`` says whose it really is.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from engine.errors import PortTaken
from engine.miner.door_limits import address_key
from engine.miner.door_rules import plain_ip

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TLS_HANDSHAKE = 0x16
LONGEST_HTTP_BYTES = 8192
BACKLOG = 2048
FILES_FOR_OTHERS = 512
"""Of the files that the process may open, for nodes, database and consoles."""

log = structlog.get_logger()

Health = Callable[[], tuple[int, bytes]]
"""The health document: HTTP status and JSON."""


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """Connections at one time, and how long one may stay without saying what it wants."""

    per_address: int = 64
    total: int = 4096
    """Lower where the process may not open that many files: each connection that speaks costs two."""
    silence_s: float = 3.0


class Front:
    """Listens for validators. Everything runs in the event loop; nothing here knows gRPC beyond its first bytes."""

    def __init__(self, health: Health, limits: FrontLimits | None = None) -> None:
        self.health = health
        self.limits = _within_open_files(limits or FrontLimits())
        self.inner = f"basilica-tui-{os.getpid()}-{secrets.token_hex(8)}"
        """The name in the abstract space where the server behind listens."""
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._open: dict[_Caller, None] = {}
        self._undecided: dict[_Caller, None] = {}
        self._per_address: Counter[str] = Counter()
        self._addresses: dict[str, str] = {}

    async def start(self, host: str, port: int) -> int:
        """Bind, and pass gRPC connections on to ``inner``. Raises PortTaken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise PortTaken(f"cannot listen for validators on {host}:{port}: {error.strerror}") from error
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Caller(self), sock=listener, backlog=BACKLOG)
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Take no more connections; those that are open end with the server behind."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close_all(self) -> None:
        """Cut what is still open."""
        for caller in list(self._open):
            caller.cut()

    def address_of(self, name: str) -> str | None:
        """The address behind one of our connections to the server, by that connection's own name."""
        return self._addresses.get(name)

    def admit(self, caller: _Caller) -> bool:
        """Count a new connection; False when its address has too many, or all have."""
        key = address_key(caller.address)
        if self._per_address[key] >= self.limits.per_address:
            return False
        if len(self._open) >= self.limits.total:
            # Somebody silent gives way: a flood of half-open connections must not keep out who speaks.
            oldest = next(iter(self._undecided), None)
            if oldest is None:
                return False
            oldest.cut()
        self._per_address[key] += 1
        self._open[caller] = self._undecided[caller] = None
        return True

    def decided(self, caller: _Caller) -> None:
        """This connection has said what it wants."""
        self._undecided.pop(caller, None)

    def gone(self, caller: _Caller) -> None:
        """A connection is over."""
        self._undecided.pop(caller, None)
        if caller in self._open:
            del self._open[caller]
            key = address_key(caller.address)
            self._per_address[key] -= 1
            if self._per_address[key] <= 0:
                del self._per_address[key]

    def connect(self, address: str) -> tuple[str, socket.socket]:
        """A connection to the server that stands for this address, and its name. Raises OSError."""
        name = f"{self.inner}-{next(self._numbers)}"
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            inner.setblocking(False)
            inner.bind(f"\0{name}")
            inner.connect(f"\0{self.inner}")
        except OSError:
            inner.close()
            raise
        self._addresses[name] = address
        return name, inner

    def disconnected(self, name: str) -> None:
        """That connection is closed."""
        self._addresses.pop(name, None)


def _within_open_files(limits: FrontLimits) -> FrontLimits:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits
    return replace(limits, total=max(min(limits.total, (soft - FILES_FOR_OTHERS) // 2), 1))


class _Side(asyncio.Protocol):
    """One end of a pair: what comes in here goes out there, at the speed of the slower."""

    other: _Side | None = None
    transport: Any = None

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other.transport.close()


class _Inner(_Side):
    """Our connection to the gRPC server, which speaks first: whom it answers must be known from the beginning."""

    def __init__(self, front: Front, name: str, caller: _Caller) -> None:
        self._front = front
        self._name = name
        self.other = caller

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._front.disconnected(self._name)
        super().connection_lost(error)


class _Caller(_Side):
    """Somebody's connection, first undecided, then HTTP or gRPC."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._begun = b""
        self._connecting: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.address = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = plain_ip(str(peer[0])) if peer else "unknown"
        if not self._front.admit(self):
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._front.limits.silence_s, self.cut)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)
            return
        self._begun += data
        if self._connecting is None:
            self._decide()

    def connection_lost(self, error: Exception | None) -> None:
        self._decided()
        self._front.gone(self)
        if self._connecting is not None:
            self._connecting.cancel()
        super().connection_lost(error)

    def cut(self) -> None:
        """End it now."""
        self._front.gone(self)
        if self.transport is not None:
            self.transport.abort()

    def _decided(self) -> None:
        self._front.decided(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _decide(self) -> None:
        begun = self._begun
        if begun[0] == TLS_HANDSHAKE or begun.startswith(PREFACE):
            self._decided()
            self.transport.pause_reading()
            self._connecting = asyncio.get_running_loop().create_task(self._pass_on())
        elif not PREFACE.startswith(begun):
            self._answer_http(begun)

    async def _pass_on(self) -> None:
        try:
            name, connected = self._front.connect(self.address)
        except OSError as error:
            log.warning("door.front_failed", error=str(error))
            self.transport.abort()
            return
        _, inner = await asyncio.get_running_loop().create_connection(
            lambda: _Inner(self._front, name, self), sock=connected
        )
        if self.transport.is_closing() or inner.other is None:
            inner.transport.close()
            self.transport.abort()
            return
        self.other = inner
        inner.transport.write(self._begun)
        self._begun = b""
        self.transport.resume_reading()

    def _answer_http(self, begun: bytes) -> None:
        if not any(method.startswith(begun[: len(method)]) for method in (b"GET ", b"HEAD ")):
            self.cut()
        elif b"\r\n\r\n" in begun:
            self._decided()
            self.transport.write(_http_answer(begun, self._front.health))
            self.transport.close()
        elif len(begun) > LONGEST_HTTP_BYTES:
            self.cut()


def _http_answer(request: bytes, health: Health) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    status, body = health() if path == b"/health" else (404, b'{"status":"not found"}')
    reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}.get(status, "Unknown")
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)
