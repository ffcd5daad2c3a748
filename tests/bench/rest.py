"""REST reads at a steady rate beside a validator that verifies nodes without a pause, asked by a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tomli_w

from tests.bench import Figure, at_most
from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.sshd import free_port
from tests.support.stand_in_farm import StandInFarm

NODES = int(os.environ.get("BENCH_REST_NODES", "64"))
RATE = 200
SECONDS = float(os.environ.get("BENCH_REST_S", "20"))
CONNECTIONS = 16
KEY = "bench-key-0123456789-abcdefgh"
PATHS = ("/miners", "/miners/miner_0", "/miners/miner_0/health", "/miners/miner_0/nodes?page_size=20",
         "/nodes?page_size=20", "/gpu-profiles", "/verification/active", "/verification/results/miner_0")  # fmt: skip


def measure() -> list[Figure]:
    """Time from when a request was due to its last byte."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root, StandInFarm(Path(root) / "nodes", NODES) as farm:
        subnet = create_subnet(
            Path(root), [], validators=1, node_entries=farm.entries,
            node_management={"health_check_interval": 3600}, access={"node_deadline": 20},
        )  # fmt: skip
        farm.authorize(subnet.root / "node_key")
        port = free_port()
        validator = _start_validator(subnet, port)
        try:
            subnet.start()
            subnet.settle()
            _wait_for_nodes(port)
            before = _verifications(port)
            client = subprocess.run(
                [sys.executable, "-m", "tests.bench.rest", str(port)], capture_output=True, text=True, check=True,
                timeout=SECONDS * 4,
            )  # fmt: skip
            found = json.loads(client.stdout)
            done = _verifications(port) - before
        finally:
            validator.terminate()
            validator.wait(20)
            subnet.stop()
    note = (
        f"p50 {found['p50_ms']:.1f} ms, {found['asked']} requests, {found['failed']} failed; "
        f"{done} verifications of {NODES} nodes meanwhile"
    )
    return [Figure(f"REST reads at {RATE}/s beside a round, p99", found["p99_ms"], "ms", at_most(30), note)]


def _start_validator(subnet: MinerSubnet, port: int) -> subprocess.Popen[bytes]:
    root, wallet = subnet.root, subnet.validators[0].wallet
    document = {
        "bittensor": {
            "wallet_path": str(root / "wallets"), "wallet_name": wallet.name, "hotkey_name": wallet.hotkey_name,
            "network": "local", "netuid": 39, "chain_endpoint": f"file:{root / 'chain.db'}", "external_ip": "127.0.0.1",
        },
        "database": {"url": f"sqlite:{root / 'v' / 'validator.db'}"},
        "api": {"bind_address": f"127.0.0.1:{port}", "api_key": KEY, "requests_per_minute_with_key": 100_000},
        "verification": {"verification_interval": 1, "attestation": {"enabled": False}},
        "emission": {"gpu_allocations": {"H100": 100.0}},
        "metrics": {"enabled": False},
        "engine": {"name": "v", "socket": str(root / "vs" / "engine.sock"), "data_dir": str(root / "v")},
    }  # fmt: skip
    path = root / "validator.toml"
    path.write_text(tomli_w.dumps(document))
    with (root / "validator.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(path)],
            stdout=log, stderr=log, cwd=Path(__file__).parents[2],
        )  # fmt: skip


def _wait_for_nodes(port: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if asyncio.run(_get(port, "/nodes"))["total_count"]:
                return
        except (OSError, KeyError, ValueError, asyncio.IncompleteReadError):
            pass
        time.sleep(1.0)
    raise AssertionError("the validator verified no node")


def _verifications(port: int) -> int:
    return sum(profile["verification_count"] for profile in asyncio.run(_get(port, "/gpu-profiles")))


async def _get(port: int, path: str) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return json.loads((await _ask(reader, writer, path))[1])
    finally:
        writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, bytes]:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].split("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def _load(port: int) -> dict[str, float]:
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
        try:
            status, _ = await _ask(*connection, PATHS[number % len(PATHS)])
            failed += status != 200
        finally:
            pool.put_nowait(connection)
        times.append(time.perf_counter() - due)

    await asyncio.gather(*(one(number) for number in range(int(RATE * SECONDS))))
    times.sort()
    return {
        "asked": len(times),
        "failed": failed,
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_load(int(sys.argv[1])))))
