"""AuthenticateValidator through the door against a bare grpcio server that only verifies the signature.

Every server and the caller have a process each. Rounds alternate between the servers, so that whatever else the
machine does hits both; the ratio is the median over neighbouring rounds. The door runs complete: limits, permit,
nonce and session on disk before the answer, signed answer, the front that answers /health on the same port. The whole
engine adds what happens with each event: live state, log, audit, history. Only the rates per address and hotkey are
raised, because all callers here come from one address.

The callers wait for their answers: with 64 of them the mean latency is 64 divided by the calls per second, whatever
server answers, so a p99 below that mean is out of any server's reach. What a caller sees of a server that is busy and
not drowning is measured beside it: 64 callers who come at times fixed beforehand, together at half the rate that the
bare server can do. Latency counts from the time at which a call was due, so a stall is paid by everyone behind it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from bittensor.sp_core import Keypair

from engine import eventloop
from engine.app import Engine
from engine.clock import SystemClock
from engine.configured import load
from engine.control.ring import LogRing
from engine.identity import payloads
from engine.identity.signatures import KeypairSigner, verify
from engine.identity.tokens import new_nonce
from engine.miner import door as door_module
from engine.miner.door import Door
from engine.miner.door_limits import DoorLimits, Rate
from engine.miner.ports import Access, Permit
from engine.observe.logs import configure_logging
from engine.store import open_store
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as pb
from engine.wire.basilca.miner.v1 import miner_discovery_pb2_grpc as stub
from tests.bench import Figure, at_least, at_most
from tests.support.miner_subnet import NETUID, create_subnet

CALLERS = 64
CHANNELS = 8
VALIDATORS = 64
CALLS_PER_ROUND = 1500
ROUNDS = 5
VERIFICATIONS = 2000
WIDE = DoorLimits(Rate(1e6, 1_000_000), Rate(1e6, 1_000_000))
"""All callers here come from one address."""


@dataclass(frozen=True, slots=True)
class Round:
    """One run of calls against one server."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU of the server's process per call."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens and as which miner."""

    port: int
    hotkey: str


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
    found = asyncio.run(measured())
    bare, same_loop, door, engine = (found[kind] for kind in ("bare", "bare-uvloop", "door", "engine"))
    spread = f"{door.ratio_low:.2f} to {door.ratio_high:.2f} over {door.rounds} rounds"
    cpu = f"per call, us: bare {bare.cpu_us:.0f}, door {door.cpu_us:.0f}, engine {engine.cpu_us:.0f}"
    mean_ms = CALLERS / bare.per_s * 1000
    return [
        Figure("handshakes, 64 callers: bare grpcio that verifies", bare.per_s, "/s", note=f"p99 {bare.p99_ms:.0f} ms"),
        Figure("handshakes, 64 callers: door", door.per_s, "/s", note="with /health on its port"),
        Figure("handshakes: door against bare server", door.ratio, "x", at_least(0.65), spread),
        Figure("handshakes: the same without the front", found["door-without-front"].ratio, "x"),
        Figure(
            "handshakes: door against bare server on the same loop", door.per_s / same_loop.per_s, "x", note="uvloop"
        ),
        Figure(
            "handshakes: whole engine against bare server", engine.ratio, "x", at_least(0.65), "logs, audit, history"
        ),
        # The figure that other programs on the machine hardly move: what a handshake costs the server itself.
        Figure("handshakes: bare server's CPU against the door's", bare.cpu_us / door.cpu_us, "x", at_least(0.65), cpu),
        Figure("handshakes: bare server's CPU against the engine's", bare.cpu_us / engine.cpu_us, "x", at_least(0.65)),
        Figure(
            "handshakes: door p99", door.p99_ms, "ms", at_most(30), f"bare: mean {mean_ms:.0f}, p99 {bare.p99_ms:.0f}"
        ),
        Figure("handshakes: engine p99", engine.p99_ms, "ms", note=f"{engine.p99_ms / bare.p99_ms:.1f} x the bare one"),
        Figure(
            "handshakes: door p99, 64 callers at half the bare server's most",
            found["door-paced"].p99_ms,
            "ms",
            at_most(30),
            f"{found['door-paced'].per_s:.0f} /s; bare: p99 {found['bare-paced'].p99_ms:.1f}",
        ),
        Figure("handshakes: door p99, 8 callers", found["few"].p99_ms, "ms", at_most(30), "8 at once, not 64"),
        Figure("signature verification alone", verifications_per_s(), "/s", note="one core, no server"),
    ]


@dataclass(frozen=True, slots=True)
class Result:
    """One server over all rounds; ratios are against the bare server of the same round."""

    per_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rounds: int


KINDS = ("bare", "bare-uvloop", "door-without-front", "door", "engine")


async def measured(rounds: int = ROUNDS, kinds: Sequence[str] = KINDS) -> dict[str, Result]:
    """Every server's result at 64 callers; ``few`` is the door at 8, ``bare-paced`` and ``door-paced`` at half rate."""
    servers = {kind: _Child(_serve, kind) for kind in kinds}
    client = _Child(_call)
    try:
        addresses = {kind: await server.receive() for kind, server in servers.items()}
        taken: dict[str, list[Round]] = {kind: [] for kind in kinds}
        for kind in kinds:
            await client.ask((addresses[kind], CALLS_PER_ROUND // 4, CALLERS, 0.0))
        for number in range(rounds):
            shift = number % len(kinds)
            for kind in (*kinds[shift:], *kinds[:shift]):
                used = await servers[kind].ask(None)
                per_s, p50_ms, p99_ms = await client.ask((addresses[kind], CALLS_PER_ROUND, CALLERS, 0.0))
                used = await servers[kind].ask(None) - used
                taken[kind].append(Round(per_s, p50_ms, p99_ms, used / CALLS_PER_ROUND * 1e6))
        few = (
            [await client.ask((addresses["door"], CALLS_PER_ROUND // 4, 8, 0.0)) for _ in range(3)]
            if "door" in kinds
            else []
        )
        rate = statistics.median(one.per_s for one in taken["bare"]) / 2
        paced: dict[str, list[Round]] = {kind: [] for kind in kinds if kind in {"bare", "door"}}
        for _ in range(rounds):
            for kind, rounds_of_kind in paced.items():
                per_s, p50_ms, p99_ms = await client.ask((addresses[kind], CALLS_PER_ROUND, CALLERS, rate))
                rounds_of_kind.append(Round(per_s, p50_ms, p99_ms, 0.0))
    finally:
        for child in (client, *servers.values()):
            child.stop()
    results = {kind: _result(taken[kind], taken["bare"]) for kind in kinds}
    if few:
        alone = [Round(per_s, p50_ms, p99_ms, 0.0) for per_s, p50_ms, p99_ms in few]
        results["few"] = _result(alone, alone)
    results |= {f"{kind}-paced": _result(own, paced["bare"]) for kind, own in paced.items()}
    return results


def _result(own: list[Round], bare: list[Round]) -> Result:
    ratios = [mine.per_s / theirs.per_s for mine, theirs in zip(own, bare, strict=True)]
    return Result(
        per_s=statistics.median(one.per_s for one in own),
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        p50_ms=statistics.median(one.p50_ms for one in own),
        p99_ms=statistics.median(one.p99_ms for one in own),
        cpu_us=statistics.median(one.cpu_us for one in own),
        rounds=len(own),
    )


def verifications_per_s() -> float:
    """sr25519 checks per second in this process."""
    signer = _signer("//V0")
    payload = payloads.auth_v1(new_nonce(), signer.hotkey, 1)
    signature = signer.sign(payload)
    began = time.process_time()
    for _ in range(VERIFICATIONS):
        verify(signer.hotkey, payload, signature)
    return VERIFICATIONS / (time.process_time() - began)


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
        self._process.join(20)
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


def _serve(pipe: Connection, kind: str) -> None:
    if kind == "bare":
        asyncio.run(_serve_bare(pipe))
    elif kind == "bare-uvloop":
        eventloop.run(_serve_bare(pipe))
    elif kind == "engine":
        _serve_engine(pipe)
    else:
        eventloop.run(_serve_door(pipe, has_front=kind == "door"))


async def _serve_bare(pipe: Connection) -> None:
    server = grpc.aio.server()
    stub.add_MinerDiscoveryServicer_to_server(_OnlyVerifies(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    pipe.send(Address(port, MINER))
    await asyncio.to_thread(_until_closed, pipe)
    await server.stop(None)


async def _serve_door(pipe: Connection, *, has_front: bool) -> None:
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
            limits=WIDE,
            health_on_port=(lambda: (200, b"{}")) if has_front else None,
        )
        try:
            port = await door.start()
            eventloop.keep_what_is_loaded()
            pipe.send(Address(port, MINER))
            await asyncio.to_thread(_until_closed, pipe)
        finally:
            await door.stop(1.0)
            await store.close()


def _serve_engine(pipe: Connection) -> None:
    """The engine as ``--daemon`` runs it, with a metagraph that permits the callers; only the rates are raised."""
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        subnet = create_subnet(Path(root), [], validators=0, access={"new_sessions_per_hour": 1_000_000})
        for number in range(VALIDATORS):
            hotkey = _signer(f"//V{number}").hotkey
            subnet.admin.register(NETUID, hotkey, hotkey, 1000.0, True)
        vars(door_module)["DoorLimits"] = lambda: WIDE
        config = load(subnet.config_path).config
        ring = LogRing()
        with (Path(root) / "engine.log").open("w") as log:
            configure_logging("info", "json", ring, stream=log)
            engine = Engine(config, subnet.miner, ring)
            eventloop.run(_run_engine(engine, Address(subnet.grpc_port, subnet.miner.signer.hotkey), pipe))


async def _run_engine(engine: Engine, address: Address, pipe: Connection) -> None:
    running = asyncio.create_task(engine.run())
    while not running.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", address.port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        break
    pipe.send(address)
    await asyncio.to_thread(_until_closed, pipe)
    os.kill(os.getpid(), signal.SIGTERM)
    await running


def _call(pipe: Connection) -> None:
    asyncio.run(_answer_questions(pipe))


async def _answer_questions(pipe: Connection) -> None:
    while True:
        try:
            address, calls, callers, rate = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        pipe.send(await _round(address, calls, callers, rate))


async def _round(address: Address, calls: int, callers: int, rate: float) -> tuple[float, float, float]:
    """``rate`` is calls per second of all callers together; 0 is as fast as answers come."""
    waiting = iter(enumerate(_requests(calls, address.hotkey)))
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{address.port}", options=options) for _ in range(CHANNELS)]
    stubs = [stub.MinerDiscoveryStub(channel) for channel in channels]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    latencies: list[float] = []

    async def caller(number: int) -> None:
        for place, request in waiting:
            due = began + place / rate if rate else time.perf_counter()
            if rate:
                await asyncio.sleep(due - time.perf_counter())
            answer = await stubs[number % CHANNELS].AuthenticateValidator(request)
            latencies.append(time.perf_counter() - due)
            if not answer.authenticated:
                raise AssertionError("a correct request was not accepted")

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    took_s = time.perf_counter() - began
    for channel in channels:
        await channel.close()
    latencies.sort()
    return calls / took_s, latencies[calls // 2] * 1000, latencies[calls * 99 // 100] * 1000


def _requests(calls: int, miner: str) -> list[Any]:
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


MINER = _signer("//Miner").hotkey
