"""Frames of the control socket: four bytes of length, big-endian, then one JSON object in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

PROTOCOL = (1, 1)
"""The oldest and the newest version of the protocol that this program speaks."""
SERVER_FRAME_BYTES = 1024 * 1024
CLIENT_FRAME_BYTES = 64 * 1024

Frame = dict[str, object]


class ByteReader(Protocol):
    """What frames are read from: a stream of this machine, or a channel through SSH."""

    async def readexactly(self, n: int, /) -> bytes: ...


class ByteWriter(Protocol):
    """What frames are written to."""

    def write(self, data: bytes, /) -> None: ...
    def close(self) -> None: ...
    async def wait_closed(self) -> None: ...


class FrameInvalidError(Exception):
    """What came is no frame; the connection cannot be read any further. ``code`` is for the other side."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def encode(frame: Mapping[str, object]) -> bytes:
    """A frame's bytes."""
    return wrap(json.dumps(frame, separators=(",", ":")).encode("ascii"))


def wrap(body: bytes) -> bytes:
    """The length in front of an encoded object."""
    return len(body).to_bytes(4, "big") + body


async def read_frame(reader: ByteReader, limit: int) -> Frame:
    """The next frame; its size is known, and refused, before any memory is taken for it.

    Raises:
        FrameInvalidError: too large, or not a JSON object.
        asyncio.IncompleteReadError, ConnectionError: the other side is gone.
    """
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > limit:
        raise FrameInvalidError("frame_too_large", f"a frame of {size} bytes is over the limit of {limit}")
    body = await reader.readexactly(size)
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError):
        raise FrameInvalidError("frame_invalid", "a frame is not JSON") from None
    if not isinstance(frame, dict):
        raise FrameInvalidError("frame_invalid", "a frame is not a JSON object")
    return frame


def common_version(theirs: object) -> int | None:
    """The newest version that both sides speak, None when there is none or ``theirs`` is no range."""
    if not (isinstance(theirs, list) and len(theirs) == 2 and all(type(item) is int for item in theirs)):
        return None
    oldest, newest = max(theirs[0], PROTOCOL[0]), min(theirs[1], PROTOCOL[1])
    return newest if oldest <= newest else None
