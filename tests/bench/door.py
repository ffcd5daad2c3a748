"""AuthenticateValidator through the door against a bare grpcio server that only verifies the signature.

Both servers and the caller have a process each. Rounds alternate between the servers, so that whatever else the
machine does hits both; the ratio is the median over neighbouring rounds. The door runs complete: limits, permit,
nonce and session on disk before the answer, signed answer, events. Only its per-address rate is raised, because all
callers here come from one address.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import grpc
from bittensor.sp_core import Keypair

from engine.clock import SystemClock
from engine.identity import payloads
from engine.identity.signatures import KeypairSigner
from engine.identity.tokens import new_nonce
from engine.miner.door import Door
from engine.miner.door_limits import DoorLimits, Rate
from engine.miner.ports import Access, Permit
from engine.store import open_store
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as pb
from engine.wire.basilca.miner.v1 import miner_discovery_pb2_grpc as stub
from tests.bench import Figure

CHANNELS = 8
VALIDATORS = 64
CALLS_PER_ROUND = 2000
UNLIMITED = Rate(1e6, 1_000_000)


@dataclass(frozen=True, slots=True)
class Round:
    """One run of calls against one server."""

    calls_per_s: float
    p50_ms: float
    p99_ms: float


class _Everybody:
    """Permits every validator, as a warm metagraph would, without nodes."""

    async def permit(self, hotkey: str) -> Permit:
        return Permit(True, 1, 1000.0)

    def is_assigned(self, hotkey: str) -> bool:
        return True

    def host_authority(self) -> str:
        return ""

    async def admit(self, hotkey: str, key: object, dialect: str, *, certificates: bool = False) -> Access:
        return Access((), 0, None)


class _OnlyVerifies(stub.MinerDiscoveryServicer):  # type: ignore[misc]
    """What no door can do without: parse, verify once with the SDK, answer."""

    async def AuthenticateValidator(self, request: Any, context: Any) -> Any:
        payload = payloads.auth_v1(request.nonce, request.target_miner_hotkey, request.timestamp.value.seconds)
        keypair = Keypair(ss58_address=request.validator_hotkey)
        is_valid = keypair.verify(payload, bytes.fromhex(request.signature))
        return pb.MinerAuthResponse(authenticated=is_valid)


def measure() -> list[Figure]:
    """The door's figures."""
    plain = asyncio.run(measured())
    front = asyncio.run(measured(front=True))
    spread = f"{plain['ratio_low']} to {plain['ratio_high']}, load {plain['load']}"
    return [
        Figure("AuthenticateValidator, 64 callers: bare server", f"{plain['bare_per_s']}/s", "(the limit)"),
        Figure("AuthenticateValidator, 64 callers: door", f"{plain['door_per_s']}/s", "-"),
        Figure("door against bare server, calls per second", f"{plain['ratio']:.2f}", ">= 0.65", spread),
        Figure(
            "bare server against door, CPU per call", f"{plain['cpu_ratio']:.2f}", "-", "process time of the servers"
        ),
        Figure("door p99", f"{plain['door_p99_ms']} ms", "<= 30 ms", f"bare server {plain['bare_p99_ms']} ms"),
        Figure("same with the front, calls per second", f"{front['ratio']:.2f}", "-", "[health] on_grpc_port"),
    ]


