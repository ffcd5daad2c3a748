"""Replays, floods and garbage at the door: the right status, and nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from engine.errors import StoreUnusable
from engine.events import CallRefused
from engine.miner.door_limits import DoorLimits, Rate
from tests.engine.door_support import World, refusal, signer, world

AUTH = "/basilca.miner.v1.MinerDiscovery/AuthenticateValidator"
DISCOVER = "/basilca.miner.v1.MinerDiscovery/DiscoverNodes"
REUSED = ("UNAUTHENTICATED", "Request nonce was already used")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
        yield running


# --- replay ---------------------------------------------------------------------------------------------------


async def test_an_identical_resend_gets_the_stored_answer(here: World) -> None:
    """Within 30 s the same bytes from the same address are answered with the same bytes; nothing is opened twice."""
    body = here.auth().SerializeToString()
    first = await here.send_raw(AUTH, body)
    await here.clock.advance(30)
    assert await here.send_raw(AUTH, body) == first
    assert await here.rows() == (1, 1)
    assert here.kinds() == ["door.authenticated"]


async def test_a_late_resend_is_refused(here: World) -> None:
    """After 30 s the nonce is used, whatever the bytes."""
    request = here.auth()
    await here.send_auth(request)
    await here.clock.advance(30.5)
    assert await here.refused_auth(request) == REUSED


async def test_an_identical_discovery_is_answered_once(here: World) -> None:
    """A resent discovery gets the stored nodes; the core admits once."""
    await here.send_auth(here.auth())
    body = here.discovery().SerializeToString()
    first = await here.send_raw(DISCOVER, body)
    assert await here.send_raw(DISCOVER, body) == first
    assert len(here.admission.admits) == 1


async def test_identical_requests_at_the_same_time(here: World) -> None:
    """Sixteen copies at once open one session and get one answer."""
    body = here.auth().SerializeToString()
    answers = await asyncio.gather(*(here.send_raw(AUTH, body) for _ in range(16)))
    assert len(set(answers)) == 1
    assert await here.rows() == (1, 1)


async def test_a_used_nonce_in_a_changed_body(here: World) -> None:
    """Even a correctly signed request with a used nonce is refused, also in the other call and the other dialect."""
    nonce = "0b9d6f3e-0000-4000-8000-000000000001"
    answer = await here.send_auth(here.auth(signed_nonce=nonce))
    rows = await here.rows()
    ts = int(here.clock.now())
    assert await here.refused_auth(here.auth(signed_nonce=nonce, signed_timestamp=ts - 1)) == REUSED
    assert await here.refused_auth(here.auth("B", signed_nonce=nonce), "B") == REUSED
    assert await here.refused_discovery(here.discovery(signed_nonce=nonce)) == REUSED
    assert await here.rows() == rows
    session = await here.store.sessions.get(here.validator.hotkey)
    assert session is not None and session.token == answer.session_token


async def test_a_nonce_belongs_to_its_hotkey(here: World) -> None:
    """Another validator may use the same text."""
    nonce = "0b9d6f3e-0000-4000-8000-000000000002"
    await here.send_auth(here.auth(signed_nonce=nonce))
    assert (await here.send_auth(here.auth(signed_nonce=nonce, by=signer("//Bob")))).authenticated


async def test_a_replay_from_another_address(tmp_path: Path) -> None:
    """The identical bytes from elsewhere are an eavesdropper's."""
    async with world(tmp_path) as here:
        body = here.auth().SerializeToString()
        await here.send_raw(AUTH, body)
        # A relay gives the copy another source address, as 127.0.0.0/8 is all ours.
        relay = _relay(here.port, source="127.0.0.2")
        async with relay as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(AUTH)
            assert await refusal(call(body, timeout=60)) == REUSED
        event = here.events[-1]
        assert isinstance(event, CallRefused) and event.peer == "127.0.0.2"


async def test_a_replay_after_a_restart(tmp_path: Path) -> None:
    """Nonces and sessions are in the store: a new door refuses the replay and knows the session."""
    async with world(tmp_path) as here:
        request = here.auth()
        await here.send_auth(request)
        now = here.clock.now()
    async with world(tmp_path) as again:
        await again.clock.advance(60)
        assert again.clock.now() == now + 60
        assert await again.refused_auth(request) == REUSED
        assert len(await again.send_discovery(again.discovery())) == 1


# --- garbage --------------------------------------------------------------------------------------------------


async def test_oversized_requests(here: World) -> None:
    """Over 64 KiB a request is not even read."""
    for size in (70 * 1024, 5 * 1024 * 1024):
        request = here.auth(nonce="n" * size)
        assert (await here.refused_auth(request))[0] == "RESOURCE_EXHAUSTED"
    assert await here.rows() == (0, 0)


