"""A door on loopback with a real store, real keys and an admission that only remembers what it was asked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import sqlalchemy as sa
from bittensor.sp_core import Keypair
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from engine.clock import ManualClock
from engine.errors import BasilicaError
from engine.events import Event
from engine.identity import payloads
from engine.identity.public_keys import PublicKey, parse_public_key
from engine.identity.signatures import KeypairSigner
from engine.identity.tokens import new_nonce
from engine.miner.door import Door
from engine.miner.door_limits import DoorLimits, Rate
from engine.miner.ports import Access, Permit, ReadyNode
from engine.store import Store, open_store
from engine.store.tables import nonces
from engine.wire.basilca.miner.v1 import miner_discovery_pb2 as pb_a
from engine.wire.basilca.miner.v1 import miner_discovery_pb2_grpc as stub_a
from engine.wire.basilica.miner.v1 import miner_discovery_pb2 as pb_b
from engine.wire.basilica.miner.v1 import miner_discovery_pb2_grpc as stub_b
from engine.wire.messages import Dialect

PB: dict[str, Any] = {"A": pb_a, "B": pb_b}
GENEROUS = DoorLimits(per_address=Rate(1000.0, 1000), per_hotkey=Rate(1000.0, 1000))
"""The clock of these tests stands still, and with it every bucket."""
NODE = ReadyNode("ca02cf98-b31a-4ccc-ab1c-9d5596bde209", "192.168.1.100", 22, "basilica", "-o X=1", 250)


def signer(uri: str) -> KeypairSigner:
    """A hotkey from a development URI."""
    return KeypairSigner(Keypair.create_from_uri(uri))


def ed25519_line(seed: int = 1) -> str:
    """An OpenSSH public key line with a comment."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return _line(key) + " somebody@somewhere"


def rsa_line(bits: int) -> str:
    """An RSA key of this size."""
    return _line(rsa.generate_private_key(65537, bits).public_key())


def _line(key: Any) -> str:
    return bytes(key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)).decode()


@dataclass
class FakeAdmission:
    """The miner core's answers, set by the test; remembers every admit."""

    permitted: bool = True
    assigned: bool = True
    access: Access = field(default_factory=lambda: Access((NODE,), 1, 1_700_003_600.0))
    permit_error: Exception | None = None
    admit_error: Exception | None = None
    hold: asyncio.Event | None = None
    permits: list[str] = field(default_factory=list)
    admits: list[tuple[str, PublicKey]] = field(default_factory=list)
    finished: int = 0

    async def permit(self, hotkey: str) -> Permit:
        self.permits.append(hotkey)
        if self.permit_error is not None:
            raise self.permit_error
        return Permit(self.permitted, 3, 1234.5)

    def is_assigned(self, hotkey: str) -> bool:
        return self.assigned

    def host_authority(self) -> str:
        return ""

    async def admit(self, hotkey: str, key: PublicKey, dialect: Dialect, *, certificates: bool = False) -> Access:
        self.admits.append((hotkey, key))
        if self.hold is not None:
            await self.hold.wait()
        if self.admit_error is not None:
            raise self.admit_error
        self.finished += 1
        return self.access


