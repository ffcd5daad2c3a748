"""The door under requests that nobody would send: it refuses every one with a status of its own, and goes on."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import WireMalformed
from engine.miner.door_calls import DoorCalls
from engine.miner.door_request import Refused
from engine.wire import convert
from engine.wire.messages import SERVICES, Dialect
from tests.engine.door_support import World, ed25519_line, signer, world
from tests.fuzz.mutations import mutate, split_fields

IS_FULL = os.environ.get("FUZZ") == "full"
INPUTS = 100_000 if IS_FULL else 5_000
SOCKET_INPUTS = 2_000 if IS_FULL else 300
CHUNK = 500
LIMIT_S = 3600 if IS_FULL else 240
"""For a loaded machine; what hangs is ended by it, nothing is judged by it."""
REFUSALS = {"INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED"}


@dataclass(frozen=True)
class Seed:
    """A correct request. ``read`` tells what a body means, to recognise mutations that change nothing."""

    call: str
    dialect: Dialect
    body: bytes
    is_spent: bool
    read: Callable[[Dialect, bytes], Any]


async def seeds(here: World) -> list[Seed]:
    """Correct requests of both calls and dialects: some not sent yet, some accepted earlier from another address."""
    found: list[Seed] = []
    validators = [signer("//Alice"), signer("//Bob")]
    calls = here.door._calls
    tokens = {}
    for number in range(16):
        dialect: Dialect = "A" if number % 2 else "B"
        by = validators[number // 2 % 2]
        is_spent = number < 8
        body = here.auth(dialect, by=by).SerializeToString()
        if is_spent:
            answer = convert.read_auth_answer(dialect, await calls.authenticate(dialect, body, "192.0.2.1"))
            tokens[by.hotkey] = answer.session_token
        found.append(Seed("AuthenticateValidator", dialect, body, is_spent, convert.read_auth_call))
    for number in range(16):
        by = validators[number // 2 % 2]
        session = await here.store.sessions.get(by.hotkey)
        assert session is not None
        dialect = "A" if number % 2 else session.dialect  # type: ignore[assignment]
        body = here.discovery(dialect, by=by, token=session.token).SerializeToString()
        is_spent = number < 8
        if is_spent:
            await calls.discover(dialect, body, "192.0.2.1")
        found.append(Seed("DiscoverNodes", dialect, body, is_spent, convert.read_discover_call))
    return found


def is_unchanged(seed: Seed, body: bytes) -> bool:
    """A mutation that leaves the meaning alone leaves a correct request."""
    try:
        return bool(_meaning(seed, body) == _meaning(seed, seed.body))
    except Exception:  # noqa: BLE001 - what cannot be read means something else
        return False


def _meaning(seed: Seed, body: bytes) -> Any:
    """What counts in a request: its fields, but of the key line only the key, and in no case of the hex."""
    call = seed.read(seed.dialect, body)
    values = {name: getattr(call, name) for name in call.__dataclass_fields__}
    values["signature"] = values["signature"].lower().removeprefix("0x")
    values["public_key"] = values["public_key"].split()[:2]
    if seed.call == "DiscoverNodes":
        # Dialect A's signature covers neither: the door checks the target itself, and any sound key is the caller's.
        values.pop("public_key")
    return values


async def send(calls: DoorCalls, seed: Seed, body: bytes) -> str:
    """The status of this body as this call."""
    method = calls.authenticate if seed.call == "AuthenticateValidator" else calls.discover
    try:
        await method(seed.dialect, body, "198.51.100.7")
    except Refused as refused:
        return refused.refusal.status
    return "OK"


@pytest.mark.timeout(LIMIT_S)
async def test_mutated_requests_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    """No mutation of a correct request is accepted, crashes the door, or leaves a row behind."""
    chance = random.Random(20_260_101)
    async with world(tmp_path) as here:
        correct = await seeds(here)
        bodies = [seed.body for seed in correct]
        rows, admitted = await here.rows(), len(here.admission.admits)
        statuses: Counter[str] = Counter()
        sent = 0
        while sent < INPUTS:
            seed = chance.choice(correct)
            body = seed.body if seed.is_spent and chance.random() < 0.05 else mutate(chance, seed.body, bodies)
            if not seed.is_spent and is_unchanged(seed, body):
                continue
            status = await send(here.door._calls, seed, body)
            assert status in REFUSALS, (status, seed.call, seed.dialect, body.hex())
            statuses[status] += 1
            sent += 1
            if sent % CHUNK == 0:
                here.events.clear()
                here.door._calls._desk._by_address._buckets.clear()
                here.door._calls._desk._by_hotkey._buckets.clear()
        assert set(statuses) == REFUSALS
        assert await here.rows() == rows
        assert len(here.admission.admits) == admitted
        fresh = here.auth("A")
        assert (await here.send_auth(fresh)).authenticated


@settings(max_examples=400 if IS_FULL else 60, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=st.lists(st.tuples(st.integers(1, 15), st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=200)))))
def test_any_message_reads_or_is_malformed(fields: list[tuple[int, int | bytes]]) -> None:
    """Whatever fields a message has, reading it gives a value or WireMalformed."""
    body = b"".join(_field(number, value) for number, value in fields)
    for dialect in SERVICES:
        for read in (convert.read_auth_call, convert.read_discover_call):
            try:
                read(dialect, body)
            except WireMalformed:
                continue


def test_fields_come_apart_as_they_were_put_together() -> None:
    """The field splitter of the mutators finds every field of a correct request."""
    body = b"\x0a\x03abc" + b"\x12\x80\x01" + b"x" * 128
    assert b"".join(tag + rest for tag, rest in split_fields(body)) == body
    assert len(split_fields(body)) == 2


@pytest.mark.timeout(LIMIT_S)
async def test_the_socket_takes_the_same(tmp_path: Path) -> None:
    """Over a real connection mutated requests end in the same statuses, and the next honest call is served."""
    chance = random.Random(7)
    async with world(tmp_path) as here:
        correct = await seeds(here)
        bodies = [seed.body for seed in correct]
        async with here.channel() as channel:
            sent = 0
            while sent < SOCKET_INPUTS:
                seed = chance.choice(correct)
                body = mutate(chance, seed.body, bodies)
                if is_unchanged(seed, body):
                    continue
                sent += 1
                path = f"/{SERVICES[seed.dialect]}/{seed.call}"
                stream = seed.dialect == "B" and seed.call == "DiscoverNodes"
                status = await _status(
                    channel.unary_stream(path) if stream else channel.unary_unary(path), body, stream
                )
                assert status in REFUSALS | {"RESOURCE_EXHAUSTED"}, (status, body.hex())
                here.door._calls._desk._by_address._buckets.clear()
                here.door._calls._desk._by_hotkey._buckets.clear()
        assert (await here.send_auth(here.auth("B", validator_public_key=ed25519_line()), "B")).authenticated


async def _status(method: Any, body: bytes, stream: bool) -> str:
    try:
        call = method(body, timeout=60)
        if stream:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    return _varint(number << 3) + _varint(value)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