@pytest.mark.parametrize("path", [AUTH, DISCOVER, AUTH.replace("basilca", "basilica")])
async def test_malformed_requests(here: World, path: str) -> None:
    """Bytes that are no message of this call, and text that is not UTF-8, are invalid arguments."""
    for body in (b"\xff\xff\xff\xff", b"\x0a\x7fabc", b"\x0a\x02\xc3\x28"):
        status, text = await refusal(here.send_raw(path, body))
        assert (status, text[:17]) == ("INVALID_ARGUMENT", "Malformed request")
    assert (await refusal(here.send_raw(path, b"")))[1] == "target_miner_hotkey is required"
    assert await here.rows() == (0, 0)


async def test_unknown_fields_are_ignored(here: World) -> None:
    """A newer validator may send more than we know."""
    unknown = b"\xfa\x07\x05hello" + b"\xa0\x06\x2a"
    assert len(await here.send_raw(AUTH, here.auth().SerializeToString() + unknown)) > 64


async def test_large_metadata_is_refused(here: World) -> None:
    """Headers have a limit of their own."""
    async with here.channel([("grpc.max_metadata_size", 1 << 20)]) as channel:
        call: Any = channel.unary_unary(AUTH)
        answer = call(here.auth().SerializeToString(), metadata=(("x-big", "y" * 9000),), timeout=60)
        assert (await refusal(answer))[0] in ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL")
    assert await here.rows() == (0, 0)


async def test_hostile_text_does_not_reach_events(here: World) -> None:
    """A refused caller's hotkey is a claim: it is cut and stripped before anybody reads it."""
    await here.refused_auth(here.auth(validator_hotkey="\x1b]0;owned\x07" + "A" * 500))
    event = here.events[-1]
    assert isinstance(event, CallRefused)
    assert len(event.validator_hotkey) <= 64 and event.validator_hotkey.isprintable()
    assert event.reason.isprintable()


# --- floods ---------------------------------------------------------------------------------------------------


async def test_too_many_calls_from_one_address(tmp_path: Path) -> None:
    """Past the burst a call is RESOURCE_EXHAUSTED with a hint; the row of refusals is one event; time heals it."""
    limits = DoorLimits(per_address=Rate(1.0, 3), per_hotkey=Rate(100.0, 100))
    async with world(tmp_path, limits=limits) as here:
        for _ in range(3):
            await here.send_auth(here.auth())
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await here.send_auth(here.auth())
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            trailing = dict(caught.value.trailing_metadata() or ())
            assert 0 < float(trailing["retry-after-s"]) <= 1.0
            assert "retry after" in (caught.value.details() or "")
        assert here.kinds().count("door.refused") == 1
        assert await here.rows() == (1, 3)
        await here.clock.advance(1.0)
        assert (await here.send_auth(here.auth())).authenticated


async def test_too_many_calls_in_one_hotkeys_name(tmp_path: Path) -> None:
    """The hotkey's limit counts before the signature is checked, and leaves other hotkeys alone."""
    limits = DoorLimits(per_address=Rate(100.0, 100), per_hotkey=Rate(1.0, 2))
    async with world(tmp_path, limits=limits) as here:
        for _ in range(2):
            assert (await here.refused_auth(here.auth(signature="")))[1] == "Invalid signature"
        assert (await here.refused_auth(here.auth()))[0] == "RESOURCE_EXHAUSTED"
        assert (await here.send_auth(here.auth(by=signer("//Bob")))).authenticated


# --- our own failures -----------------------------------------------------------------------------------------


async def test_a_crash_tells_the_caller_nothing(here: World) -> None:
    """A bug behind the door is INTERNAL with a generic text, spends nothing, and the next call works."""
    here.admission.permit_error = ZeroDivisionError("secret detail")
    request = here.auth()
    assert await here.refused_auth(request) == ("INTERNAL", "Internal error")
    assert await here.rows() == (0, 0)
    here.admission.permit_error = None
    assert (await here.send_auth(request)).authenticated


async def test_a_failing_store_is_unavailable(here: World) -> None:
    """What cannot be recorded is not granted; the validator may come back."""
    here.admission.permit_error = StoreUnusable("disk full at /secret/path")
    status, text = await here.refused_auth(here.auth())
    assert status == "UNAVAILABLE" and "secret" not in text


class _relay:
    """A TCP relay in front of a door that connects from another loopback address."""

    def __init__(self, port: int, *, source: str) -> None:
        self._port = port
        self._source = source
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(self._source, 0))
        for source, sink in ((reader, ours), (theirs, writer)):
            self._tasks.add(asyncio.create_task(_pump(source, sink)))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()
