"""A key per session: it lasts over visits, is wiped when the session is over, and a configured one stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.clock import ManualClock
from engine.errors import ClientKeyUnusable
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.validator.sessions import Session, Sessions

Make = Callable[..., Sessions]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def make(clock: ManualClock, persistent: ClientKey | None = None) -> Sessions:
    base = NodePool(persistent or ClientKey.generate(), HostKeys(None), clock=clock, emit=lambda _: None)
    return Sessions(base, "5V", clock=clock, lifetime_s=3600.0, persistent=persistent)


async def visit(sessions: Sessions, miner: str = "5M") -> Session:
    async with sessions.entered(miner) as session:
        return session


def is_wiped(key: ClientKey) -> bool:
    try:
        return key.private is None
    except ClientKeyUnusable:
        return True


async def test_a_session_keeps_its_key_over_visits_and_gets_a_new_one_after(clock: ManualClock) -> None:
    """Within the lifetime every visit uses one key; after it another, and the old one opens nothing any more."""
    sessions = make(clock)
    first = await visit(sessions)
    await clock.advance(3599)
    assert await visit(sessions) is first
    await clock.advance(1)
    second = await visit(sessions)
    assert second is not first
    assert (is_wiped(first.key), is_wiped(second.key)) == (True, False)
    assert first.key.public_line != second.key.public_line
    assert second.key.algorithm == "ssh-ed25519"
    await sessions.close()
    assert is_wiped(second.key)


async def test_miners_do_not_share_a_key(clock: ManualClock) -> None:
    """Each miner sees a key that it cannot use to find out who else is visited."""
    sessions = make(clock)
    assert (await visit(sessions, "5A")).key.public_line != (await visit(sessions, "5B")).key.public_line


async def test_a_session_in_use_does_not_end(clock: ManualClock) -> None:
    """While a full verification still runs with it, the key stays and new visits share it; then the sweep wipes it."""
    sessions = make(clock)
    first = await visit(sessions)
    async with sessions.held(first):
        await clock.advance(7200)
        assert await visit(sessions) is first
        await sessions.sweep()
        assert not is_wiped(first.key)
    await sessions.sweep()
    assert is_wiped(first.key)


async def test_a_configured_key_is_shared_and_never_wiped(clock: ManualClock) -> None:
    """All sessions log in with it, also after their end."""
    key = ClientKey.generate()
    sessions = make(clock, key)
    assert (await visit(sessions, "5A")).key is (await visit(sessions, "5B")).key is key
    await clock.advance(7200)
    assert (await visit(sessions, "5A")).key is key
    await sessions.close()
    assert not is_wiped(key)


def test_wiping_overwrites_the_private_half() -> None:
    """The bytes that held it are zero afterwards, and its public half can still be told."""
    key = ClientKey.generate("me")
    private = key.private
    held = private._key.private_value  # type: ignore[union-attr]  # the very object is what this is about
    assert any(held)
    key.wipe()
    assert held == bytes(32)
    assert key.public_line.endswith(" me")
    with pytest.raises(ClientKeyUnusable, match="is over"):
        _ = key.private
