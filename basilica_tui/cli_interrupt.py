"""Work of a command that a signal may end: what was done is told before it leaves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal ended the work; it was cancelled and has left what it held."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.name = signal.Signals(number).name

    @property
    def exit_code(self) -> int:
        """As a shell says it: 130 for Ctrl-C, 143 for SIGTERM, 129 for a terminal that is gone."""
        return 128 + signal.Signals[self.name].value


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine; the first SIGINT, SIGTERM or SIGHUP cancels it, the next one ends the program as ever.

    Raises:
        Interrupted: instead of a result; and whatever the work raises.
    """
    return asyncio.run(_until_signal(work))


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    came: list[int] = []

    def stop(number: int) -> None:
        came.append(number)
        for one in SIGNALS:
            loop.remove_signal_handler(one)
        task.cancel()

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and what a shell starts behind it
            loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not came:
            raise
        raise Interrupted(came[0]) from None
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