class World:
    """A running door and a validator that can say anything to it."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.admission = FakeAdmission()
        self.events: list[Event] = []
        self.miner = signer("//Miner")
        self.validator = signer("//Alice")
        self.port = 0
        self.door: Door

    async def open(self, *, limits: DoorLimits | None = None, **options: Any) -> None:
        self.door = Door(
            "127.0.0.1",
            self.port,
            self.miner,
            self.admission,
            store=self.store,
            clock=self.clock,
            emit=self.events.append,
            limits=limits or GENEROUS,
            **options,
        )
        self.port = await self.door.start()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def rows(self) -> tuple[int, int]:
        """How many sessions and how many spent nonces the store holds."""
        database = self.store.nonces._database  # the tests count rows that no repository lists

        async def count(connection: Any) -> int:
            return int((await connection.execute(sa.select(sa.func.count()).select_from(nonces))).scalar_one())

        return len(await self.store.sessions.all()), await database.read(count)

    # --- requests ---

    def auth(self, dialect: str = "A", *, by: KeypairSigner | None = None, **changes: Any) -> Any:
        """A correct ValidatorAuthRequest; ``changes`` replace fields after signing, ``signed_*`` before."""
        by = by or self.validator
        nonce = changes.pop("signed_nonce", new_nonce())
        ts = changes.pop("signed_timestamp", int(self.clock.now()))
        target = changes.pop("signed_target", self.miner.hotkey)
        key = changes.pop("signed_key", ed25519_line())
        request = PB[dialect].ValidatorAuthRequest(validator_hotkey=by.hotkey, nonce=nonce, target_miner_hotkey=target)
        if dialect == "A":
            payload = payloads.auth_v1(nonce, target, ts or 0)
        else:
            normal = " ".join(key.split()[:2])
            payload = payloads.auth_b(nonce, target, ts or 0, hashlib.sha256(normal.encode()).hexdigest())
            request.validator_public_key = key
        request.signature = by.sign(payload)
        return _finish(request, ts, changes)

    def discovery(self, dialect: str = "A", *, by: KeypairSigner | None = None, token: str = "", **changes: Any) -> Any:
        """A correct DiscoverNodesRequest, like ``auth``."""
        by = by or self.validator
        nonce = changes.pop("signed_nonce", new_nonce())
        ts = changes.pop("signed_timestamp", int(self.clock.now()))
        target = changes.pop("signed_target", self.miner.hotkey)
        request = PB[dialect].DiscoverNodesRequest(
            validator_hotkey=by.hotkey, nonce=nonce, target_miner_hotkey=target, validator_public_key=ed25519_line()
        )
        if dialect == "A":
            payload = payloads.discover_v1(by.hotkey, nonce, ts or 0)
        else:
            payload = payloads.discover_v2(by.hotkey, target, nonce, ts or 0, token)
            request.session_token = token
        request.signature = by.sign(payload)
        return _finish(request, ts, changes)

    # --- calls ---

    @asynccontextmanager
    async def channel(self, options: Any = ()) -> AsyncIterator[grpc.aio.Channel]:
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            yield channel

    async def send_auth(self, request: Any, dialect: str = "A") -> Any:
        async with self.channel() as channel:
            stub = _stub(dialect, channel)
            return await stub.AuthenticateValidator(request, timeout=60)

    async def send_discovery(self, request: Any, dialect: str = "A") -> list[Any]:
        async with self.channel() as channel:
            stub = _stub(dialect, channel)
            if dialect == "A":
                return list((await stub.DiscoverNodes(request, timeout=60)).nodes)
            return [node async for node in stub.DiscoverNodes(request, timeout=60)]

    async def send_raw(self, path: str, body: bytes) -> bytes:
        async with self.channel() as channel:
            call: Any = channel.unary_unary(path)
            return bytes(await call(body, timeout=60))

    async def refused_auth(self, request: Any, dialect: str = "A") -> tuple[str, str]:
        return await refusal(self.send_auth(request, dialect))

    async def refused_discovery(self, request: Any, dialect: str = "A") -> tuple[str, str]:
        return await refusal(self.send_discovery(request, dialect))


async def refusal(call: Any) -> tuple[str, str]:
    """Status name and message of a call that must fail."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    raise AssertionError("the call was accepted")


@asynccontextmanager
async def world(directory: Path, **options: Any) -> AsyncIterator[World]:
    """A door over a store in this directory."""
    clock = ManualClock(1_700_000_000.0)
    store = await open_store(f"sqlite:{directory / 'miner.db'}", clock=clock)
    try:
        here = World(store, clock)
        await here.open(**options)
        try:
            yield here
        finally:
            await here.door.stop(0.5)
    finally:
        await store.close()


def key_of(line: str) -> PublicKey:
    return parse_public_key(line)


class Broken(BasilicaError):
    """Something of ours that nobody expected."""


def _stub(dialect: str, channel: grpc.aio.Channel) -> Any:
    return (stub_a if dialect == "A" else stub_b).MinerDiscoveryStub(channel)


def _finish(request: Any, ts: int | None, changes: dict[str, Any]) -> Any:
    if ts is not None:
        request.timestamp.value.seconds = ts
    for name, value in changes.items():
        setattr(request, name, value)
    return request
