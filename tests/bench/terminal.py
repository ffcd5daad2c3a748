"""What the console sends to a terminal and how soon a key shows: a pseudo-terminal of 120 x 40, a real socket.

The engine's side is a control server with a fleet of 100 or 1,000 nodes; each second 2 % of the table's cells change.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import random
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.clock import SystemClock
from engine.control.actions import ActionTable
from engine.control.ring import LogRing
from engine.control.server import ControlServer
from engine.control.state import LiveState
from engine.events import NodeStateChanged
from tests.bench import Figure, at_most
from tests.console.world import checked, miner_events, node_id

SETTLE_S = 4.0
WATCH_S = 12.0
COLUMNS = 12
SHARE_CHANGING = 0.02
KEYS = "jjjjjjjjkkkkjjjjkkkkjjjjjjkkjjkkjjjjkkjj"


@dataclass
class Terminal:
    """The other end of the console's terminal: counts bytes and remembers when they came."""

    descriptor: int
    pid: int
    count: int = 0
    seen: bytes = b""
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self) -> None:
        data = os.read(self.descriptor, 65536)
        self.count += len(data)
        self.seen = (self.seen + data)[-200_000:]
        self.came.set()

    def press(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    async def bytes_within(self, seconds: float) -> int:
        before = self.count
        await asyncio.sleep(seconds)
        return self.count - before

    async def latency_ms(self, key: str) -> float:
        """From the key to the first byte after it."""
        self.came.clear()
        started = time.monotonic()
        self.press(key)
        await asyncio.wait_for(self.came.wait(), 10)
        return (time.monotonic() - started) * 1000

    def memory_mb(self) -> float:
        """Resident, less what is shared with others: proportional set size."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) / 1000


class Fleet:
    """A miner's read model and the events that move it."""

    def __init__(self, socket: Path, nodes: int) -> None:
        self.nodes = nodes
        self.state = LiveState()
        self.random = random.Random(nodes)
        for event in miner_events(nodes, now=time.time(), with_ramp=True):
            self.state.apply(event)
        clock = SystemClock()
        self.server = ControlServer(
            socket, self.state, clock=clock, logs=LogRing(), actions=ActionTable(lambda _: None, clock),
            instance="bench", build="bench",
        )  # fmt: skip
        self.is_moving = False

    async def move(self) -> None:
        """Each second some nodes pass a check with another load, three cells of each; one in four changes its state."""
        while True:
            await asyncio.sleep(1.0)
            if self.is_moving:
                for turn, number in enumerate(self.random.sample(range(1, self.nodes + 1), self._moving())):
                    event = checked(number, at=time.time(), load=self.random.uniform(0, 100))
                    self.server.publish(self.state.apply(event))
                    if turn % 4 == 0:
                        self.server.publish(self.state.apply(self._turned(number)))

    def _turned(self, number: int) -> NodeStateChanged:
        """What stands out for a while."""
        old = self.state.nodes[node_id(number)].state
        new = "suspect" if old == "healthy" else "healthy"
        return NodeStateChanged(at=time.time(), node_id=node_id(number), old=old, new=new, reason="ping lost")

    def _moving(self) -> int:
        return max(1, round(self.nodes * COLUMNS * SHARE_CHANGING / 3))


@asynccontextmanager
async def attached(root: Path, nodes: int) -> AsyncIterator[tuple[Fleet, Terminal]]:
    """A fleet and a console on it, painted in full."""
    fleet = Fleet(root / f"run{nodes}" / "engine.sock", nodes)
    fleet.server.bind()
    tasks = [asyncio.create_task(fleet.server.serve()), asyncio.create_task(fleet.move())]
    pid, descriptor = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", XDG_STATE_HOME=str(root), NO_PROXY="*")
        os.execv(sys.executable, [sys.executable, "-m", "basilica_tui", "--socket", str(fleet.server.path)])
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    terminal = Terminal(descriptor, pid)
    asyncio.get_running_loop().add_reader(descriptor, terminal.read)
    try:
        while b"SERVICES" not in terminal.seen:
            await asyncio.wait_for(terminal.came.wait(), 30)
            terminal.came.clear()
        yield fleet, terminal
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(descriptor)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def measure() -> list[Figure]:
    """Bytes, latency and memory at 100 and 1,000 nodes."""
    with tempfile.TemporaryDirectory(prefix="bench-terminal-") as root:
        return [figure for nodes in (100, 1000) for figure in asyncio.run(_measure(Path(root), nodes))]


async def _measure(root: Path, nodes: int) -> list[Figure]:
    async with attached(root, nodes) as (fleet, terminal):
        await asyncio.sleep(SETTLE_S)
        idle = await terminal.bytes_within(WATCH_S) / WATCH_S
        fleet.is_moving = True
        dashboard = await terminal.bytes_within(WATCH_S) / WATCH_S
        first_visit = await _cost(terminal, "2")
        table = await terminal.bytes_within(WATCH_S) / WATCH_S
        latencies = [await _spaced(terminal, key) for key in KEYS]
        costs = {key: await _cost(terminal, key) for key in ("j", "G", "g", "s", "3", "4", "6", "7", "8", "?", "1")}
        memory = terminal.memory_mb()
        loudest = max(costs, key=lambda key: costs[key])
    where = f"{nodes} nodes"
    p99 = statistics.quantiles(latencies, n=100)[98]
    return [
        Figure(f"console at rest, {where}", idle, "B/s", at_most(200)),
        Figure(f"dashboard, 2 % of cells a second, {where}", dashboard, "B/s", at_most(2000)),
        Figure(f"nodes, 2 % of cells a second, {where}", table, "B/s", at_most(5000)),
        Figure(f"first visit to nodes, {where}", first_visit, "B", at_most(30_000)),
        Figure(f"loudest key, {where}", costs[loudest], "B", at_most(30_000), f"key {loudest}"),
        Figure(f"key to paint, p99 while it moves, {where}", p99, "ms", at_most(50), f"{len(latencies)} keys"),
        Figure(f"console's memory, {where}", memory, "MB", at_most(120), "proportional set size"),
    ]


async def _spaced(terminal: Terminal, key: str) -> float:
    await asyncio.sleep(0.3)
    return await terminal.latency_ms(key)


async def _cost(terminal: Terminal, key: str) -> int:
    before = terminal.count
    terminal.press(key)
    await asyncio.sleep(1.2)
    return terminal.count - before
