"""A TCP proxy that misbehaves on demand, and servers that are no SSH servers."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 65536


@dataclass
class Proxy:
    """Forwards to ``(host, port)`` until told otherwise. ``mode`` holds for open and for new connections:

    ``pass``; ``stall`` (accepts and swallows nothing: both directions freeze); ``cut`` (open connections are reset, new
    ones too); ``corrupt`` (a bit of every later chunk from the server is turned); ``close`` (closed without a banner).
    ``delay_s`` is added to every chunk, ``limit`` cuts a connection after so many bytes from the client.
    """

    target: tuple[str, int]
    mode: str = "pass"
    delay_s: float = 0.0
    limit: int | None = None
    accepted: int = 0
    _listener: socket.socket = field(init=False, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _threads: list[threading.Thread] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._spawn(self._accept)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        """End it and every connection."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._listener.close()

    def _spawn(self, body: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=body, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.accepted += 1
            if self.mode == "close":
                client.close()
            elif self.mode == "cut":
                _reset(client)
            else:
                self._spawn(self._carry, client)

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target, timeout=30)
        except OSError:
            _reset(client)
            return
        sent = 0
        with client, server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._stop.is_set():
                if self.mode == "cut":
                    _reset(client)
                    return
                if self.mode == "stall":
                    time.sleep(0.02)
                    continue
                for key, _ in selector.select(0.05):
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    with contextlib.suppress(OSError):
                        data = source.recv(CHUNK)
                        if self.delay_s:
                            time.sleep(self.delay_s)
                        if self.mode == "corrupt" and source is server and data:
                            data = data[:-1] + bytes([data[-1] ^ 1])
                        if source is client:
                            sent += len(data)
                        if self.limit is not None and sent > self.limit:
                            _reset(client)
                            return
                        if data:
                            sink.sendall(data)
                            continue
                    return


class Trap:
    """A port whose every visitor gets ``greet`` in a thread of its own: tarpits and liars."""

    def __init__(self, greet: Callable[[socket.socket, threading.Event], None]) -> None:
        self.visitors = 0
        self._greet = greet
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                visitor, _ = self._listener.accept()
                self.visitors += 1
                threading.Thread(target=self._serve, args=(visitor,), daemon=True).start()

    def _serve(self, visitor: socket.socket) -> None:
        with visitor, contextlib.suppress(OSError):
            self._greet(visitor, self._stop)

    def close(self) -> None:
        """Send everybody home."""
        self._stop.set()
        self._thread.join(30)
        self._listener.close()


def silent(visitor: socket.socket, stop: threading.Event) -> None:
    """Accepts, and never says a word."""
    stop.wait(60)


def endless_banner(visitor: socket.socket, stop: threading.Event) -> None:
    """Lines before the version, without end, as endlessh does."""
    while not stop.wait(0.05):
        visitor.sendall(b"x7f3a\r\n")


def closing_at_banner(visitor: socket.socket, stop: threading.Event) -> None:
    """What a penalised address sees: the version is read, then the connection is closed."""
    visitor.recv(256)


def garbage(visitor: socket.socket, stop: threading.Event) -> None:
    """Bytes of no protocol and no encoding."""
    visitor.sendall(b"SSH-2.0-\xff\xfe\xc3\x28\x00\r\n" + bytes(range(256)) * 64)
    stop.wait(1)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()
