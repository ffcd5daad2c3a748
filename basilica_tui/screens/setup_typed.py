"""Keys in the order in which they were typed: what came before a key has been read when that key acts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.worker import WorkerCancelled

TYPED_WITHIN_S = 15.0
"""A machine that is busier than that is not told a key whose text it has not read."""
PAGE = "page"
"""Group of the work that puts other fields up."""


async def read_typed(screen: Screen[Any]) -> bool:
    """Wait until the field in focus has read and told its keys; a slow link brings them in one piece with this one.

    False when that takes too long: a key must not act on half of what was typed before it.
    """
    field = screen.focused
    # A field reads its keys, then its own messages; those rise through what holds it to the screen.
    way: list[MessagePump] = [screen]
    if field is not None:
        way = [field, *(one for one in field.ancestors_with_self if one is not screen.app)]
    try:
        async with asyncio.timeout(TYPED_WITHIN_S):
            for pump in way:
                has_read = asyncio.Event()
                pump.call_later(has_read.set)
                await has_read.wait()
            for page in [one for one in screen.workers if one.group == PAGE]:
                with suppress(WorkerCancelled):  # by the next one
                    await page.wait()
    except TimeoutError:
        return False
    return True
