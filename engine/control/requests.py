"""What a console may ask for, verb by verb."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

import structlog

from engine.clock import Clock
from engine.control.actions import ActionTable
from engine.control.encoding import Part, ViewEncoder, item_frames, log_part, to_json
from engine.control.frames import SERVER_FRAME_BYTES, Frame, encode
from engine.control.ring import LogRing
from engine.control.served import ServedClient
from engine.control.state import LiveState
from engine.control.summary import summary_of
from engine.errors import BasilicaError, ControlRefused

log = structlog.get_logger()

REQUESTS_AT_ONCE = 32
LOGS_LIMIT = 5_000
POINTS_LIMIT = 100_000
EVENTS_LIMIT = 500
KINDS_LIMIT = 50
SUBJECT = re.compile(r"[A-Za-z0-9._:-]{0,100}")
"""Ids of nodes, hotkeys, alerts."""

Args = Mapping[str, object]
Verb = Callable[["RequestHandler", ServedClient, int, Args], Awaitable[None]]


class RequestHandler:
    """Answers requests, each in a task of its own, so that a long one does not hold up the others."""

    def __init__(
        self,
        state: LiveState,
        *,
        logs: LogRing,
        actions: ActionTable,
        clock: Clock,
        history: Callable[[str, str, float], Awaitable[Sequence[tuple[float, float]]]] | None,
        past: Callable[[str, Sequence[str], int], Awaitable[Sequence[Mapping[str, object]]]] | None,
        spread: Callable[[], None],
    ) -> None:
        self._state = state
        self._logs = logs
        self._actions = actions
        self._clock = clock
        self._history = history
        self._past = past
        self._spread = spread

    def start(self, client: ServedClient, frame: Frame) -> None:
        """Begin to answer one frame; anything but a well-formed request is answered with an error at once."""
        if frame.get("t") != "req":
            client.refuse(None, "unknown_frame", f"a console sends requests, not {str(frame.get('t'))[:40]!r}")
            return
        request_id = frame.get("id")
        if type(request_id) is not int or not 0 <= request_id < 2**53:
            client.refuse(None, "id_invalid", "a request needs a whole number as its id")
            return
        verb, args = _VERBS.get(str(frame.get("verb"))), frame.get("args", {})
        if verb is None:
            client.refuse(request_id, "unknown_verb", f"this engine knows no verb {str(frame.get('verb'))[:40]!r}")
        elif not isinstance(args, dict):
            client.refuse(request_id, "args_invalid", "args must be an object")
        elif request_id in client.requests or request_id == client.watch_id:
            client.refuse(request_id, "id_in_use", "an earlier request with this id is not finished")
        elif len(client.requests) >= REQUESTS_AT_ONCE:
            client.refuse(request_id, "busy", f"{REQUESTS_AT_ONCE} requests are running already", "wait for some")
        else:
            task = asyncio.create_task(self._answer(verb, client, request_id, args))
            client.requests[request_id] = task
            task.add_done_callback(lambda _: client.requests.pop(request_id, None))

    async def _answer(self, verb: Verb, client: ServedClient, request_id: int, args: Args) -> None:
        try:
            await verb(self, client, request_id, args)
        except ConnectionError:
            pass  # it left; whoever reads from it notices too
        except ControlRefused as error:
            client.refuse(request_id, error.reason, error.message, error.hint)
        except BasilicaError as error:
            client.refuse(request_id, error.code, error.message, error.hint)
        except Exception as error:  # the socket's door: no request may end the engine
            log.exception("control.request_crashed", actor=client.actor)
            client.refuse(request_id, "internal", f"{type(error).__name__}", "the engine's log has the details")

    async def _snapshot(self, client: ServedClient, request_id: int, _: Args) -> None:
        # Changes from here on are for the watch that follows, so that nothing is lost between the two.
        self._spread()
        client.track(self._logs.last_seq)
        extra = {"at": self._clock.now(), "counters": self._state.counters, "log_seq": self._logs.last_seq}
        encoder = ViewEncoder(self._state)
        ids = [(name, view_id) for name, views in self._state.collections().items() for view_id in views]
        parts: list[Part] = []
        for position, (name, view_id) in enumerate(ids):
            body = encoder.view(name, view_id)
            if body is not None:
                parts.append(("views", name, body))
            if position % 200 == 199:
                await asyncio.sleep(0)
        for frame in item_frames(request_id, parts, extra):
            client.send_bytes(frame)
            await client.drain()
        client.send({"t": "end", "id": request_id})

    async def _watch(self, client: ServedClient, request_id: int, args: Args) -> None:
        if client.watch_id is not None:
            raise ControlRefused("this connection watches already", reason="already_watching")
        after = args.get("after_seq")
        client.track(self._logs.last_seq)
        client.watch(request_id, logs=bool(args.get("logs", True)), after_seq=after if type(after) is int else None)

    async def _unwatch(self, client: ServedClient, request_id: int, _: Args) -> None:
        client.unwatch()
        client.send({"t": "res", "id": request_id, "result": {}})

    async def _act(self, client: ServedClient, request_id: int, args: Args) -> None:
        verb, arguments, key = args.get("verb"), args.get("args", {}), args.get("key")
        if not (isinstance(verb, str) and isinstance(arguments, dict) and (key is None or isinstance(key, str))):
            raise ControlRefused(
                "an action needs a verb, an object of arguments and a text as key", reason="args_invalid"
            )

        def report(text: str) -> None:
            client.send({"t": "item", "id": request_id, "item": {"progress": str(text)[:1_000]}})

        result = await self._actions.run(verb, arguments, role=client.role, actor=client.actor, key=key, report=report)
        frame = encode({"t": "res", "id": request_id, "result": dict(result)})
        if len(frame) > SERVER_FRAME_BYTES:
            raise ControlRefused(f"{verb} was done, but its result is too large to send", reason="result_too_large")
        client.send_bytes(frame)

    async def _list_actions(self, client: ServedClient, request_id: int, _: Args) -> None:
        known = [{"verb": a.verb, "help": a.help, "danger": a.danger} for a in self._actions.actions]
        client.send({"t": "res", "id": request_id, "result": {"actions": known}})

    async def _summarize(self, client: ServedClient, request_id: int, _: Args) -> None:
        client.send({"t": "res", "id": request_id, "result": summary_of(self._state, self._clock.now())})

    async def _read_history(self, client: ServedClient, request_id: int, args: Args) -> None:
        if self._history is None:
            raise ControlRefused("this engine keeps no history", reason="no_history")
        series, subject, since = args.get("series"), args.get("subject", ""), args.get("since", 0)
        if not (isinstance(series, str) and isinstance(subject, str) and isinstance(since, (int, float))):
            raise ControlRefused("history needs a series, a subject and a time", reason="args_invalid")
        points = await self._history(series, subject, float(since))
        parts = [("points", "", to_json(point)) for point in points[-POINTS_LIMIT:]]
        await self._stream(client, request_id, parts)

    async def _read_past(self, client: ServedClient, request_id: int, args: Args) -> None:
        if self._past is None:
            raise ControlRefused("this engine keeps no events", reason="no_history")
        subject, kinds, limit = args.get("subject", ""), args.get("kinds"), args.get("limit", 100)
        names = kinds if isinstance(kinds, list) and all(isinstance(k, str) for k in kinds) else None
        if names is None or not isinstance(subject, str) or not SUBJECT.fullmatch(subject) or type(limit) is not int:
            raise ControlRefused("events needs an id, a list of kinds and a limit", reason="args_invalid")
        records = await self._past(subject, names[:KINDS_LIMIT], max(1, min(limit, EVENTS_LIMIT)))
        await self._stream(client, request_id, [("events", "", to_json(record)) for record in records])

    async def _read_logs(self, client: ServedClient, request_id: int, args: Args) -> None:
        after, limit = args.get("after_seq", 0), args.get("limit", 500)
        if type(after) is not int or type(limit) is not int:
            raise ControlRefused("after_seq and limit must be whole numbers", reason="args_invalid")
        records = self._logs.after(after, max(0, min(limit, LOGS_LIMIT)))
        await self._stream(client, request_id, [log_part(record) for record in records])

    async def _stream(self, client: ServedClient, request_id: int, parts: Sequence[Part]) -> None:
        for frame in item_frames(request_id, parts, {}):
            client.send_bytes(frame)
            await client.drain()
        client.send({"t": "end", "id": request_id})


_VERBS = cast(
    "Mapping[str, Verb]",
    {
        "snapshot": RequestHandler._snapshot,
        "watch": RequestHandler._watch,
        "unwatch": RequestHandler._unwatch,
        "act": RequestHandler._act,
        "actions": RequestHandler._list_actions,
        "summary": RequestHandler._summarize,
        "history": RequestHandler._read_history,
        "events": RequestHandler._read_past,
        "logs": RequestHandler._read_logs,
    },
)
