"""The console's side of the control socket; needs nothing but asyncio and the read models."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.control.decoding import to_counters, to_log_records, to_mapping, to_number, to_pairs, to_removed, to_views
from engine.control.frames import (
    PROTOCOL,
    SERVER_FRAME_BYTES,
    ByteReader,
    ByteWriter,
    Frame,
    FrameInvalidError,
    common_version,
    encode,
    read_frame,
)
from engine.control.models import COLLECTIONS, EngineView, LogRecord, NodeView, SessionView, V, View
from engine.errors import ControlRefused, EngineUnreachable, ProtocolMismatch
from engine.version import __version__

SILENCE_S: Final = 16.0
"""An engine that says nothing for this long, three of its beats, is taken for dead."""
ITEMS_AHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class ServerHello:
    """Who answered: build, instance, the role that was granted and the protocol version agreed on."""

    build: str
    instance: str
    role: str
    proto: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one time: views by collection and id, and the counters."""

    views: dict[str, dict[str, View]]
    counters: dict[str, int]
    at: float
    log_seq: int = 0
    """The newest log line at that time; a watch that follows brings the later ones."""

    @property
    def engine(self) -> EngineView:
        """The engine itself."""
        return self.of(EngineView).get("engine") or EngineView()

    @property
    def nodes(self) -> dict[str, NodeView]:
        """The miner's nodes by id."""
        return self.of(NodeView)

    @property
    def sessions(self) -> dict[str, SessionView]:
        """The validators' sessions by hotkey."""
        return self.of(SessionView)

    def of(self, cls: type[V]) -> dict[str, V]:
        """The views of one class by id."""
        return {key: view for key, view in self.views.get(cls.collection, {}).items() if isinstance(view, cls)}


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed since the last batch: newest views and removed ids by collection."""

    changed: dict[str, list[View]] = field(default_factory=dict)
    removed: dict[str, list[str]] = field(default_factory=dict)
    counters: dict[str, int] | None = None
    logs: list[LogRecord] = field(default_factory=list)
    gap: int = 0
    """Log lines that were lost before ``logs`` because this client read too slowly."""


class _Request:
    """Frames that answer one request, in order; bounded, so that a console that stops reading is felt by the engine."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[Frame | None] = asyncio.Queue(ITEMS_AHEAD)
        self.failure: EngineUnreachable | None = None

    async def next(self) -> Frame:
        """The next frame.

        Raises:
            EngineUnreachable: the connection is lost.
            ControlRefused: the engine answered with an error.
        """
        while True:
            if self.failure is not None and self.frames.empty():
                raise _again(self.failure)
            frame = await self.frames.get()
            if frame is None:
                continue
            if frame.get("t") == "error":
                raise _refusal(frame)
            return frame

    def fail(self, error: EngineUnreachable) -> None:
        """Tell the waiting side that nothing more will come."""
        self.failure = error
        if not self.frames.full():
            self.frames.put_nowait(None)

    def abandon(self) -> None:
        """Throw away what nobody waits for any more."""
        while not self.frames.empty():
            self.frames.get_nowait()


