"""The wire between the engine and its REST process: frames of JSON over a socket pair, with calls that are answered."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Mapping

from engine.control.frames import SERVER_FRAME_BYTES, Frame, FrameInvalidError, encode, read_frame

SEND_S = 15.0
"""The other side reads nothing for so long: it hangs."""
POST_BYTES = 4 * 1024 * 1024
"""What may wait to be read before counts and log lines are dropped."""


class ChannelBrokenError(Exception):
    """The other side is gone, hangs, or speaks no frames."""


class Channel:
    """One end. ``listen`` must run for calls to be answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._heard_at = asyncio.get_running_loop().time()

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """The channel over one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def silent_s(self) -> float:
        """How long nothing has come."""
        return asyncio.get_running_loop().time() - self._heard_at

    def post(self, message: Mapping[str, object]) -> bool:
        """Send without waiting; False when it was dropped because the other side does not read."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > POST_BYTES:
            return False
        self._writer.write(encode(message))
        return True

    async def send(self, message: Mapping[str, object]) -> None:
        """Send, and wait while the other side is behind. Raises ChannelBrokenError."""
        self._writer.write(encode(message))
        try:
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise ChannelBrokenError(str(error) or "it reads nothing") from error

    async def call(self, message: Mapping[str, object], timeout_s: float) -> Frame:
        """Send and wait for the answer. Raises ChannelBrokenError."""
        number = next(self._numbers)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self.send({**message, "id": number})
                return await answer
        except TimeoutError as error:
            raise ChannelBrokenError(f"no answer within {timeout_s:g} s") from error
        finally:
            del self._waiting[number]

    def answer(self, question: Frame, message: Mapping[str, object]) -> None:
        """Answer a call of the other side."""
        self.post({**message, "t": "answer", "id": question.get("id")})

    async def next(self, timeout_s: float) -> Frame:
        """The next frame, before ``listen`` runs. Raises ChannelBrokenError."""
        try:
            async with asyncio.timeout(timeout_s):
                return await read_frame(self._reader, SERVER_FRAME_BYTES)
        except (OSError, EOFError, TimeoutError, FrameInvalidError) as error:
            raise ChannelBrokenError(str(error)) from error

    async def listen(self, handle: Callable[[Frame], None]) -> None:
        """Give every frame that is no answer to ``handle``, until the other side is gone."""
        try:
            while True:
                frame = await read_frame(self._reader, SERVER_FRAME_BYTES)
                self._heard_at = asyncio.get_running_loop().time()
                if frame.get("t") == "answer":
                    self._settle(frame)
                else:
                    handle(frame)
        except (OSError, EOFError, FrameInvalidError):
            return
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ChannelBrokenError("the other side is gone"))

    def close(self) -> None:
        """Let the other side know that it is over."""
        self._writer.close()

    def _settle(self, frame: Frame) -> None:
        number = frame.get("id")
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is not None and not answer.done():
            answer.set_result(frame)
