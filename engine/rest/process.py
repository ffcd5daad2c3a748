"""The engine's side of its REST process: starts it, tells it what is true, does what it asks, and ends it.

The answers are made elsewhere because a round of checks keeps the engine's loop busy: a request beside it waited a
third of a second. The engine keeps the socket and every write; the process keeps nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

import engine
from engine.config.validator import ValidatorConfig
from engine.control.actions import ActionTable
from engine.control.frames import Frame
from engine.control.state import LiveState, Touched
from engine.errors import ControlRefused, RestProcessEnded
from engine.observe.http import listen
from engine.rest.channel import Channel, ChannelBrokenError
from engine.rest.keys import ApiKeys
from engine.rest.told import Telling

log = structlog.get_logger()

TELL_EVERY_S = 0.5
SILENT_S = 60.0
"""It counts its answers every second; one that says nothing for so long hangs."""
START_S = 120.0
END_S = 4.0
FORGET_S = 5.0
MOST_ACTS = 32
VERBS = frozenset({"rental.begin", "rental.end"})
"""What it may ask the engine to do."""
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
Observe = Callable[[int, float, int], None]


class RestProcess:
    """A service: ``run`` is one life of the process."""

    def __init__(
        self, config: ValidatorConfig, state: LiveState, keys: ApiKeys, actions: ActionTable, observe: Observe
    ) -> None:
        """``observe`` gets each answer's status, seconds and bytes."""
        self._config = config
        self._state = state
        self._keys = keys
        self._actions = actions
        self._observe = observe
        self._telling: Telling | None = None
        self._channel: Channel | None = None
        self._is_ready = False
        self.starts = 0
        """How often the process was started."""
        self.lag_s = 0.0
        """How late its loop was, as it last said."""
        self._failure = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs."""
        return None if self._process is None else self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        return self._is_ready

    def note(self, touched: Touched) -> None:
        """These views of the live state have changed."""
        if self._telling is not None:
            self._telling.note(touched)

    async def forget_keys(self) -> None:
        """API keys were changed: returns when the process knows, or is being ended because it does not listen."""
        channel, process = self._channel, self._process
        if channel is None or process is None:
            return
        try:
            await channel.call({"t": "forget_keys"}, FORGET_S)
        except ChannelBrokenError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def apply_logging(self, config: ValidatorConfig) -> None:
        """Log at this configuration's level from now on, the process that runs and the next one."""
        self._config = self._config.model_copy(update={"logging": config.logging})
        if self._channel is not None:
            self._channel.post({"t": "logging", "level": config.logging.level})

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            PortTaken: the address cannot be bound.
            RestProcessEnded: the process ended, whyever.
        """
        host, _, port = self._config.api.bind_address.rpartition(":")
        listener = listen("api", host.strip("[]"), int(port))
        try:
            await self._live(listener)
        finally:
            listener.close()

    async def _live(self, listener: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = await _start(listener, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._failure = ""
        self._process = process
        self.starts += 1
        self._channel = channel = await Channel.over(ours)
        parts: tuple[Coroutine[Any, Any, None], ...] = (
            channel.listen(lambda frame: self._heard(channel, frame)), self._tell(channel), _wait(process),
        )  # fmt: skip
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except ChannelBrokenError as error:
            self._failure = self._failure or f"it does not answer the engine: {error}"
        finally:
            self._channel = self._telling = self._process = None
            self._is_ready = False
            for task in (*tasks, *self._tasks):
                task.cancel()
            channel.close()
            await asyncio.shield(_end(process))
        raise RestProcessEnded(
            f"the REST process ended: {self._failure or _how(process.returncode)}",
            hint="the engine starts it again; see the log lines before this one",
        )

    async def _tell(self, channel: Channel) -> None:
        """Everything at first, then what changes; raises ChannelBrokenError when nothing comes back."""
        await channel.send({"t": "begin", "config": self._config.model_dump(mode="json")})
        self._telling = telling = Telling(self._state)
        is_whole = False
        while True:
            for frame in telling.frames():
                await channel.send(frame)
                await asyncio.sleep(0)
            if not is_whole:
                is_whole = True
                await channel.send({"t": "told"})
            if channel.silent_s() > (SILENT_S if self._is_ready else START_S):
                raise ChannelBrokenError(f"silent for {channel.silent_s():.0f} s")
            await asyncio.sleep(TELL_EVERY_S)

    def _heard(self, channel: Channel, frame: Frame) -> None:
        match frame:
            case {"t": "counted", "answers": list(answers), "lag_s": float(lag_s)}:
                self.lag_s = lag_s
                for status, seconds, size in answers:
                    self._observe(status, seconds, size)
            case {"t": "log", "line": dict(line)}:
                _log(line)
            case {"t": "used", "key": str(key), "at": float(at)}:
                self._begin(self._keys.note_use(key, at))
            case {"t": "act"}:
                self._begin(self._act(channel, frame))
            case {"t": "ready"}:
                self._is_ready = True
                log.info("rest.ready", address=self._config.api.bind_address, pid=self.pid)
            case {"t": "failed", "message": str(message)}:
                self._failure = message

    async def _act(self, channel: Channel, frame: Frame) -> None:
        try:
            done = await self._run(frame)
        except ControlRefused as error:
            channel.answer(frame, {"message": error.message, "hint": error.hint, "reason": error.reason})
        else:
            channel.answer(frame, {"done": dict(done)})

    async def _run(self, frame: Frame) -> Any:
        verb, args, key = str(frame.get("verb")), frame.get("args"), frame.get("key")
        if verb not in VERBS or not isinstance(args, dict):
            raise ControlRefused(f"{verb} is nothing that a request may do", reason="unknown_action")
        if len(self._tasks) > MOST_ACTS:
            raise ControlRefused("the engine is busy with other changes", hint="ask again", reason="unavailable")
        caller = str(frame.get("actor"))
        return await self._actions.run(verb, args, role="operator", actor=caller, key=None if key is None else str(key))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _start(listener: socket.socket, theirs: socket.socket) -> asyncio.subprocess.Process:
    handed = listener.fileno(), theirs.fileno()
    root = str(Path(engine.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return await asyncio.create_subprocess_exec(
        # -P: what lies in the working directory is no module of ours.
        sys.executable, "-P", "-m", "engine.rest.server", *map(str, (*handed, os.getpid())),
        pass_fds=handed, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip


async def _wait(process: asyncio.subprocess.Process) -> None:
    await process.wait()


async def _end(process: asyncio.subprocess.Process) -> None:
    """It goes when its channel ends; if not, it is made to."""
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"status {status}"


def _log(line: dict[str, object]) -> None:
    level, words = str(line.pop("level", "")), str(line.pop("event", ""))
    fields = {name: value for name, value in line.items() if name != "timestamp"}
    getattr(log, level if level in _LEVELS else "info")(words, **{**fields, "process": "rest"})
