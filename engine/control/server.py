"""The control socket's server: lets consoles of this user in, answers them, and never waits for one."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from engine.clock import Clock
from engine.control.actions import ActionTable
from engine.control.encoding import ViewEncoder
from engine.control.endpoint import Endpoint, peer_of
from engine.control.frames import CLIENT_FRAME_BYTES, PROTOCOL, Frame, FrameInvalidError, common_version, read_frame
from engine.control.requests import RequestHandler
from engine.control.ring import LogRing
from engine.control.served import ServedClient
from engine.control.state import LiveState, Touched

log = structlog.get_logger()

ROLES = ("operator", "read-only")

History = Callable[[str, str, float], Awaitable[Sequence[tuple[float, float]]]]
"""Answers series name, subject and start time with points of time and value."""

Past = Callable[[str, Sequence[str], int], Awaitable[Sequence[Mapping[str, object]]]]
"""Answers an object's id (empty: any), kinds of events and a limit with the last events as records, newest first."""


LOOKS = 10
"""Ticks of silence that one look at a console can add at most: a pause of the engine is not the console's."""


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """How many, how often, how long."""

    clients: int = 16
    hello_s: float = 2.0
    tick_s: float = 0.1
    stall_s: float = 10.0
    beat_s: float = 5.0


class ControlServer:
    """Serves one engine's state on one Unix socket."""

    def __init__(
        self,
        path: Path,
        state: LiveState,
        *,
        clock: Clock,
        logs: LogRing,
        actions: ActionTable,
        instance: str,
        build: str,
        history: History | None = None,
        past: Past | None = None,
        limits: ControlLimits | None = None,
    ) -> None:
        self._endpoint = Endpoint(path)
        self._state = state
        self._clock = clock
        self._logs = logs
        self._instance = instance
        self._build = build
        self._limits = limits or ControlLimits()
        self._listener: socket.socket | None = None
        self._clients: set[ServedClient] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._touched: Touched = set()
        self._requests = RequestHandler(
            state, logs=logs, actions=actions, clock=clock, history=history, past=past, spread=self._spread
        )

    @property
    def path(self) -> Path:
        """Where consoles connect."""
        return self._endpoint.path

    @property
    def client_count(self) -> int:
        """How many consoles are connected."""
        return len(self._clients)

    def bind(self) -> None:
        """Take the socket path; done early, so that a second engine is refused before it touches anything.

        Raises:
            EngineAlreadyRunning: a live engine holds it.
            ControlSocketUnusable: it is not a safe place.
        """
        if self._listener is None:
            self._listener = self._endpoint.open()

    def publish(self, touched: Touched) -> None:
        """Note what an event touched; watching consoles get its newest state with the next batch."""
        self._touched |= touched

    async def serve(self) -> None:
        """Serve until cancelled, then hang up on everybody and remove the socket."""
        self.bind()
        assert self._listener is not None
        try:
            async with await asyncio.start_unix_server(self._accept, sock=self._listener) as server:
                try:
                    await self._tick_for_ever()
                finally:
                    server.close()
                    await self._hang_up_on_all()
        finally:
            self.close()

    def close(self) -> None:
        """Remove the socket and let the place go; ``serve`` does it too, if it ever began."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._endpoint.close()

    # --- all clients ----------------------------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        while True:
            await self._clock.sleep(self._limits.tick_s)
            self._spread()
            now, wall = self._clock.monotonic(), self._clock.now()
            encoder = ViewEncoder(self._state)
            for client in tuple(self._clients):
                if client.stalled_s(now) > self._limits.stall_s:
                    log.info("control.client_cut", actor=client.actor, reason="it stopped reading")
                    client.cut()
                    continue
                client.send_batch(encoder, self._state.counters, self._logs)
                client.beat(now, wall, self._limits.beat_s)

    def _spread(self) -> None:
        """Hand what was touched to every client that keeps track."""
        if self._touched:
            for client in self._clients:
                client.touch(self._touched)
            self._touched = set()

    async def _hang_up_on_all(self) -> None:
        for client in tuple(self._clients):
            client.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- one client -----------------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: Python 3.11 logs an error for each of its own that is cancelled.
        task = asyncio.create_task(self._receive(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid = peer_of(writer.get_extra_info("socket"))
        client = ServedClient(
            writer,
            actor=f"{_user_name(uid)} (pid {pid})",
            now=self._clock.monotonic(),
            longest_look_s=LOOKS * self._limits.tick_s,
        )
        try:
            if uid not in (os.geteuid(), 0):
                client.refuse(None, "forbidden", "this engine belongs to another user")
            elif len(self._clients) >= self._limits.clients:
                client.refuse(
                    None,
                    "too_many_clients",
                    f"{self._limits.clients} consoles are attached already",
                    "close one of them",
                )
            else:
                self._clients.add(client)
                await self._converse(client, reader)
        except FrameInvalidError as error:
            client.refuse(None, error.code, error.message)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # it left, or never said who it is
        finally:
            self._clients.discard(client)
            for request in client.requests.values():
                request.cancel()
            await client.hang_up()

    async def _converse(self, client: ServedClient, reader: asyncio.StreamReader) -> None:
        async with asyncio.timeout(self._limits.hello_s):
            hello = await read_frame(reader, CLIENT_FRAME_BYTES)
        if not self._greet(client, hello):
            return
        while True:
            self._requests.start(client, await read_frame(reader, CLIENT_FRAME_BYTES))

    def _greet(self, client: ServedClient, hello: Frame) -> bool:
        proto = hello.get("proto")
        if hello.get("t") != "hello":
            client.refuse(None, "hello_expected", "the first frame must be a hello")
            return False
        if common_version(proto) is None:
            client.refuse(None, "protocol_mismatch", *_mismatch(proto, self._build))
            return False
        role = hello.get("role", "operator")
        if role not in ROLES:
            client.refuse(None, "unknown_role", f"there is no role {str(role)[:40]!r}", "use operator or read-only")
            return False
        client.role = str(role)
        client.send(
            {
                "t": "hello",
                "proto": list(PROTOCOL),
                "build": self._build,
                "role": client.role,
                "instance": self._instance,
            }
        )
        return True


def _mismatch(theirs: object, build: str) -> tuple[str, str]:
    """Message and hint for a console that speaks no common version."""
    mine = f"{PROTOCOL[0]} to {PROTOCOL[1]}"
    if not (isinstance(theirs, list) and len(theirs) == 2 and all(type(item) is int for item in theirs)):
        return f"this engine ({build}) speaks protocol {mine}, the console did not say what it speaks", ""
    message = f"this engine ({build}) speaks protocol {mine}, the console {theirs[0]} to {theirs[1]}"
    if theirs[1] < PROTOCOL[0]:
        return f"{message}: the console is too old", "upgrade the console"
    return f"{message}: the console is too new", "upgrade and restart the engine"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
