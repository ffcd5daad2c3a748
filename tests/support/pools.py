"""Node pools for tests: a key that a node already knows, an event list, everything closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from engine.clock import Clock, SystemClock
from engine.events import Event
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool, PoolLimits
from tests.support.sshd import NodeSshd


@dataclass
class Pools:
    """Makes pools that share one key and one event list."""

    key: ClientKey = field(default_factory=lambda: ClientKey.generate("engine@test"))
    events: list[Event] = field(default_factory=list)
    made: list[NodePool] = field(default_factory=list)

    def make(
        self,
        *,
        key: ClientKey | None = None,
        host_keys: HostKeys | None = None,
        limits: PoolLimits | None = None,
        clock: Clock | None = None,
    ) -> NodePool:
        """A new pool."""
        pool = NodePool(
            key or self.key,
            host_keys or HostKeys(None),
            clock=clock or SystemClock(),
            emit=self.events.append,
            limits=limits,
        )
        self.made.append(pool)
        return pool

    def known_to(self, node: NodeSshd, before: bytes = b"", after: bytes = b"") -> bytes:
        """Let the node accept the key; returns the whole key file."""
        content = before + self.key.public_line.encode() + b"\n" + after
        node.authorize(content)
        return content


@pytest.fixture
async def pools() -> AsyncIterator[Pools]:
    """A maker of pools; all are closed with the test."""
    made = Pools()
    yield made
    for pool in made.made:
        await pool.close()
