"""Questions to whoever sits at the terminal, while connections are kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import termios
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


async def ask_beside(question: Callable[[], T]) -> T:
    """The answer of a blocking question, asked in a thread of its own.

    Cancelled (Ctrl-C), it leaves at once: nobody waits for the thread that still reads, and the terminal echoes again
    if the question had turned that off. Whatever the question raises is raised.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        if not answer.done():
            settle()

    def ask() -> None:
        try:
            settle = partial(answer.set_result, question())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            settle = partial(answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has gone
            loop.call_soon_threadsafe(tell, settle)

    settings = _settings()
    threading.Thread(target=ask, name="question", daemon=True).start()
    try:
        return await answer
    except asyncio.CancelledError:
        if settings is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, settings)
        raise


def _settings() -> list[Any] | None:
    try:
        return termios.tcgetattr(sys.stdin.fileno())
    except (termios.error, OSError, ValueError):  # no terminal, or closed
        return None
