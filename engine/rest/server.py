"""The REST process: answers requests on the engine's socket, from the engine's database, which it only reads.

Started by ``engine.rest.process`` with the numbers of two open files, the listening socket and the channel, and the
engine's pid. It ends when the channel does, and the kernel ends it when the engine is killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import io
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO, cast

from engine import eventloop
from engine.clock import SystemClock
from engine.config.validator import ValidatorConfig
from engine.control.frames import Frame
from engine.control.state import LiveState
from engine.errors import BasilicaError, ControlRefused
from engine.heap import keep_heap_small
from engine.observe.http import serve
from engine.observe.logs import configure_logging
from engine.rest.app import RestParts, rest_app
from engine.rest.channel import Channel, ChannelBrokenError
from engine.rest.keys import ApiKeys
from engine.rest.told import take_in
from engine.rest.views import views_of
from engine.store import Store
from engine.store.read_store import open_store_to_read
from engine.store.records import ApiKeyRecord

MEMORY_BYTES = 1024 * 1024 * 1024
"""The most that it may allocate; a full subnet needs a sixth."""
SWITCH_S = 0.0005
"""How long the thread that reads rows may keep the loop waiting, ten times less than Python's own choice."""
COUNT_EVERY_S = 1.0
BEGIN_S = 60.0
ACT_S = 30.0
_PR_SET_PDEATHSIG = 1


class _Keys:
    """The rows of the database; that a key was used is told to the engine, which writes."""

    def __init__(self, store: Store, channel: Channel) -> None:
        self._store = store
        self._channel = channel

    async def all(self) -> list[ApiKeyRecord]:
        return await self._store.api_keys.all()

    async def put(self, record: ApiKeyRecord) -> None:
        self._channel.post({"t": "used", "key": record.id, "at": record.last_used_at})


class _Acts:
    """The way to the engine's actions."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def run(
        self, verb: str, args: Mapping[str, object], *, role: str, actor: str, key: str | None = None
    ) -> Mapping[str, object]:
        del role  # the engine knows who it lets do what
        question = {"t": "act", "verb": verb, "args": dict(args), "actor": actor, "key": key}
        try:
            answer = await self._channel.call(question, ACT_S)
        except ChannelBrokenError as error:
            raise ControlRefused("the engine does not answer", hint="ask again", reason="unavailable") from error
        done = answer.get("done")
        if isinstance(done, dict):
            return done
        words = {name: str(answer.get(name, "")) for name in ("hint", "reason")}
        raise ControlRefused(str(answer.get("message", "")), **words)


class _Lines(io.TextIOBase):
    """Where log lines go: to the engine, which has the log."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def write(self, text: str) -> int:
        self._channel.post({"t": "log", "line": json.loads(text)})
        return len(text)


class _Server:
    """What is told and what is counted while the app answers."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._state = LiveState()
        self._answers: list[tuple[int, float, int]] = []
        self._keys: ApiKeys | None = None
        self._is_told = asyncio.Event()

    async def run(self, listener: socket.socket) -> None:
        """Serve until the engine ends the channel. Raises BasilicaError when it cannot begin."""
        begin = await self._channel.next(BEGIN_S)
        config = ValidatorConfig.model_validate(begin["config"])
        self._log_at(config.logging.level)
        clock = SystemClock()
        listening = asyncio.create_task(self._channel.listen(self._heard))
        database = config.database
        store = await open_store_to_read(database.url, clock=clock, connect_timeout_s=database.connect_timeout)
        try:
            keys = self._keys = ApiKeys(_Keys(store, self._channel), clock, configured=config.api.api_key)
            async with asyncio.timeout(BEGIN_S):
                await self._is_told.wait()
            views = views_of(config, store, self._state, clock, ahead=True)
            await views.snapshot()  # the first caller shall not wait for it
            parts = RestParts(
                config, store, self._state, clock, keys, self._state.engine.hotkey, _Acts(self._channel),
                self._channel.silent_s,
            )  # fmt: skip
            app = rest_app(parts, views, observe=lambda *answer: self._answers.append(answer))
            eventloop.keep_what_is_loaded()
            working = [
                listening,
                asyncio.create_task(serve(app, listener, proxies=config.api.trusted_proxies)),
                asyncio.create_task(self._count()),
            ]
            self._channel.post({"t": "ready"})
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await store.close()

    def _log_at(self, level: str) -> None:
        lines = cast("TextIO", _Lines(self._channel))  # as much of one as a log handler needs
        configure_logging(level, "json", stream=lines)

    def _heard(self, frame: Frame) -> None:
        match frame:
            case {"t": "state"}:
                take_in(self._state, frame)
            case {"t": "told"}:
                self._is_told.set()
            case {"t": "logging", "level": str(level)}:
                self._log_at(level)
            case {"t": "forget_keys"}:
                if self._keys is not None:
                    self._keys.forget()
                self._channel.answer(frame, {})

    async def _count(self) -> None:
        loop, lag_s = asyncio.get_running_loop(), 0.0
        while True:
            answers, self._answers = self._answers, []
            self._channel.post({"t": "counted", "answers": answers, "lag_s": lag_s})
            due = loop.time() + COUNT_EVERY_S
            await asyncio.sleep(COUNT_EVERY_S)
            lag_s = max(0.0, loop.time() - due)


async def _serve(listener: socket.socket, end: socket.socket) -> int:
    channel = await Channel.over(end)
    try:
        await _Server(channel).run(listener)
    except (BasilicaError, ChannelBrokenError, TimeoutError) as error:
        channel.post({"t": "failed", "message": str(error) or "the engine said nothing"})
        return 1
    finally:
        channel.close()
    return 0


def _end_with(parent: int) -> None:
    """The kernel kills this process when the engine dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        sys.exit(0)


def main(arguments: Sequence[str]) -> int:
    """Run the process; ``arguments`` as the module says."""
    listener, channel, parent = map(int, arguments)
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is for the engine
    keep_heap_small()
    sys.setswitchinterval(SWITCH_S)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    eventloop.raise_open_files()
    return eventloop.run(_serve(socket.socket(fileno=listener), socket.socket(fileno=channel)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