async def measured(callers: int = 64, seconds: float = 5, *, front: bool = False) -> dict[str, Any]:
    """Calls per second of both servers, their median ratio, and the door's latencies.

    ``front`` puts the door behind the front that serves /health on the same port.
    """
    servers = {kind: _Child(_serve, kind, front) for kind in ("bare", "door")}
    try:
        ports = {kind: await server.receive() for kind, server in servers.items()}
        client = _Child(_call, callers)
        try:
            rounds: dict[str, list[Round]] = {"bare": [], "door": []}
            for kind in rounds:
                await client.ask((ports[kind], CALLS_PER_ROUND // 4))
            used = {kind: await server.ask(None) for kind, server in servers.items()}
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at or len(rounds["bare"]) < 3:
                order = ("bare", "door") if len(rounds["bare"]) % 2 == 0 else ("door", "bare")
                for kind in order:
                    rounds[kind].append(Round(*await client.ask((ports[kind], CALLS_PER_ROUND))))
            used = {kind: await server.ask(None) - used[kind] for kind, server in servers.items()}
        finally:
            client.stop()
    finally:
        for server in servers.values():
            server.stop()
    calls = len(rounds["bare"]) * CALLS_PER_ROUND
    return _summary(callers, rounds) | _cpu(used, calls)


def _summary(callers: int, rounds: dict[str, list[Round]]) -> dict[str, Any]:
    bare, door = rounds["bare"], rounds["door"]
    ratios = [d.calls_per_s / b.calls_per_s for b, d in zip(bare, door, strict=True)]
    return {
        "callers": callers,
        "rounds": len(ratios),
        "bare_per_s": round(statistics.median(r.calls_per_s for r in bare)),
        "door_per_s": round(statistics.median(r.calls_per_s for r in door)),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_low": round(min(ratios), 3),
        "ratio_high": round(max(ratios), 3),
        "bare_p50_ms": round(statistics.median(r.p50_ms for r in bare), 1),
        "bare_p99_ms": round(statistics.median(r.p99_ms for r in bare), 1),
        "door_p50_ms": round(statistics.median(r.p50_ms for r in door), 1),
        "door_p99_ms": round(statistics.median(r.p99_ms for r in door), 1),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu(used: dict[str, float], calls: int) -> dict[str, Any]:
    return {
        "bare_cpu_us": round(used["bare"] / calls * 1e6),
        "door_cpu_us": round(used["door"] / calls * 1e6),
        "cpu_ratio": round(used["bare"] / used["door"], 3),
    }


class _Child:
    """A process of its own with a pipe."""

    def __init__(self, target: Any, *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *args), daemon=True)
        self._process.start()
        theirs.close()

    async def receive(self) -> Any:
        return await asyncio.to_thread(self._pipe.recv)

    async def ask(self, question: Any) -> Any:
        self._pipe.send(question)
        return await self.receive()

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _until_closed(pipe: Connection) -> None:
    """Tell the process time whenever asked, until the other end is closed."""
    try:
        while True:
            pipe.recv()
            pipe.send(time.process_time())
    except EOFError:
        pass


def _serve(pipe: Connection, kind: str, front: bool) -> None:
    asyncio.run(_serve_bare(pipe) if kind == "bare" else _serve_door(pipe, front))


async def _serve_bare(pipe: Connection) -> None:
    server = grpc.aio.server()
    stub.add_MinerDiscoveryServicer_to_server(_OnlyVerifies(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(port)
    await asyncio.to_thread(_until_closed, pipe)
    await server.stop(None)


async def _serve_door(pipe: Connection, front: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clock = SystemClock()
        store = await open_store(f"sqlite:{directory}/miner.db", clock=clock)
        door = Door(
            "127.0.0.1",
            0,
            _signer("//Miner"),
            _Everybody(),
            store=store,
            clock=clock,
            emit=lambda event: None,
            limits=DoorLimits(UNLIMITED, UNLIMITED),
            health_on_port=(lambda: (200, b"{}")) if front else None,
        )
        try:
            pipe.send(await door.start())
            await asyncio.to_thread(_until_closed, pipe)
        finally:
            await door.stop(1.0)
            await store.close()


def _call(pipe: Connection, callers: int) -> None:
    asyncio.run(_answer_questions(pipe, callers))


async def _answer_questions(pipe: Connection, callers: int) -> None:
    while True:
        try:
            port, calls = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        pipe.send(await _round(port, calls, callers))


async def _round(port: int, calls: int, callers: int) -> tuple[float, float, float]:
    waiting = iter(_requests(calls))
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(CHANNELS)]
    stubs = [stub.MinerDiscoveryStub(channel) for channel in channels]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    latencies: list[float] = []

    async def caller(number: int) -> None:
        for request in waiting:
            began = time.perf_counter()
            answer = await stubs[number % CHANNELS].AuthenticateValidator(request)
            latencies.append(time.perf_counter() - began)
            if not answer.authenticated:
                raise AssertionError("a correct request was not accepted")

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    took_s = time.perf_counter() - began
    for channel in channels:
        await channel.close()
    latencies.sort()
    return calls / took_s, latencies[calls // 2] * 1000, latencies[calls * 99 // 100] * 1000


def _requests(calls: int) -> list[Any]:
    miner = _signer("//Miner").hotkey
    validators = [_signer(f"//V{number}") for number in range(VALIDATORS)]
    now = int(time.time())
    requests = []
    for number in range(calls):
        validator, nonce = validators[number % VALIDATORS], new_nonce()
        request = pb.ValidatorAuthRequest(validator_hotkey=validator.hotkey, nonce=nonce, target_miner_hotkey=miner)
        request.timestamp.value.seconds = now
        request.signature = validator.sign(payloads.auth_v1(nonce, miner, now))
        requests.append(request)
    return requests


def _signer(uri: str) -> KeypairSigner:
    return KeypairSigner(Keypair.create_from_uri(uri))


def _print(result: dict[str, Any]) -> None:
    print(
        f"AuthenticateValidator, {result['callers']} callers, {result['rounds']} rounds, load {result['load']}: "
        f"bare {result['bare_per_s']}/s, door {result['door_per_s']}/s, ratio {result['ratio']} "
        f"({result['ratio_low']} to {result['ratio_high']}); server CPU us: bare {result['bare_cpu_us']}, "
        f"door {result['door_cpu_us']}, ratio {result['cpu_ratio']}; p50/p99 ms: "
        f"bare {result['bare_p50_ms']}/{result['bare_p99_ms']}, door {result['door_p50_ms']}/{result['door_p99_ms']}"
    )


if __name__ == "__main__":
    _print(asyncio.run(measured()))
