"""REST reads at a steady rate beside rounds over a full subnet, asked by a process of its own.

Four processes: the validator, the one in which its REST API answers, the miners and nodes of
``tests.support.miner_swarm``, and a client with persistent connections that asks on schedule, whatever became of the
requests before.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from engine import eventloop
from engine.clock import SystemClock
from engine.config.validator import ApiConfig
from engine.control.actions import ActionTable
from engine.events import EventBus, MinerAnswered, MinerDiscovered
from engine.rest.keys import ApiKeys
from engine.rest.process import RestProcess
from engine.validator.role import ValidatorRole
from tests.bench import Figure, at_most
from tests.bench.validator import MINERS, NODES, validator_over
from tests.support.miner_swarm import Swarm, miner_signer
from tests.support.ports import free_port

RATE = 200
SECONDS = float(os.environ.get("BENCH_REST_S", "20"))
SUBNET = int(os.environ.get("BENCH_REST_MINERS", str(MINERS)))
CONNECTIONS = 16
KEY = "bench-key-0123456789-abcdefgh"
PATHS = (
    "/miners", "/miners?sort=-score&page={page}", "/miners/miner_{uid}", "/miners/miner_{uid}/health",
    "/miners/miner_{uid}/nodes", "/nodes?page_size=20&page={page}", "/gpu-profiles", "/verification/active",
    "/verification/results/miner_{uid}",
)  # fmt: skip


def measure() -> list[Figure]:
    """Time from when a request was due to its last byte; processor time per request from a validator that idles."""
    with Swarm(SUBNET, NODES) as swarm:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "tests.bench.rest",
            "serve",
            *map(str, (port, swarm.grpc_port, swarm.ssh_port)),
        ]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            _tell(server)
            _client(port, 3.0)  # the first ones wait until it is there
            before = _tell(server)
            alone = _client(port, SECONDS / 2)
            after = _tell(server)
            _tell(server, "rounds")
            beside = _client(port, SECONDS)
            rounds = _tell(server)
        finally:
            server.kill()
            server.wait(20)
    each_us = 1e6 * (after["cpu_s"] - before["cpu_s"]) / alone["asked"]
    checks = rounds["checks"] - after["checks"]
    load = os.getloadavg()[0]
    return [
        Figure(f"REST reads at {RATE}/s beside a round, p99", beside["p99_ms"], "ms", at_most(30),
               f"p50 {beside['p50_ms']:.1f} ms, {beside['asked']} asked, {beside['failed']} failed; {checks} checks of "
               f"{SUBNET} x {NODES} nodes meanwhile; p99 without a round {alone['p99_ms']:.1f} ms; load {load:.1f}"),
        Figure("REST read, processor time of the server", each_us, "us",
               note=f"of {len(PATHS)} routes by turns, both processes; the second has {rounds['rss_mib']:.0f} MiB"),
    ]  # fmt: skip


def _tell(server: subprocess.Popen[str], word: str = "figures") -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(word + "\n")
    server.stdin.flush()
    found: dict[str, Any] = json.loads(server.stdout.readline())
    return found


def _client(port: int, seconds: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.rest", "ask", str(port), str(seconds)],
        capture_output=True, text=True, check=True, timeout=seconds * 6 + 60,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- the validator --------------------------------------------------------------------------------------------


async def _serve(port: int, swarm: Swarm) -> None:
    async with validator_over(swarm, known=True) as running:
        _introduce(running.bus, swarm)
        clock = SystemClock()
        config = running.config.model_copy(
            update={
                "api": ApiConfig(
                    bind_address=f"127.0.0.1:{port}",
                    api_key=KEY,
                    requests_per_minute=100_000,
                    requests_per_minute_with_key=100_000,
                )
            }
        )
        running.state.engine.hotkey = running.hotkey
        keys = ApiKeys(running.store.api_keys, clock, configured=KEY)
        rest = RestProcess(config, running.state, keys, ActionTable(print, clock), lambda *_: None)
        running.on_touched.append(rest.note)
        http = asyncio.create_task(rest.run())
        loop, rounds = asyncio.get_running_loop(), None
        async with asyncio.timeout(30):
            while rest.pid is None:
                await asyncio.sleep(0.05)
        while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if word == "rounds":
                rounds = asyncio.create_task(_rounds(running.role))
            cpu_s, rss_mib = _used(rest.pid)
            print(json.dumps({"cpu_s": cpu_s, "rss_mib": rss_mib, "checks": running.tally.total()}), flush=True)
        for task in (http, rounds):
            if task is not None:
                task.cancel()


def _used(pid: int | None) -> tuple[float, float]:
    """Processor time of both processes so far, and memory of the one that answers."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    cpu_s = own.ru_utime + own.ru_stime + ticks / os.sysconf("SC_CLK_TCK")
    return cpu_s, pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _rounds(role: ValidatorRole) -> None:
    while True:
        await role.verify_all()


def _introduce(bus: EventBus, swarm: Swarm) -> None:
    """The miners as an earlier round left them."""
    now = time.time()
    for uid in range(swarm.miners):
        hotkey = miner_signer(uid).hotkey
        bus.emit(MinerDiscovered(at=now, hotkey=hotkey, uid=uid, endpoint="127.0.0.1:1"))
        bus.emit(MinerAnswered(at=now, hotkey=hotkey, uid=uid, dialect="B", nodes=swarm.nodes, duration_ms=5.0))


# --- the client -----------------------------------------------------------------------------------------------


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> int:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].split("\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])


async def _load(port: int, seconds: float) -> dict[str, float]:
    """Open loop: requests come when they are due, whatever became of those before."""
    pool: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        pool.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    times: list[float] = []
    failed = 0
    began = time.perf_counter() + 0.5

    async def one(number: int) -> None:
        nonlocal failed
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        connection = await pool.get()
        path = PATHS[number % len(PATHS)].format(uid=number * 7 % SUBNET, page=1 + number % 5)
        try:
            failed += await _ask(*connection, path) != 200
        finally:
            pool.put_nowait(connection)
        times.append(time.perf_counter() - due)

    await asyncio.gather(*(one(number) for number in range(int(RATE * seconds))))
    times.sort()
    return {
        "asked": len(times),
        "failed": failed,
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
    }


def _main(arguments: Sequence[str]) -> None:
    # Standard output is for figures: log lines would fill the pipe, and the validator would wait for a reader.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if arguments[0] == "ask":
        print(json.dumps(eventloop.run(_load(int(arguments[1]), float(arguments[2])))))
    else:
        port, grpc_port, ssh_port = map(int, arguments[1:])
        swarm = Swarm(SUBNET, NODES, grpc_port=grpc_port, ssh_port=ssh_port)
        eventloop.raise_open_files()
        eventloop.run(_serve(port, swarm))


if __name__ == "__main__":
    _main(sys.argv[1:])
