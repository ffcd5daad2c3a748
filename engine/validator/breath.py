"""New work waits while the event loop is late, so that whoever asks the engine something meanwhile is answered.

Hundreds of logins at once keep the loop busy for a long time per turn: everything else in the process, a question to
the REST API too, waits for that turn. A fixed bound on logins would make rounds over distant nodes, which mostly wait,
as slow as that; here only a loop that is really late holds work back.
"""

from __future__ import annotations

import asyncio
import time

LATE_S = 0.008
LONGEST_PAUSE_S = 0.1


class Breath:
    """One turn of the loop is measured for each piece of work, one after the other."""

    def __init__(self, late_s: float = LATE_S) -> None:
        self._late_s = late_s
        self._turn = asyncio.Lock()

    async def drawn(self) -> None:
        """Returns as soon as a turn of the loop is short enough; the machine's time, not the engine's."""
        async with self._turn:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0)
                late = time.perf_counter() - began
                if late < self._late_s:
                    return
                await asyncio.sleep(min(late, LONGEST_PAUSE_S))
