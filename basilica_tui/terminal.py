"""The terminal as something that may vanish: a watchdog that ends the console within five seconds of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

CHECK_EVERY_S = 1.0
GRACE_S = 2.0
READER = "textual-input"
"""What Textual calls such a thread."""
EXIT_CODE = 129
"""128 + SIGHUP, whether or not the signal came."""


def is_gone(descriptor: int) -> bool:
    """Whether the terminal behind the descriptor has hung up."""
    try:
        return not os.isatty(descriptor)
    except OSError:
        return True


def end_readers(asked: threading.Event, *, within_s: float = GRACE_S) -> bool:
    """End the threads that read keys for a console that is over; ``asked`` is what they look at. False: one stays.

    Textual joins the last that it started and takes its own request back. One that missed it, seen after an editor had
    the terminal, reads for ever: it keeps the program alive, takes keys from the shell, and turns in circles when the
    terminal is gone.
    """
    asked.set()
    readers = [thread for thread in threading.enumerate() if thread.name == READER]
    for thread in readers:
        thread.join(within_s)
    return not any(thread.is_alive() for thread in readers)


class TerminalWatch:
    """Looks at the terminal from a thread of its own: the event loop may be stuck in writing to it."""

    def __init__(self, descriptor: int, on_gone: Callable[[], object], *, check_every_s: float = CHECK_EVERY_S) -> None:
        self._descriptor = descriptor
        self._on_gone = on_gone
        self._check_every_s = check_every_s
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look, if there is a terminal at all."""
        if not is_gone(self._descriptor):
            threading.Thread(target=self._watch, name="terminal-watch", daemon=True).start()

    def stop(self) -> None:
        """The console ends by itself; look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._check_every_s):
            if is_gone(self._descriptor):
                self._leave()
                return

    def _leave(self) -> None:
        try:
            self._on_gone()
        finally:
            if not self._stopped.wait(GRACE_S):
                # The orderly way is stuck in a write that will never end; nothing is left to save here.
                os._exit(EXIT_CODE)


def guard_terminal(leave: Callable[[int], object]) -> TerminalWatch:
    """Leave with a code when a signal asks for it or the terminal is gone; to be called in the event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave, 128 + number)
    watch = TerminalWatch(
        sys.__stdin__.fileno() if sys.__stdin__ else 0, lambda: loop.call_soon_threadsafe(leave, EXIT_CODE)
    )
    watch.start()
    return watch
