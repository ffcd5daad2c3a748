"""How long a sweep of the whole fleet takes: the engine's own check over asyncssh nodes in one child process.

The nodes are ``engine.localnet``'s stand-ins. By default they answer the two questions of a check in their own process
(real nodes spend their own CPU on that, not the engine's); with ``shells=True`` each command starts a real shell and
the stand-in tools, which then compete with the engine for this machine.

``python -m tests.support.fleet_bench 10 100 1000`` prints a table.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import structlog

from engine.clock import SystemClock
from engine.errors import BasilicaError
from engine.events import Event, NodeChecked, NodeInspected
from engine.localnet.gpu_model import GpuModel
from engine.localnet.stand_in_node import StandInNode
from engine.localnet.stand_in_session import StandInSession
from engine.miner.fleet import Fleet, FleetNode
from engine.miner.fleet_book import FleetBook
from engine.miner.fleet_schedule import Schedule
from engine.miner.ramp import RampRules
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Seconds of each part, memory and CPU of the engine's side."""

    nodes: int
    passed: int
    connect_s: float
    """The first sweep: logins, GPU facts and the inspection of every node."""
    sweep_s: float
    """The median of the sweeps after it, over the standing connections."""
    engine_cpu_s: float
    """CPU of this process in the median sweep."""
    rss_mib: float
    beside_a_hole_s: float
    """Until the last of the nodes was checked in one more sweep, whose first node takes the call and never answers."""


def sweep(n_nodes: int) -> SweepResult:
    """A full sweep over standing connections; every node must pass."""
    result = measure(n_nodes)
    if result.passed != n_nodes:
        raise AssertionError(f"{n_nodes - result.passed} of {n_nodes} nodes failed")
    return result


def measure(n_nodes: int, *, shells: bool = False, rounds: int = 3, gpus: int = 8) -> SweepResult:
    """Start the nodes in a child process and measure in this one."""
    directory = Path(tempfile.mkdtemp(prefix="basilica-bench-"))
    key = ClientKey.generate("bench")
    command = [
        sys.executable, "-m", "tests.support.fleet_bench", "--serve", str(directory), str(n_nodes), str(gpus),
        "shells" if shells else "inline", key.public_line,
    ]  # fmt: skip
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT)
    try:
        assert child.stdout is not None
        ports = json.loads(child.stdout.readline())
        return asyncio.run(_measure(key, ports, rounds))
    finally:
        child.communicate(b"\n")
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(key: ClientKey, ports: list[int], rounds: int) -> SweepResult:
    clock = SystemClock()
    counted = {NodeChecked: 0, NodeInspected: 0}
    last_passed = 0.0

    def emit(event: Event) -> None:
        nonlocal last_passed
        if type(event) in counted:
            counted[type(event)] += 1
        if isinstance(event, NodeChecked) and event.ok:
            last_passed = time.monotonic()

    nodes = [
        FleetNode(NodeTarget(f"node-{number}", "127.0.0.1", port, "basilica"), f"node-{number}")
        for number, port in enumerate(ports)
    ]
    pool = NodePool(key, HostKeys(None), clock=clock, emit=emit)
    book = FleetBook(clock=clock, emit=emit, success_window_s=86400.0, rules=RampRules())
    fleet = Fleet(nodes, pool, book, clock=clock, emit=emit, schedule=Schedule(60.0), timeout_s=30.0)
    try:
        started = time.monotonic()
        passed = await fleet.sweep()
        connect_s = time.monotonic() - started
        taken: list[tuple[float, float]] = []
        for _ in range(rounds):
            started, cpu = time.monotonic(), time.process_time()
            passed = min(passed, await fleet.sweep())
            book.report()
            taken.append((time.monotonic() - started, time.process_time() - cpu))
        sweep_s, cpu_s = sorted(taken)[len(taken) // 2]
        memory_mib = rss_mib()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hole = FleetNode(NodeTarget("hole", "127.0.0.1", silent.getsockname()[1], "basilica"), "hole")
            fleet.replace_nodes([hole, *nodes])
            started = time.monotonic()
            if await fleet.sweep() != len(nodes):
                raise AssertionError("a node failed beside one that does not answer")
        return SweepResult(len(nodes), passed, connect_s, sweep_s, cpu_s, memory_mib, last_passed - started)
    finally:
        with contextlib.suppress(BasilicaError):
            await pool.close()


def rss_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- the child: many nodes in one process ---------------------------------------------------------------------


class _InlineSession(StandInSession):
    """Answers from a table what the node's shell said once; anything else goes to a real shell."""

    answers: dict[str, bytes] = {}  # noqa: RUF012 - one table for all nodes, filled before they listen

    def session_started(self) -> None:
        answer = self.answers.get(self._command or "")
        if answer is None or self._chan is None:
            super().session_started()
            return
        # Every node has cards of its own.
        name = Path(self._shell.home).parent.name.removeprefix("n").encode()
        self._chan.write(answer.replace(b"GPU-00000000-", b"GPU-%08d-" % int(name)))
        self._chan.exit(0)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            super().connection_lost(exc)


def _teach(node: StandInNode, commands: list[str]) -> None:
    """Run each command once as the node would, and remember what it says."""
    environment = {**os.environ, "HOME": str(node.home), "PATH": f"{node.directory / 'bin'}:{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, env=environment, check=False)
        _InlineSession.answers[command] = done.stdout


async def _serve(directory: Path, count: int, gpus: int, mode: str, public_line: str) -> None:
    from engine.probes.gpu import FIELDS
    from engine.probes.host import SCRIPT
    from engine.ssh.pool import limited

    nodes = [
        StandInNode(
            directory / f"n{number}", gpu=GpuModel(uuids=tuple(f"GPU-{number:08d}-{card:04d}" for card in range(gpus)))
        )
        for number in range(count)
    ]
    if mode == "inline":
        import engine.localnet.stand_in_node as room

        vars(room)["StandInSession"] = _InlineSession
    for node in nodes:
        await node.start()
        node.authorized_keys.write_text(public_line + "\n")
    if mode == "inline":
        words = f"nvidia-smi --query-gpu={','.join(FIELDS['all'])} --format=csv,noheader,nounits"
        _teach(nodes[0], [f"timeout 30 {words}", limited(SCRIPT, 25)])
    print(json.dumps([node.port for node in nodes]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    os._exit(0)  # the directory goes with the parent; a thousand orderly goodbyes would only take time


def main(arguments: list[str]) -> None:
    """The child's entry, or the table."""
    if arguments[:1] == ["--serve"]:
        directory, wanted, gpus, mode, public_line = arguments[1:]
        asyncio.run(_serve(Path(directory), int(wanted), int(gpus), mode, public_line))
        return
    shells = "--shells" in arguments
    for count in [int(word) for word in arguments if word.isdigit()] or [10, 100, 1000]:
        found = measure(count, shells=shells)
        print(
            f"{found.nodes:5d} nodes  first sweep {found.connect_s:6.2f} s  sweep {found.sweep_s:6.2f} s  "
            f"beside a hole {found.beside_a_hole_s:6.2f} s  "
            f"engine CPU {found.engine_cpu_s:5.2f} s  memory {found.rss_mib:5.0f} MiB  passed {found.passed}",
            flush=True,
        )


if __name__ == "__main__":
    asyncssh.set_log_level("ERROR")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main(sys.argv[1:])
