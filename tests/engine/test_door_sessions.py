"""Session limits over the wire, and the ledger's one transaction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from engine.clock import ManualClock
from engine.miner.door_quota import SessionLimits
from engine.store import SpentNonce, open_store
from engine.store.admissions import Admission
from engine.store.records import Opening, Session
from tests.engine.door_support import World, ed25519_line, world


async def ask(here: World, seed: int) -> str:
    """The status of an authentication in dialect B with this key."""
    request = here.auth("B", signed_key=ed25519_line(seed))
    async with here.channel() as channel:
        call: Any = channel.unary_unary("/basilica.miner.v1.MinerDiscovery/AuthenticateValidator")
        try:
            await call(request.SerializeToString(), timeout=60)
        except grpc.aio.AioRpcError as error:
            metadata = dict(error.trailing_metadata() or ())
            return f"{error.code().name} {'retry-after-s' in metadata}"
    return "OK"


async def test_a_sixth_key_is_refused_and_a_renewal_is_not(tmp_path: Path) -> None:
    """Five keys open sessions, the sixth gets RESOURCE_EXHAUSTED with a hint, known keys go on."""
    async with world(tmp_path) as here:
        assert [await ask(here, seed) for seed in range(1, 6)] == ["OK"] * 5
        assert await ask(here, 6) == "RESOURCE_EXHAUSTED True"
        assert await ask(here, 3) == "OK"
        await here.clock.advance(3601)
        assert await ask(here, 6) == "OK"


async def test_limits_outlive_a_restart(tmp_path: Path) -> None:
    """A door opened anew over the same store still knows the keys of the hour."""
    async with world(tmp_path, session_limits=SessionLimits(concurrent=2)) as here:
        assert [await ask(here, 1), await ask(here, 2)] == ["OK", "OK"]
    async with world(tmp_path, session_limits=SessionLimits(concurrent=2)) as here:
        assert await ask(here, 3) == "RESOURCE_EXHAUSTED True"
        assert await ask(here, 1) == "OK"


async def test_dialect_a_is_counted_when_the_key_comes(tmp_path: Path) -> None:
    """Without a key there is nothing to count; the discovery that brings a key too many is refused, unadmitted."""
    async with world(tmp_path, session_limits=SessionLimits(concurrent=1)) as here:
        for _ in range(3):
            await here.send_auth(here.auth())
        assert await here.send_discovery(here.discovery())
        assert await here.send_discovery(here.discovery())
        other = here.discovery(validator_public_key=ed25519_line(2))
        status, message = await here.refused_discovery(other)
        assert status == "RESOURCE_EXHAUSTED"
        assert message.startswith("Too many sessions")
        assert len(here.admission.admits) == 2


async def test_a_refused_discovery_gives_its_place_back(tmp_path: Path) -> None:
    """A key that the core refuses does not use up a session."""
    from engine.errors import PublicKeyRefused

    async with world(tmp_path, session_limits=SessionLimits(concurrent=1)) as here:
        await here.send_auth(here.auth())
        here.admission.admit_error = PublicKeyRefused("in use")
        assert (await here.refused_discovery(here.discovery()))[0] == "INVALID_ARGUMENT"
        here.admission.admit_error = None
        assert await here.send_discovery(here.discovery(validator_public_key=ed25519_line(2)))


def spent(nonce: str, answer: bytes) -> SpentNonce:
    return SpentNonce("ab", nonce, "AuthenticateValidator", "cd", "127.0.0.1", 1.0, answer)


def session(token: str) -> Session:
    return Session("V", token, 1.0, 2.0, "A", "127.0.0.1")


async def test_a_group_stores_each_nonce_once(tmp_path: Path) -> None:
    """Of two with one nonce in a group the first counts; the second changes nothing and learns who was first."""
    store = await open_store(f"sqlite:{tmp_path}/m.db", clock=ManualClock())
    try:
        first = await store.admissions.accept(
            [
                Admission("V", spent("n1", b"a"), lambda _: session("t1"), Opening("V", "k1", 1.0, 2.0)),
                Admission("V", spent("n1", b"b"), lambda _: session("t2"), Opening("V", "k2", 1.0, 2.0)),
                Admission("V", spent("n2", b"c"), lambda old: replace(old, nodes_ready=7) if old else None),
            ]
        )
        assert [a.earlier.answer if a.earlier else None for a in first] == [None, b"a", None]
        assert first[2].previous == session("t1")
        again = await store.admissions.accept([Admission("V", spent("n2", b"d"), lambda _: session("t9"))])
        assert again[0].earlier is not None
        assert again[0].earlier.answer == b"c"
        expected = replace(session("t1"), nodes_ready=7)
        assert await store.sessions.get("V") == expected
        assert [o.key_fingerprint for o in await store.openings.of("V")] == ["k1"]
    finally:
        await store.close()
    store = await open_store(f"sqlite:{tmp_path}/m.db", clock=ManualClock())
    try:
        assert await store.sessions.all() == [expected]
        assert await store.openings.of("V") == [Opening("V", "k1", 1.0, 2.0)]
        assert await store.openings.prune(5000.0, 3600.0) == 1
        assert await store.openings.of("V") == []
    finally:
        await store.close()


async def test_a_failing_group_stores_nothing(tmp_path: Path) -> None:
    """When one change fails the whole group is rolled back, and the next one goes through."""
    store = await open_store(f"sqlite:{tmp_path}/m.db", clock=ManualClock())

    def broken(_: Session | None) -> Session:
        raise RuntimeError("broken")

    try:
        with pytest.raises(RuntimeError):
            await store.admissions.accept(
                [
                    Admission("V", spent("n1", b"a"), lambda _: session("t1")),
                    Admission("W", spent("n2", b"b"), broken),
                ]
            )
        assert await store.nonces.get("ab", "n1") is None
        assert await store.sessions.all() == []
        admitted = await asyncio.gather(
            *(store.admissions.accept([Admission("V", spent("n1", b"%d" % n), lambda _: None)]) for n in range(5))
        )
        assert sum(result[0].earlier is None for result in admitted) == 1
    finally:
        await store.close()
