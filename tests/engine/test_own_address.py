"""Where our logins come from, as a real sshd sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from engine.miner import own_address
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd


async def test_each_node_says_what_it_sees_and_a_dead_one_nothing(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sshd itself names our address to the login; here that is the loopback, which is no public address."""
    alive, dead = sshd_nodes(), sshd_nodes()
    pools.known_to(alive)
    dead.stop()
    heard: list[Sequence[str]] = []

    def listen(seen: Sequence[str], *, only_v4: bool) -> str | None:
        heard.append(seen)
        return rule(seen, only_v4=only_v4)

    rule = own_address.agreed_address
    monkeypatch.setattr(own_address, "agreed_address", listen)
    found = await own_address.address_seen_by(pools.make(), [alive.target, dead.target], only_v4=True)
    assert found is None and heard == [["127.0.0.1", ""]]
