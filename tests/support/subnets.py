"""Small subnets for a test: a miner over the given nodes, and engines that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

Subnets = Callable[..., MinerSubnet]
"""Nodes, and ``create_subnet``'s settings by name."""


@pytest.fixture
def subnets(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Subnets]:
    """Makes subnets whose engines come from the nursery and end with the test."""
    made: list[MinerSubnet] = []

    def make(nodes: list[NodeSshd], **settings: object) -> MinerSubnet:
        subnet = create_subnet(tmp_path_factory.mktemp("s"), nodes, **settings)  # type: ignore[arg-type]
        subnet.nursery = nursery
        made.append(subnet)
        return subnet

    yield make
    for subnet in made:
        subnet.kill()