class ControlClient:
    """One connection to an engine. Requests may run side by side; ``watch`` at most once at a time."""

    hello: ServerHello

    def __init__(self, path: Path, reader: ByteReader, writer: ByteWriter) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._requests: dict[int, _Request] = {}
        self._lost: EngineUnreachable | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: Path, *, role: str = "operator", timeout_s: float = 3.0) -> ControlClient:
        """Connect, and agree on role and protocol version.

        Raises:
            EngineUnreachable: nobody answers there in time.
            ProtocolMismatch: console and engine share no protocol version.
            ControlRefused: the engine lets us not in (another user's, too many consoles).
        """
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(str(path))
        except TimeoutError:
            raise EngineUnreachable(f"the engine at {path} does not answer") from None
        except OSError as error:
            raise _unreachable(path, error) from error
        return await cls.greet(path, reader, writer, role=role, timeout_s=timeout_s)

    @classmethod
    async def greet(
        cls, path: Path, reader: ByteReader, writer: ByteWriter, *, role: str, timeout_s: float = 3.0
    ) -> ControlClient:
        """Agree on role and version over streams that somebody else opened; ``path`` is what the engine is called.

        Raises:
            EngineUnreachable, ProtocolMismatch, ControlRefused: as ``connect`` does.
        """
        client = cls(path, reader, writer)
        try:
            async with asyncio.timeout(timeout_s):
                client.hello = await client._greet(role)
        except TimeoutError:
            await client.close()
            raise EngineUnreachable(
                f"the engine at {path} accepts connections but does not answer", hint="it may be overloaded or stopped"
            ) from None
        except BaseException:
            await client.close()
            raise
        client._task = asyncio.create_task(client._read())
        return client

    async def snapshot(self) -> Snapshot:
        """Everything that the engine shows, now."""
        views: dict[str, dict[str, View]] = {name: {} for name in COLLECTIONS}
        counters: dict[str, int] = {}
        at, log_seq = 0.0, 0
        async for item in self._stream("snapshot", {}):
            counters.update(to_counters(item) or {})
            at, log_seq = to_number(item.get("at"), at), int(to_number(item.get("log_seq"), log_seq))
            for name, found in to_views(item.get("views")).items():
                views[name].update((view.id, view) for view in found)
        return Snapshot(views, counters, at, log_seq)

    async def watch(self, *, logs: bool = True) -> AsyncGenerator[Batch, None]:
        """Changes from the last ``snapshot`` on, about ten batches a second while anything changes.

        Raises:
            EngineUnreachable: the connection is lost; connect anew and take a snapshot.
        """
        async with contextlib.aclosing(self._stream("watch", {"logs": logs})) as items:
            async for item in items:
                yield Batch(
                    changed=to_views(item.get("changed")),
                    removed=to_removed(item.get("removed")),
                    counters=to_counters(item),
                    logs=to_log_records(item),
                    gap=int(to_number(item.get("gap"), 0)),
                )

    async def act(
        self,
        verb: str,
        args: Mapping[str, object],
        *,
        key: str | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Mapping[str, object]:
        """Have the engine do something; with a ``key`` it is done once, however often it is asked for.

        Raises:
            ControlRefused: the engine did not do it; ``reason`` says why.
            EngineUnreachable: the connection is lost; the action may or may not have been done.
        """
        request_id, request = self._send("act", {"verb": verb, "args": dict(args), "key": key})
        try:
            while True:
                frame = await request.next()
                if frame.get("t") == "res":
                    return to_mapping(frame.get("result"))
                progress = to_mapping(frame.get("item")).get("progress")
                if on_progress is not None and isinstance(progress, str):
                    on_progress(progress)
        finally:
            self._forget(request_id)

    async def actions(self) -> dict[str, str]:
        """What this engine can be asked to do: help texts by verb.

        Raises:
            ControlRefused: an engine that is older than this question.
            EngineUnreachable: the connection is lost.
        """
        request_id, request = self._send("actions", {})
        try:
            found = to_mapping((await request.next()).get("result")).get("actions")
        finally:
            self._forget(request_id)
        known = [to_mapping(a) for a in found] if isinstance(found, list) else []
        return {str(a.get("verb", "")): str(a.get("help", "")) for a in known}

    async def summary(self) -> Mapping[str, object]:
        """What an overview shows of an engine, in one small answer.

        Raises:
            ControlRefused: an engine that is older than this question.
            EngineUnreachable: the connection is lost.
        """
        request_id, request = self._send("summary", {})
        try:
            return to_mapping((await request.next()).get("result"))
        finally:
            self._forget(request_id)

    async def logs(self, after_seq: int = 0, limit: int = 500) -> list[LogRecord]:
        """Log lines that came after line ``after_seq``, oldest first."""
        records: list[LogRecord] = []
        async for item in self._stream("logs", {"after_seq": after_seq, "limit": limit}):
            records += to_log_records(item)
        return records

    async def history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        """Points of time and value of one series about one object."""
        points: list[tuple[float, float]] = []
        async for item in self._stream("history", {"series": series, "subject": subject, "since": since}):
            points += [(to_number(p[0], 0.0), to_number(p[1], 0.0)) for p in to_pairs(item.get("points"))]
        return points

    async def events(self, subject: str, kinds: Sequence[str], limit: int = 100) -> list[dict[str, object]]:
        """The last events of these kinds about one object (empty: any) as records, newest first."""
        found: list[dict[str, object]] = []
        args = {"subject": subject, "kinds": list(kinds), "limit": limit}
        async for item in self._stream("events", args):
            found += [record for record in item.get("events") or () if isinstance(record, dict)]
        return found

    async def close(self) -> None:
        """Hang up; whoever still waits gets EngineUnreachable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._lose("the connection was closed")
        self._writer.close()
        with contextlib.suppress(OSError):  # it may have been broken before
            await self._writer.wait_closed()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _greet(self, role: str) -> ServerHello:
        try:
            self._writer.write(
                encode({"t": "hello", "proto": list(PROTOCOL), "build": __version__, "role": role, "instance": ""})
            )
            frame = await read_frame(self._reader, SERVER_FRAME_BYTES)
        except (OSError, asyncio.IncompleteReadError, FrameInvalidError) as error:
            raise EngineUnreachable(f"what answers at {self._path} is no engine: {error}") from error
        if frame.get("t") == "error":
            raise _refusal(frame)
        proto = common_version(frame.get("proto"))
        if frame.get("t") != "hello" or proto is None:
            raise _mismatch(frame)
        return ServerHello(
            str(frame.get("build", "")), str(frame.get("instance", "")), str(frame.get("role", "")), proto
        )

    async def _read(self) -> None:
        reason = "the engine hung up"
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    frame = await read_frame(self._reader, SERVER_FRAME_BYTES)
                request_id = frame.get("id")
                request = self._requests.get(request_id) if isinstance(request_id, int) else None
                if request is not None:
                    await request.frames.put(frame)
        except TimeoutError:
            reason = f"the engine has said nothing for {SILENCE_S:.0f} s"
        except FrameInvalidError as error:
            reason = f"the engine sent what is no frame: {error.message}"
        except (OSError, asyncio.IncompleteReadError):
            pass
        self._lose(reason)
        self._writer.close()

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = EngineUnreachable(f"connection to the engine at {self._path} lost: {reason}")
        for request in self._requests.values():
            request.fail(self._lost)

    def _send(self, verb: str, args: Mapping[str, object]) -> tuple[int, _Request]:
        if self._lost is not None:
            raise _again(self._lost)
        request_id, request = next(self._ids), _Request()
        self._requests[request_id] = request
        self._writer.write(encode({"t": "req", "id": request_id, "verb": verb, "args": dict(args)}))
        return request_id, request

    def _forget(self, request_id: int) -> None:
        request = self._requests.pop(request_id, None)
        if request is not None:
            request.abandon()

    async def _stream(self, verb: str, args: Mapping[str, object]) -> AsyncGenerator[dict[str, Any], None]:
        request_id, request = self._send(verb, args)
        is_over = False
        try:
            while True:
                frame = await request.next()
                if frame.get("t") in ("end", "res"):
                    is_over = True
                    return
                yield to_mapping(frame.get("item"))
        except ControlRefused:
            is_over = True
            raise
        finally:
            self._forget(request_id)
            if verb == "watch" and not is_over and self._lost is None:
                self._writer.write(encode({"t": "req", "id": next(self._ids), "verb": "unwatch", "args": {}}))


def _mismatch(hello: Frame) -> ProtocolMismatch:
    """In words which side is too old."""
    theirs, build = hello.get("proto"), str(hello.get("build", ""))[:40] or "unknown"
    mine = f"{PROTOCOL[0]} to {PROTOCOL[1]}"
    if not (isinstance(theirs, list) and len(theirs) == 2 and all(type(item) is int for item in theirs)):
        message, hint = "it does not say which protocol it speaks", "use the same version of both"
    elif theirs[1] < PROTOCOL[0]:
        message, hint = f"it speaks protocol {theirs[0]} to {theirs[1]}: the engine is too old", "upgrade the engine"
    else:
        message, hint = f"it speaks protocol {theirs[0]} to {theirs[1]}: the console is too old", "upgrade the console"
    return ProtocolMismatch(
        f"the engine is {build}, this console {__version__} with protocol {mine}; {message}",
        hint=hint,
        reason="protocol_mismatch",
    )


def _unreachable(path: Path, error: OSError) -> EngineUnreachable:
    if isinstance(error, FileNotFoundError):
        return EngineUnreachable(
            f"there is no engine at {path}", hint="start one with basilica-tui --daemon --config FILE"
        )
    if isinstance(error, ConnectionRefusedError):
        return EngineUnreachable(f"the engine at {path} is gone", hint="start it again; it will replace its old socket")
    if isinstance(error, PermissionError):
        return EngineUnreachable(f"the engine at {path} belongs to another user", hint="attach as that user or as root")
    return EngineUnreachable(f"cannot connect to {path}: {error.strerror or error}")


def _refusal(frame: Frame) -> ControlRefused:
    code, message = str(frame.get("code", "refused")), str(frame.get("message", ""))
    cls = ProtocolMismatch if code == "protocol_mismatch" else ControlRefused
    return cls(message, hint=str(frame.get("hint", "")), reason=code)


def _again(error: EngineUnreachable) -> EngineUnreachable:
    """A copy, because several may raise it."""
    return EngineUnreachable(error.message, hint=error.hint)
