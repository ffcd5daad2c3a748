"""A node whose SSH server comes and goes, as behind a bad cable or a power supply that is too small."""

from __future__ import annotations

import asyncio
import contextlib

from engine.localnet.stand_in_node import StandInNode

_LOOK_S = 0.2


class Flapping:
    """Takes a running node away and brings it back, over and over, until ``end``, which leaves it running."""

    def __init__(self, node: StandInNode, *, up_s: float, down_s: float) -> None:
        self._node = node
        self._up_s, self._down_s = up_s, down_s
        self._is_down = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with an up time."""
        self._task = asyncio.create_task(self._flap())

    async def end(self, patience_s: float = 0.0) -> None:
        """Stop flapping; the node runs afterwards, and for so long the miner may come back to take ended keys off."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._is_down:
            with contextlib.suppress(OSError):  # its port was taken meanwhile: then it stays away
                await self._node.start()
            self._is_down = False
        while patience_s > 0 and b" grant=" in self._node.authorized_keys.read_bytes():
            await asyncio.sleep(_LOOK_S)
            patience_s -= _LOOK_S

    async def _flap(self) -> None:
        while True:
            await asyncio.sleep(self._up_s)
            self._is_down = True
            await self._node.stop()
            await asyncio.sleep(self._down_s)
            with contextlib.suppress(OSError):
                await self._node.start()
                self._is_down = False
